"""Decisions as their canonical bytes, a batch at once: what `fraud.decision.canonical_bytes` says of each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from fraud.decision import ACTIONS, Decision, RuleHit, ScoreReason, Versions
from fraud.features.json_rows import (
    BOOLEAN,
    INTEGER,
    MOMENT,
    REAL,
    TEXT,
    JsonRows,
    Parts,
    Place,
    Texts,
    feature_parts,
    json_texts,
    object_parts,
)
from fraud.features.profile_values import PROFILE_FIELDS
from fraud.features.table import FeatureSet
from fraud.rule_inputs import GatheredBatch

# The fields with a column of numbers, in the order of the columns; those of features and profile follow.
_NUMBERS = {
    "amount_minor": INTEGER,
    "assignment_probability": REAL,
    "base_amount_minor": INTEGER,
    "late": BOOLEAN,
    "score": REAL,
    "timestamp": MOMENT,
}
# The fields with a column of texts; those of the profile follow.
_TEXTS = (
    "transaction_id",
    "user_id",
    "currency",
    "degraded",
    "action",
    "recommended_action",
    "notifications",
    "reason_codes",
    "rule_hits",
    "score_reasons",
)


@dataclass(frozen=True)
class Finding:
    """What is said about one row."""

    notifications: list[str]
    reason_codes: list[str]
    rule_hits: list[RuleHit]
    score_reasons: list[ScoreReason]


@dataclass(frozen=True)
class Verdicts:
    """What is done with each of n rows: codes, int8 [n], as in `ACTIONS`; float64 [n].

    `findings` has what is said about a row, where anything is.
    """

    action_codes: NDArray[np.int8]
    recommended_codes: NDArray[np.int8]
    probabilities: NDArray[np.float64]
    scores: NDArray[np.float64]
    findings: Mapping[int, Finding]


class DecisionText:
    """Writes what is decided under one policy, model, feature set and rate table."""

    def __init__(
        self, feature_set: FeatureSet, profile_names: Sequence[str], base_currency: str, versions: Versions
    ) -> None:
        self._feature_columns = slice(len(_NUMBERS), len(_NUMBERS) + len(feature_set.rows))
        self._profile_fields = [PROFILE_FIELDS[name] for name in profile_names]
        columns: dict[str, Parts] = {
            "base_currency": [msgspec.json.encode(base_currency)],
            "features": feature_parts(feature_set, first_column=len(_NUMBERS)),
            "profile": object_parts(
                {name: [place] for name, place in zip(profile_names, self._profile_places(), strict=True)}
            ),
            "versions": [msgspec.json.encode(versions)],
        }
        columns |= {name: [Place(kind, column)] for column, (name, kind) in enumerate(_NUMBERS.items())}
        columns |= {name: [Place(TEXT, column)] for column, name in enumerate(_TEXTS)}
        self._rows = JsonRows(object_parts({name: columns[name] for name in Decision.__struct_fields__}))

    def _profile_places(self) -> list[Place]:
        """A text stands behind the others, and nothing in its column of numbers."""
        return [
            Place(TEXT, len(_TEXTS))
            if field.kind == "text"
            else Place(INTEGER if field.counts else REAL, self._feature_columns.stop + number)
            for number, field in enumerate(self._profile_fields)
        ]

    def of_each(self, batch: GatheredBatch, verdicts: Verdicts) -> list[bytes]:
        """The canonical bytes of the decision about each row of a batch."""
        return self._rows.of_each(self._numbers(batch, verdicts), _texts(batch, verdicts))

    def _numbers(self, batch: GatheredBatch, verdicts: Verdicts) -> NDArray[np.float64]:
        columns = {
            # Amounts and times are far below the integers that a float64 does not hold.
            "amount_minor": batch.amounts_minor,
            "assignment_probability": verdicts.probabilities,
            "base_amount_minor": batch.base_amounts_minor,
            "late": batch.late,
            "score": verdicts.scores,
            "timestamp": batch.timestamps_ms,
        }
        first_of_profile = self._feature_columns.stop
        numbers = np.empty((len(batch.transactions), first_of_profile + len(self._profile_fields)))
        for column, name in enumerate(_NUMBERS):
            numbers[:, column] = columns[name]
        numbers[:, self._feature_columns] = batch.matrix
        numbers[:, first_of_profile:] = batch.profiles.numbers
        return numbers


def _texts(batch: GatheredBatch, verdicts: Verdicts) -> Texts:
    count = len(batch.transactions)
    every = np.arange(count)
    # About most rows nothing is said: they share the first text of each kind, an empty list.
    said = np.zeros(count, np.int64)
    said[list(verdicts.findings)] = range(1, len(verdicts.findings) + 1)
    findings = verdicts.findings.values()
    columns: dict[str, tuple[Sequence[object], NDArray[np.integer]]] = {
        "transaction_id": (batch.transaction_ids, every),
        "user_id": (batch.user_ids, every),
        "currency": (batch.currencies, every),
        "degraded": ([batch.degraded], np.zeros(count, np.int64)),
        "action": (ACTIONS, verdicts.action_codes),
        "recommended_action": (ACTIONS, verdicts.recommended_codes),
        "notifications": ([[], *(finding.notifications for finding in findings)], said),
        "reason_codes": ([[], *(finding.reason_codes for finding in findings)], said),
        "rule_hits": ([[], *(finding.rule_hits for finding in findings)], said),
        "score_reasons": ([[], *(finding.score_reasons for finding in findings)], said),
    }
    profile = [(batch.profiles.texts, every)] if batch.profiles.texts else []
    return json_texts(count, [*(columns[name] for name in _TEXTS), *profile])
