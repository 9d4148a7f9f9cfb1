"""What each rule hit, and whether it was worth it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fraud.report.batch import FRAUD, LEGITIMATE
from fraud.report.score_counts import Int64Array


class RuleCounts:
    """Hits by label and money for each rule, given by id with its action. Memory: fixed by the number of rules."""

    def __init__(self, rules: Mapping[str, str]) -> None:
        self._rules = dict(rules)
        size = len(self._rules)
        self._hits, self._frauds, self._legitimate, self._sole, self._money, self._fraud_money = np.zeros(
            (6, size), dtype=np.int64
        )

    def __len__(self) -> int:
        return len(self._rules)

    def add(self, hits: NDArray[np.bool_], labels: NDArray[np.int8], amounts_minor: Int64Array) -> None:
        """Count bool[n, rules] hits with int8[n] labels and int64[n] base amounts."""
        rows = np.flatnonzero(hits.any(axis=1))
        if not len(rows):
            return
        # As integers the sums below are products of small matrices; integer products don't go through BLAS.
        hit = hits[rows].astype(np.int64)
        label, amount = labels[rows], amounts_minor[rows]
        is_fraud = (label == FRAUD).astype(np.int64)
        self._hits += hit.sum(axis=0)
        self._frauds += is_fraud @ hit
        self._legitimate += (label == LEGITIMATE).astype(np.int64) @ hit
        self._sole += (hit.sum(axis=1) == 1).astype(np.int64) @ hit
        self._money += amount @ hit
        self._fraud_money += (amount * is_fraud) @ hit

    def table(self, *, labelled: bool) -> list[dict[str, Any]]:
        """Return one entry for each rule in the policy's order; what needs labels is None where the file has none."""
        return [
            {
                "rule_id": rule_id,
                "action": action,
                "hits": int(self._hits[index]),
                "sole_hits": int(self._sole[index]),
                "amount_minor": int(self._money[index]),
                "frauds": int(self._frauds[index]) if labelled else None,
                "fraud_amount_minor": int(self._fraud_money[index]) if labelled else None,
                "precision": self._precision(index),
            }
            for index, (rule_id, action) in enumerate(self._rules.items())
        ]

    def _precision(self, index: int) -> float | None:
        known = int(self._frauds[index] + self._legitimate[index])
        return int(self._frauds[index]) / known if known else None
