"""Decided batches on their way into files and report: many of them joined, since each column costs by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain

import numpy as np
from numpy.typing import NDArray

from fraud.deciding import DecisionBatch
from fraud.decision_text import Finding
from fraud.rule_inputs import GatheredBatch
from fraud.sources.records import GroundTruth
from fraud.transaction import Transaction


@dataclass(frozen=True)
class DecidedRows:
    """What is kept of n decided transactions until it is written: not their bytes, which are the bulk of them.

    `feature_columns` float64 [features, n]; `action_codes` int8 [n]; `hits` bool [n, rules]; `findings` by row;
    `truths` what the file says of each. The others as in `GatheredBatch` and `DecisionBatch`.
    """

    transactions: Sequence[Transaction]
    transaction_ids: Sequence[str]
    user_ids: Sequence[str]
    currencies: Sequence[str]
    timestamps_ms: NDArray[np.int64]
    amounts_minor: NDArray[np.int64]
    base_amounts_minor: NDArray[np.int64]
    feature_columns: NDArray[np.float64]
    late: NDArray[np.bool_]
    scores: NDArray[np.float64]
    action_codes: NDArray[np.int8]
    hits: NDArray[np.bool_]
    findings: Mapping[int, Finding]
    hashes: Sequence[str]
    truths: Sequence[GroundTruth | None]

    def __len__(self) -> int:
        return len(self.transactions)

    @cached_property
    def labels(self) -> list[str | None]:
        """What the file says of each: fraud, legitimate, or None."""
        return [None if truth is None else truth.label for truth in self.truths]

    @cached_property
    def scenarios(self) -> list[str | None]:
        """The fraud scenario of each, None where there is none."""
        return [None if truth is None else truth.scenario for truth in self.truths]

    @cached_property
    def notifying(self) -> NDArray[np.bool_]:
        """Whether each decision notifies somebody, bool [n], whatever its action."""
        found = np.zeros(len(self), dtype=np.bool_)
        found[[row for row, finding in self.findings.items() if finding.notifications]] = True
        return found

    @staticmethod
    def of_batch(gathered: GatheredBatch, decided: DecisionBatch, truths: Sequence[GroundTruth | None]) -> DecidedRows:
        """The rows of one batch."""
        return DecidedRows(
            gathered.transactions,
            gathered.transaction_ids,
            gathered.user_ids,
            gathered.currencies,
            gathered.timestamps_ms,
            gathered.amounts_minor,
            gathered.base_amounts_minor,
            gathered.matrix.T,
            gathered.late,
            decided.scores,
            decided.evaluation.action_codes,
            decided.evaluation.hits,
            decided.findings,
            decided.hashes,
            truths,
        )

    @staticmethod
    def joined(parts: Sequence[DecidedRows]) -> DecidedRows:
        """The rows of all parts, one after the other; there is at least one."""
        starts = accumulate(map(len, parts), initial=0)
        return DecidedRows(
            list(chain.from_iterable(part.transactions for part in parts)),
            list(chain.from_iterable(part.transaction_ids for part in parts)),
            list(chain.from_iterable(part.user_ids for part in parts)),
            list(chain.from_iterable(part.currencies for part in parts)),
            np.concatenate([part.timestamps_ms for part in parts]),
            np.concatenate([part.amounts_minor for part in parts]),
            np.concatenate([part.base_amounts_minor for part in parts]),
            _joined_columns([part.feature_columns for part in parts]),
            np.concatenate([part.late for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.action_codes for part in parts]),
            np.concatenate([part.hits for part in parts]),
            {
                start + row: finding
                for start, part in zip(starts, parts, strict=False)
                for row, finding in part.findings.items()
            },
            list(chain.from_iterable(part.hashes for part in parts)),
            list(chain.from_iterable(part.truths for part in parts)),
        )


def _joined_columns(parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    # Each column lies together then: left to numpy, each row would, as in the parts.
    joined = np.empty((len(parts[0]), sum(part.shape[1] for part in parts)))
    return np.concatenate(parts, axis=1, out=joined)
