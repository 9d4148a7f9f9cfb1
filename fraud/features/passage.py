"""An authorisation on its way past its entities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fraud.features.moment import Moment
from fraud.transaction import Transaction

# A transaction that became known as fraud, or no longer is.
Mark = tuple[Transaction, bool]


class Passage(NamedTuple):
    """An authorisation as its entities meet it; `moment` is None where no values are wanted.

    One that is `late` is not counted. `first_time` says whether the customer is new to the merchant. `source` and
    `offset` are where it came from: an entity that has counted that offset does not count it again. `due` became known
    before it.
    """

    transaction: Transaction
    moment: Moment | None
    late: bool
    first_time: bool
    due: Sequence[Mark] = ()
    source: str = ""
    offset: int = 0
