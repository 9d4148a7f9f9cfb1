"""Models in shadow beside the champion: on the same transactions, by the labels that have come since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.evaluation import Evaluation, EvaluationOptions, JudgedPeriod, evaluate
from training.history_dataset import HistoryRow, KnownRows
from training.labelled_rows import UNKNOWN
from training.metrics.judged import NO_SCENARIO, JudgedRows

CHAMPION = "champion"


@dataclass(frozen=True)
class ShadowComparison:
    """One model in shadow: `rows` that it and a champion have scored, of which `unknown` have no label yet.

    `blocked` have no outcome to judge by, and never will: see `training.history_dataset.outcome_weights`.
    `champions` are the models that decided them. `mean_difference` is the mean of its score less the champion's, over
    all rows. `evaluation` judges both on the rows with a label, None while these have one class alone.
    """

    shadow_name: str
    champions: Sequence[str]
    rows: int
    unknown: int
    blocked: int
    mean_difference: float
    evaluation: Evaluation | None


def compare_shadows(known: KnownRows, options: EvaluationOptions) -> list[ShadowComparison]:
    """Each model in shadow against what decided; `options.baselines` should be `CHAMPION`."""
    names = sorted({name for row in known.rows for name in row.shadow_scores})
    return [_compare(name, known, options) for name in names]


def _compare(name: str, known: KnownRows, options: EvaluationOptions) -> ShadowComparison:
    places = [place for place, row in enumerate(known.rows) if name in row.shadow_scores and row.score is not None]
    rows = [known.rows[place] for place in places]
    labels, weights = known.labels[places], known.weights[places]
    shadow = np.array([row.shadow_scores[name] for row in rows])
    champion = np.array([row.score for row in rows], dtype=np.float64)
    has_label = (labels != UNKNOWN) & (weights > 0)
    judged = _judged(rows, labels, weights).where(has_label)
    scores = {CHAMPION: champion[has_label], name: shadow[has_label]}
    is_telling = judged.has_both_classes
    return ShadowComparison(
        shadow_name=name,
        champions=sorted({row.model_name for row in rows if row.model_name is not None}),
        rows=len(rows),
        unknown=int(((labels == UNKNOWN) & (weights > 0)).sum()),
        blocked=int((weights == 0).sum()),
        mean_difference=float((shadow - champion).mean()) if rows else 0.0,
        evaluation=evaluate([JudgedPeriod(int(judged.timestamps_ms.min()), judged, scores)], options)
        if is_telling
        else None,
    )


def _judged(
    rows: Sequence[HistoryRow],
    labels: np.ndarray[tuple[int], np.dtype[np.int8]],
    weights: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> JudgedRows:
    numbers: dict[str, int] = {}
    return JudgedRows(
        timestamps_ms=np.array([row.transaction.timestamp_ms for row in rows], dtype=np.int64),
        customers=np.array([numbers.setdefault(row.transaction.user_id, len(numbers)) for row in rows], dtype=np.int32),
        labels=labels,
        base_amounts_minor=np.array([row.transaction.base_amount_minor for row in rows], dtype=np.int64),
        weights=weights,
        scenarios=np.full(len(rows), NO_SCENARIO, dtype=np.int32),
    )
