"""Where a model is good: by fraud scenario, amount, and how well the customer is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from training.metrics.judged import BooleanArray, FloatArray, JudgedRows
from training.metrics.ranking import FALSE_POSITIVE_RATE, Ranking

# Customers with fewer earlier payments in the data are new to the model: their habits are not known yet.
NEW_CUSTOMER_PAYMENTS = 10
AMOUNT_QUARTERS = 4


@dataclass(frozen=True)
class Segment:
    """Part of the judged rows and how scores do on it.

    `recall_at_alert_rate` is the share of its frauds that stand above the threshold of the whole; areas are those of
    its frauds against its own legitimate rows.
    """

    kind: str
    name: str
    rows: int
    frauds: int
    fraud_amount_minor: int
    auc_roc: float | None
    average_precision: float | None
    recall_at_false_positive_rate: float | None


def segments(scores: FloatArray, judged: JudgedRows) -> list[Segment]:
    """Every segment of the rows; `recall_at_false_positive_rate` takes the threshold of all rows together."""
    threshold = _threshold(scores, judged)
    found = []
    for kind, name, chosen in _parts(judged):
        part = judged.where(chosen)
        ranking = Ranking(scores[chosen], part.labels)
        frauds = float((part.weights * part.labels).sum())
        caught = float((part.weights * part.labels)[scores[chosen] >= threshold].sum())
        found.append(
            Segment(
                kind=kind,
                name=name,
                rows=len(part),
                frauds=int(part.labels.sum()),
                fraud_amount_minor=int((part.base_amounts_minor * part.labels).sum()),
                auc_roc=ranking.auc_roc(part.weights),
                average_precision=ranking.average_precision(part.weights),
                recall_at_false_positive_rate=caught / frauds if frauds else None,
            )
        )
    return found


def _threshold(scores: FloatArray, judged: JudgedRows) -> float:
    """The lowest score at which at most 0.1% of the legitimate rows, by weight, are alarmed."""
    rows = np.flatnonzero(judged.labels == 0)
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    legitimate, alarmed = scores[rows], np.cumsum(judged.weights[rows])
    if not len(rows):
        return -np.inf
    allowed = int(np.searchsorted(alarmed, FALSE_POSITIVE_RATE * alarmed[-1] * (1 + 1e-12), side="right"))
    return float(np.nextafter(legitimate[allowed], np.inf)) if allowed < len(legitimate) else -np.inf


def _parts(judged: JudgedRows) -> Iterator[tuple[str, str, BooleanArray]]:
    """Kind, name and rows of each segment; a scenario's frauds stand against all legitimate rows."""
    legitimate = judged.labels == 0
    for code, name in enumerate(judged.scenario_names):
        of_scenario = judged.scenarios == code
        if of_scenario.any():
            yield "scenario", name, legitimate | of_scenario
    amounts = judged.base_amounts_minor
    if len(amounts):
        edges = np.quantile(amounts, np.arange(1, AMOUNT_QUARTERS) / AMOUNT_QUARTERS)
        quarter = np.searchsorted(edges, amounts, side="left")
        for number in range(AMOUNT_QUARTERS):
            yield "amount", f"quarter {number + 1} of {AMOUNT_QUARTERS}", quarter == number
    earlier = _earlier_payments(judged)
    yield "customer", f"under {NEW_CUSTOMER_PAYMENTS} payments in the period", earlier < NEW_CUSTOMER_PAYMENTS
    yield "customer", f"{NEW_CUSTOMER_PAYMENTS} payments or more", earlier >= NEW_CUSTOMER_PAYMENTS


def _earlier_payments(judged: JudgedRows) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """How many rows of the same customer came before each row, int64 [rows]."""
    order = np.argsort(judged.customers, kind="stable")
    counts = np.bincount(judged.customers)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    earlier = np.empty(len(judged), dtype=np.int64)
    earlier[order] = np.arange(len(judged)) - starts
    return earlier
