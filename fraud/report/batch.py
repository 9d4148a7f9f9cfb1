"""What the report reads: one decided batch as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fraud.transaction import Transaction

FRAUD, LEGITIMATE, UNKNOWN = 1, 0, -1


@dataclass(frozen=True)
class DecidedBatch:
    """n decided authorisations in arrival order, and what became known about them.

    Attributes: `transactions` n of them; `timestamps_ms` int64[n], UTC; `base_amounts_minor` int64[n], minor units of
    the base currency; `scores` float64[n], multiples of 1e-6 from 0 to 1, NaN without a model; `action_codes` int8[n],
    indices into `fraud.decision.ACTIONS`; `hits` bool[n, rules], in the policy's order of rules; `labels` int8[n],
    1 fraud, 0 legitimate, -1 unknown; `late` bool[n]; `notifying` bool[n], whether the decision notifies somebody,
    whatever its action; `scenarios` n names of the fraud scenario that made the transaction, None where there is none.
    """

    transactions: Sequence[Transaction]
    timestamps_ms: NDArray[np.int64]
    base_amounts_minor: NDArray[np.int64]
    scores: NDArray[np.float64]
    action_codes: NDArray[np.int8]
    hits: NDArray[np.bool_]
    labels: NDArray[np.int8]
    late: NDArray[np.bool_]
    notifying: NDArray[np.bool_]
    scenarios: Sequence[str | None]

    def __len__(self) -> int:
        """Return the number of decided transactions, n."""
        return len(self.transactions)
