"""`decisions.parquet`: one row per decision, every feature under its own name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fraud.decision import ACTIONS, Artefact, Versions
from fraud.features.table import FeatureSet
from fraud.money import CURRENCY_EXPONENTS
from fraud.replay.decided_rows import DecidedRows
from fraud.replay.outputs import ParquetOutput
from fraud.rules.policy import Policy

_FEATURE_TYPES = {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
# How many minor units make a unit of each currency.
_MINOR_UNITS = {currency: float(10**exponent) for currency, exponent in CURRENCY_EXPONENTS.items()}
_TEXTS = pa.list_(pa.string())
# Enough of a hash to tell versions apart by eye; the whole one stands in the decision itself.
_VERSION_HASH_LENGTH = 12


def feature_fields(feature_set: FeatureSet) -> list[pa.Field]:
    """The columns of the features, in the order of the set; missing is null."""
    return [pa.field(row.name, _FEATURE_TYPES[row.kind]) for row in feature_set.rows]


def feature_columns(feature_set: FeatureSet, values_of_each: NDArray[np.float64]) -> list[pa.Array]:
    """The values for `feature_fields`, from float64 [features, rows] with NaN as missing."""
    columns = []
    for row, values in zip(feature_set.rows, values_of_each, strict=True):
        is_missing = np.isnan(values)
        # Most columns miss nothing, and those are taken as they are.
        missing = is_missing if is_missing.any() else None
        typed: NDArray[Any] = values
        if row.kind != "number":
            present = values if missing is None else np.where(missing, 0, values)
            typed = present.astype(np.int64 if row.kind == "integer" else np.bool_)
        columns.append(pa.array(typed, mask=missing))
    return columns


class DecisionTable:
    """Writes decided rows to `decisions.parquet`."""

    def __init__(self, path: Path, feature_set: FeatureSet, policy: Policy, versions: Versions) -> None:
        self._feature_set = feature_set
        self._rule_ids = pa.array([rule.id for rule in policy.rules], pa.string())
        self._versions = [
            None if artefact is None else _version_text(artefact)
            for artefact in (versions.model, versions.policy, versions.feature_set, versions.rates)
        ]
        schema = pa.schema(
            [
                pa.field("transaction_id", pa.string()),
                pa.field("user_id", pa.string()),
                pa.field("timestamp", pa.timestamp("ms", tz="UTC")),
                pa.field("amount", pa.float64()),
                pa.field("currency", pa.string()),
                pa.field("base_amount_minor", pa.int64()),
                pa.field("score", pa.float64()),
                pa.field("action", pa.string()),
                pa.field("rule_hits", _TEXTS),
                pa.field("reason_codes", _TEXTS),
                pa.field("notifications", _TEXTS),
                pa.field("degraded", _TEXTS),
                pa.field("late", pa.bool_()),
                pa.field("model_version", pa.string()),
                pa.field("policy_version", pa.string()),
                pa.field("feature_set_version", pa.string()),
                pa.field("rates_version", pa.string()),
                pa.field("decision_hash", pa.string()),
                pa.field("label", pa.string()),
                pa.field("scenario", pa.string()),
                *feature_fields(feature_set),
            ]
        )

        self._output = ParquetOutput(path, schema)

    def write(self, rows: DecidedRows) -> None:
        """Add rows."""
        self._output.write(self._columns(rows))

    def close(self) -> None:
        """Write what is left; the file is complete."""
        self._output.close()

    def _columns(self, rows: DecidedRows) -> list[Any]:
        count = len(rows)
        return [
            pa.array(rows.transaction_ids, pa.string()),
            pa.array(rows.user_ids, pa.string()),
            pa.array(rows.timestamps_ms, pa.timestamp("ms", tz="UTC")),
            pa.array(_major_units(rows)),
            pa.array(rows.currencies, pa.string()),
            pa.array(rows.base_amounts_minor),
            pa.array(rows.scores, mask=np.isnan(rows.scores)),
            pa.array(ACTIONS, pa.string()).take(pa.array(rows.action_codes)),
            self._rule_hits(rows.hits),
            _text_lists({row: finding.reason_codes for row, finding in rows.findings.items()}, count),
            _text_lists({row: finding.notifications for row, finding in rows.findings.items()}, count),
            _text_lists({}, count),
            pa.array(rows.late),
            *(_repeated(version, count) for version in self._versions),
            pa.array(rows.hashes, pa.string()),
            pa.array(rows.labels, pa.string()),
            pa.array(rows.scenarios, pa.string()),
            *feature_columns(self._feature_set, rows.feature_columns),
        ]

    def _rule_hits(self, hits: NDArray[np.bool_]) -> pa.Array:
        offsets = np.concatenate(([0], np.cumsum(hits.sum(axis=1)))).astype(np.int32)
        rules = np.nonzero(hits)[1]
        return pa.ListArray.from_arrays(pa.array(offsets), self._rule_ids.take(pa.array(rules)))


def _version_text(artefact: Artefact) -> str:
    return f"{artefact.name}@{artefact.hash[:_VERSION_HASH_LENGTH]}"


def _major_units(rows: DecidedRows) -> NDArray[np.float64]:
    minor_units = np.array([_MINOR_UNITS[currency] for currency in rows.currencies], dtype=np.float64)
    return np.divide(rows.amounts_minor, minor_units)


def _repeated(text: str | None, rows: int) -> pa.Array:
    return pa.nulls(rows, pa.string()) if text is None else pa.repeat(pa.scalar(text, pa.string()), rows)


def _text_lists(lists: Mapping[int, Sequence[str]], rows: int) -> pa.Array:
    """A list for each row, empty for most; those that are not, by row in ascending order."""
    offsets = np.zeros(rows + 1, dtype=np.int32)
    offsets[[row + 1 for row in lists]] = [len(texts) for texts in lists.values()]
    texts = pa.array(list(chain.from_iterable(lists.values())), pa.string())
    return pa.ListArray.from_arrays(pa.array(np.cumsum(offsets, dtype=np.int32)), texts)
