"""An authorisation on its way past its customer and its entities."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fraud.features.customer_state import CustomerState
from fraud.transaction import Transaction

# A transaction that became known as fraud, or no longer is.
Mark = tuple[Transaction, bool]


class Passage(msgspec.Struct, frozen=True, gc=False):
    """An authorisation that is read and then counted; one that is `late` is read and not counted.

    `customer` is None for one that its customer has counted before: then `first_time` says whether it was new to its
    merchant. `source` and `offset` are where it came from: an entity that has counted that offset does not count it
    again. `due` became known before it.
    """

    transaction: Transaction
    customer: CustomerState | None
    late: bool
    first_time: bool = False
    due: Sequence[Mark] = ()
    source: str = ""
    offset: int = 0
