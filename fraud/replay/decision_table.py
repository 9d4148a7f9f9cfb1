"""`decisions.parquet`: one row per decision, every feature under its own name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fraud.deciding import DecisionBatch
from fraud.decision import ACTIONS, Artefact, Versions
from fraud.features.table import FeatureSet
from fraud.money import CURRENCY_EXPONENTS
from fraud.replay.outputs import ROW_GROUP_ROWS, ParquetOutput
from fraud.rule_inputs import GatheredBatch
from fraud.rules.policy import Policy
from fraud.sources.records import GroundTruth
from fraud.transaction import Transaction

_FEATURE_TYPES = {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
# How many minor units make a unit of each currency.
_MINOR_UNITS = {currency: float(10**exponent) for currency, exponent in CURRENCY_EXPONENTS.items()}
_TEXTS = pa.list_(pa.string())
# Enough of a hash to tell versions apart by eye; the whole one stands in the decision itself.
_VERSION_HASH_LENGTH = 12


def feature_fields(feature_set: FeatureSet) -> list[pa.Field]:
    """The columns of the features, in the order of the set; missing is null."""
    return [pa.field(row.name, _FEATURE_TYPES[row.kind]) for row in feature_set.rows]


def feature_columns(feature_set: FeatureSet, matrix: np.ndarray[Any, np.dtype[np.float64]]) -> list[pa.Array]:
    """The values for `feature_fields`, from float64 [rows, features] with NaN as missing."""
    columns = []
    for row, values in zip(feature_set.rows, matrix.T, strict=True):
        missing = np.isnan(values)
        if row.kind == "number":
            columns.append(pa.array(values, mask=missing))
        elif row.kind == "integer":
            columns.append(pa.array(np.where(missing, 0, values).astype(np.int64), mask=missing))
        else:
            columns.append(pa.array(np.where(missing, 0, values).astype(np.bool_), mask=missing))
    return columns


@dataclass(frozen=True)
class _Rows:
    """What is kept of decided batches until a row group is full: not their bytes, which are the bulk of them."""

    transactions: Sequence[Transaction]
    matrix: np.ndarray[Any, np.dtype[np.float64]]
    late: np.ndarray[Any, np.dtype[np.bool_]]
    scores: np.ndarray[Any, np.dtype[np.float64]]
    action_codes: np.ndarray[Any, np.dtype[np.int8]]
    hits: np.ndarray[Any, np.dtype[np.bool_]]
    reason_codes: Sequence[Sequence[str]]
    notifications: Sequence[Sequence[str]]
    hashes: Sequence[str]
    truths: Sequence[GroundTruth | None]

    @staticmethod
    def joined(parts: Sequence[_Rows]) -> _Rows:
        return _Rows(
            [transaction for part in parts for transaction in part.transactions],
            np.concatenate([part.matrix for part in parts]),
            np.concatenate([part.late for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.action_codes for part in parts]),
            np.concatenate([part.hits for part in parts]),
            [codes for part in parts for codes in part.reason_codes],
            [channels for part in parts for channels in part.notifications],
            [content_hash for part in parts for content_hash in part.hashes],
            [truth for part in parts for truth in part.truths],
        )


class DecisionTable:
    """Writes batches to `decisions.parquet`.

    A row group's worth of them is turned into columns at once: doing it for each batch would cost three times as much.
    """

    def __init__(self, path: Path, feature_set: FeatureSet, policy: Policy, versions: Versions) -> None:
        self._pending: list[_Rows] = []
        self._pending_rows = 0
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

    def write(self, gathered: GatheredBatch, decided: DecisionBatch, truths: Sequence[GroundTruth | None]) -> None:
        """Add a batch; `truths` is what the file says of each decided transaction."""
        rows = _Rows(
            gathered.transactions,
            gathered.matrix,
            gathered.late,
            decided.scores,
            decided.evaluation.action_codes,
            decided.evaluation.hits,
            decided.reason_codes,
            decided.notifications,
            decided.hashes,
            truths,
        )
        self._pending.append(rows)
        self._pending_rows += len(gathered.transactions)
        if self._pending_rows >= ROW_GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        """Write what is left; the file is complete."""
        if self._pending:
            self._flush()
        self._output.close()

    def _flush(self) -> None:
        self._output.write(self._columns(_Rows.joined(self._pending)))
        self._pending.clear()
        self._pending_rows = 0

    def _columns(self, rows: _Rows) -> list[Any]:
        transactions = rows.transactions
        count = len(transactions)
        timestamps = np.array([transaction.timestamp_ms for transaction in transactions], dtype=np.int64)
        return [
            pa.array([transaction.transaction_id for transaction in transactions], pa.string()),
            pa.array([transaction.user_id for transaction in transactions], pa.string()),
            pa.array(timestamps, pa.timestamp("ms", tz="UTC")),
            pa.array(_major_units(transactions)),
            pa.array([transaction.currency for transaction in transactions], pa.string()),
            pa.array([transaction.base_amount_minor for transaction in transactions], pa.int64()),
            pa.array(rows.scores, mask=np.isnan(rows.scores)),
            pa.array(np.array(ACTIONS, dtype=object)[rows.action_codes], pa.string()),
            self._rule_hits(rows.hits),
            _text_lists(rows.reason_codes),
            _text_lists(rows.notifications),
            _text_lists([[]] * count),
            pa.array(rows.late),
            *(_repeated(version, count) for version in self._versions),
            pa.array(rows.hashes, pa.string()),
            pa.array([None if truth is None else truth.label for truth in rows.truths], pa.string()),
            pa.array([None if truth is None else truth.scenario for truth in rows.truths], pa.string()),
            *feature_columns(self._feature_set, rows.matrix),
        ]

    def _rule_hits(self, hits: np.ndarray[Any, np.dtype[np.bool_]]) -> pa.Array:
        offsets = np.concatenate(([0], np.cumsum(hits.sum(axis=1)))).astype(np.int32)
        rules = np.nonzero(hits)[1]
        return pa.ListArray.from_arrays(pa.array(offsets), self._rule_ids.take(pa.array(rules)))


def _version_text(artefact: Artefact) -> str:
    return f"{artefact.name}@{artefact.hash[:_VERSION_HASH_LENGTH]}"


def _major_units(transactions: Sequence[Transaction]) -> np.ndarray[Any, np.dtype[np.float64]]:
    minor = np.array([transaction.amount_minor for transaction in transactions], dtype=np.float64)
    minor_units = np.array([_MINOR_UNITS[transaction.currency] for transaction in transactions], dtype=np.float64)
    return np.divide(minor, minor_units)


def _repeated(text: str | None, rows: int) -> pa.Array:
    return pa.nulls(rows, pa.string()) if text is None else pa.repeat(pa.scalar(text, pa.string()), rows)


def _text_lists(lists: Sequence[Sequence[str]]) -> pa.Array:
    offsets = np.zeros(len(lists) + 1, dtype=np.int32)
    np.cumsum([len(texts) for texts in lists], out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(list(chain.from_iterable(lists)), pa.string()))
