"""How many alerts a policy raises over judged rows with a model's scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fraud.rule_inputs import HOUR_MS
from fraud.rules.policy import Policy
from fraud.rules.values import ALLOW, SCORE, Kind
from training.dataset import FloatArray
from training.labelled_rows import LabelledRows

Columns = dict[str, np.ndarray[Any, Any]]


def unread_names(policy: Policy, rows: LabelledRows) -> tuple[str, ...]:
    """What the policy reads and `rows` do not hold: fields of the transaction and the profile, sorted."""
    return tuple(sorted(policy.reads - {SCORE, "amount", "hour_of_day"} - set(rows.origin.feature_names)))


def policy_columns(
    policy: Policy, rows: LabelledRows, positions: np.ndarray[Any, np.dtype[np.intp]], kinds: Mapping[str, Kind]
) -> Columns:
    """A column for each name that the policy reads but the score; what the rows do not hold is missing in all of them.

    `kinds`: the type of every name that a condition may read.
    """
    matrix = rows.matrix[positions]
    held: Columns = {name: matrix[:, place] for place, name in enumerate(rows.origin.feature_names)}
    held["amount"] = rows.base_amounts_minor[positions] / 10**rows.origin.base_exponent
    held["hour_of_day"] = (rows.timestamps_ms[positions] // HOUR_MS % 24).astype(np.float64)
    for name in unread_names(policy, rows):
        is_text = kinds[name] is Kind.TEXT
        held[name] = np.full(len(positions), None, dtype=object) if is_text else np.full(len(positions), np.nan)
    return {name: held[name] for name in policy.reads - {SCORE}}


def alert_count(policy: Policy, columns: Columns, scores: FloatArray, weights: FloatArray) -> float:
    """How many rows the policy does not simply allow. `scores` float64 [rows], rounded as a decision has them.

    `weights` float64 [rows]: how many each row stands for.
    """
    found = policy.evaluate({**columns, SCORE: scores}, len(scores))
    return float(weights[found.action_codes != ALLOW].sum())
