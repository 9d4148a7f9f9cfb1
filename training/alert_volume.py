"""How many alerts a policy raises over rows with a model's scores: as many as a replay of them would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fraud.rule_inputs import HOUR_MS
from fraud.rules.policy import Policy
from fraud.rules.values import ALLOW, SCORE, Kind
from training.dataset import FloatArray
from training.labelled_rows import LabelledRows
from training.policy_inputs import ALWAYS_HELD, IDENTITY

Columns = dict[str, np.ndarray[Any, Any]]


def unread_names(policy: Policy, rows: LabelledRows) -> tuple[str, ...]:
    """What the policy reads and `rows` do not hold, sorted: of history, what no policy had read of the profile."""
    return tuple(sorted(policy.reads - ALWAYS_HELD - set(rows.origin.feature_names) - rows.inputs.keys()))


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
    held |= {name: values[positions] for name, values in rows.inputs.items()}
    for name in unread_names(policy, rows):
        is_text = kinds[name] is Kind.TEXT
        held[name] = np.full(len(positions), None, dtype=object) if is_text else np.full(len(positions), np.nan)
    return {name: held[name] for name in {*policy.reads, *IDENTITY} - {SCORE} if name in held}


def alert_count(policy: Policy, columns: Columns, scores: FloatArray) -> int:
    """How many rows the policy does not simply allow, or tells somebody about; see `DecisionBatch.is_alert`.

    `columns` as of `policy_columns`; `scores` float64 [rows], rounded as a decision has them. A control group lets
    through whom it draws where the rows hold their identity, else nobody.
    """
    found = policy.evaluate({**columns, SCORE: scores}, len(scores))
    if all(name in columns for name in IDENTITY):
        user_ids, transaction_ids = (columns[name].tolist() for name in IDENTITY)
        found = policy.with_draws(found, list(zip(user_ids, transaction_ids, strict=True)))
    telling = [place for place, rule in enumerate(policy.rules) if rule.notify]
    return int(((found.action_codes != ALLOW) | found.hits[:, telling].any(axis=1)).sum())
