"""Authorisations on their way past their customers and their entities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fraud.features.customer_state import CustomerState
from fraud.transaction import Transaction

# A transaction that became known as fraud, or no longer is.
Mark = tuple[Transaction, bool]


@dataclass(frozen=True)
class Passages:
    """Authorisations of different customers, in order, that are read and then counted; one that is `late` is only read.

    `repeated` are those that their customers have counted before, by their place: whether they were new to their
    merchants. The others have a customer. `due` became known just before the one at its place, and `origins`, where
    they are known, are the source and the offset of each: an entity that has counted that offset does not count it
    again.
    """

    transactions: list[Transaction] = field(default_factory=list)
    customers: list[CustomerState | None] = field(default_factory=list)
    late: list[bool] = field(default_factory=list)
    repeated: dict[int, bool] = field(default_factory=dict)
    due: list[tuple[int, Sequence[Mark]]] = field(default_factory=list)
    origins: list[tuple[str, int]] | None = None

    def __len__(self) -> int:
        return len(self.transactions)
