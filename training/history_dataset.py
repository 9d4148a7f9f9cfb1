"""Labelled rows from what the service has decided: the features that stand frozen in its decisions."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import numpy as np

from fraud.decision import ACTIONS, BLOCK, Scalar
from fraud.features.profile_values import PROFILE_FIELDS, Profiles
from fraud.features.table import FeatureSet
from fraud.labels import resolve_labels
from fraud.ports import StoredDecision
from fraud.replay.feature_blocks import FeatureBlock
from fraud.rule_inputs import GatheredBatch, RuleInputs
from fraud.transaction import Label, Transaction
from training.dataset import DatasetError
from training.labelled_rows import FRAUD, LEGITIMATE, NEVER_KNOWN_MS, UNKNOWN, known_labels
from training.metrics.judged import DAY_MS

# The identity of a transaction: customer and transaction id.
Identity = tuple[str, str]
# A block has objects for its transactions; more at once only takes memory.
_BLOCK_ROWS = 4_096


class _FeatureSetVersion(msgspec.Struct):
    hash: str


class _ModelVersion(msgspec.Struct):
    name: str


class _Versions(msgspec.Struct):
    feature_set: _FeatureSetVersion
    model: _ModelVersion | None = None


class _Frozen(msgspec.Struct):
    degraded: list[str]
    features: dict[str, float | bool | None]
    versions: _Versions
    score: float | None = None
    action: str = "allow"
    assignment_probability: float = 1.0
    profile: dict[str, Scalar] = {}


_decode = msgspec.json.Decoder(_Frozen).decode


class HistoryRow(NamedTuple):
    """A decided transaction: where its message stood, and its features, float64 [features].

    `score` is that of the model which decided, `model_name` its name, None without one; `shadow_scores` are those of
    models in shadow, by what history calls them. `is_blocked` and `assignment_probability` are of the action taken.
    `profile` is what the policy read of it.
    """

    source: str
    offset: int
    ingested_ms: int
    transaction: Transaction
    features: np.ndarray[Any, np.dtype[np.float64]]
    score: float | None
    model_name: str | None
    shadow_scores: Mapping[str, float]
    is_blocked: bool = False
    assignment_probability: float = 1.0
    profile: Mapping[str, Scalar] = {}


@dataclass
class DecidedHistory:
    """The decisions of a period that can be learned from, and how many could not.

    `degraded` were decided without a part of the service, `other_features` with another version of the feature set: in
    both, values are not what the model will see. With `is_replayed` they are taken, too, and no row has features: those
    that are computed anew come in their place (`training.history_replay`). About two kilobytes a row are kept.
    """

    features: FeatureSet
    from_ms: float
    to_ms: float
    rows: list[HistoryRow] = field(default_factory=list)
    degraded: int = 0
    other_features: int = 0
    is_replayed: bool = False

    def add(self, stored: StoredDecision, shadow_scores: Mapping[str, float]) -> None:
        """Take a decision in, if it is of the period."""
        transaction, origin = stored.transaction, stored.origin
        if not self.from_ms <= transaction.timestamp_ms < self.to_ms:
            return
        frozen = _decode(stored.canonical)
        if self.is_replayed:
            matrix_row = np.empty(0)
        elif frozen.versions.feature_set.hash != self.features.schema_hash:
            self.other_features += 1
            return
        elif frozen.degraded:
            self.degraded += 1
            return
        else:
            values = [frozen.features[name] for name in self.features.names]
            matrix_row = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        model = frozen.versions.model
        self.rows.append(
            HistoryRow(
                origin.source,
                origin.offset,
                origin.ingested_ms,
                transaction,
                matrix_row,
                frozen.score,
                None if model is None else model.name,
                shadow_scores,
                frozen.action == ACTIONS[BLOCK],
                frozen.assignment_probability,
                frozen.profile,
            )
        )

    def in_order(self) -> list[HistoryRow]:
        """The rows in the order in which their partitions had them; partitions are merged by the broker's clock."""
        by_source: dict[str, list[HistoryRow]] = {}
        for row in self.rows:
            by_source.setdefault(row.source, []).append(row)
        ordered = [sorted(by_source[source], key=lambda row: row.offset) for source in sorted(by_source)]
        return list(heapq.merge(*ordered, key=lambda row: row.ingested_ms))


@dataclass(frozen=True)
class KnownRows:
    """n rows in order with what was known of them at `known_by_ms`; those not known yet are in it, too.

    `labels` int8 [n]: 1 fraud, 0 legitimate, -1 not known; `label_known_at_ms` int64 [n]: since when, -1 for not known;
    `weights` float64 [n]: how many payments the outcome of each stands for, see `outcome_weights`.
    """

    rows: Sequence[HistoryRow]
    labels: np.ndarray[Any, np.dtype[np.int8]]
    label_known_at_ms: np.ndarray[Any, np.dtype[np.int64]]
    weights: np.ndarray[Any, np.dtype[np.float64]]

    @property
    def timestamps_ms(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Event times, UTC milliseconds, int64 [n]."""
        return np.array([row.transaction.timestamp_ms for row in self.rows], dtype=np.int64)

    @property
    def profile_names(self) -> frozenset[str]:
        """What every decision holds of the profile: policies that decided since may have read more of it, or less."""
        return frozenset.intersection(*(frozenset(row.profile) for row in self.rows)) if self.rows else frozenset()

    def blocks(self, inputs: RuleInputs | None = None) -> Iterator[FeatureBlock]:
        """The known rows, as the replay of a file would give them, and those whose outcome a block prevented.

        `inputs` of rules are read beside; every decision must hold what they read of the profile. Raises
        `DatasetError` if nothing is known.
        """
        known = np.flatnonzero((self.labels != UNKNOWN) | (self.weights == 0))
        if (self.labels == UNKNOWN).all():
            raise DatasetError(
                f"of {len(self.rows):,} decisions in history no label is known or taken for granted: wait until some "
                "are older than --maturity-days, or check --from, --to and --as-of"
            )
        for start in range(0, len(known), _BLOCK_ROWS):
            places = known[start : start + _BLOCK_ROWS]
            rows = [self.rows[place] for place in places]
            known_at_ms = self.label_known_at_ms[places]
            yield _block(rows, self.labels[places], known_at_ms, self.weights[places], inputs)


def known_rows(
    rows: Sequence[HistoryRow], labels: Mapping[Identity, Sequence[Label]], *, known_by_ms: int, maturity_days: float
) -> KnownRows:
    """What was known of `rows` at `known_by_ms`, by the rule for every dataset (`training.labelled_rows`).

    A row without a known fraud is legitimate from `maturity_days` after its event, or from a later label that says so.
    A blocked one of which no label speaks is never known: nobody can report a fraud that did not happen.
    """
    said, since_ms = [], []
    for row in rows:
        transaction = row.transaction
        of_row = labels.get((transaction.user_id, transaction.transaction_id), ())
        said.append(resolve_labels(of_row, known_by_ms) == "fraud")
        since_ms.append(known_since_ms(of_row, known_by_ms))
    timestamps = np.array([row.transaction.timestamp_ms for row in rows], dtype=np.int64)
    since = np.array(since_ms, dtype=np.int64)
    final = np.where(np.array(said, dtype=np.bool_), FRAUD, LEGITIMATE).astype(np.int8)
    resolved = known_labels(final, since, timestamps, known_by_ms=known_by_ms, maturity_days=maturity_days)
    blocked = np.array([row.is_blocked for row in rows], dtype=np.bool_)
    resolved[blocked & (since == NEVER_KNOWN_MS)] = UNKNOWN
    mature_ms = timestamps + round(maturity_days * DAY_MS)
    known_at = np.where(resolved == FRAUD, since, np.maximum(since, mature_ms))
    weights = outcome_weights(rows, resolved)
    return KnownRows(rows, resolved, np.where(resolved == UNKNOWN, NEVER_KNOWN_MS, known_at), weights)


def outcome_weights(
    rows: Sequence[HistoryRow], labels: np.ndarray[Any, np.dtype[np.int8]]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """How many payments the outcome of each of `rows` stands for, float64 [n]; `labels` int8 [n] are as resolved.

    Inverse-propensity weights (Horvitz, Thompson 1952): who was let through with probability p stands for 1/p. A
    blocked payment stands for none: nobody sees its outcome, or, where somebody found out, others stand for it already.
    Only where no control group drew, a blocked payment with a label stands for itself.
    """
    probabilities = np.array([row.assignment_probability for row in rows], dtype=np.float64)
    blocked = np.array([row.is_blocked for row in rows], dtype=np.bool_)
    return np.where(blocked & ((probabilities < 1) | (labels == UNKNOWN)), 0.0, 1 / probabilities)


def known_since_ms(labels: Iterable[Label], known_by_ms: int) -> int:
    """Since when labels have said what they say at `known_by_ms`, without a break; -1 if they say nothing."""
    known = list(labels)
    final = resolve_labels(known, known_by_ms)
    if final is None:
        return NEVER_KNOWN_MS
    since_ms = NEVER_KNOWN_MS
    for moment_ms in sorted({label.known_at_ms for label in known if label.known_at_ms <= known_by_ms}, reverse=True):
        if resolve_labels(known, moment_ms) != final:
            break
        since_ms = moment_ms
    return since_ms


def _block(
    rows: Sequence[HistoryRow], labels: Any, label_known_at_ms: Any, weights: Any, inputs: RuleInputs | None
) -> FeatureBlock:
    transactions = [row.transaction for row in rows]
    matrix = np.array([row.features for row in rows], dtype=np.float64)
    names = () if inputs is None else inputs.profile_names
    fields = [PROFILE_FIELDS[name] for name in names]
    profiles = Profiles.of_rows(fields, [[row.profile[name] for name in names] for row in rows])
    gathered = GatheredBatch(transactions, matrix, profiles, np.zeros(len(rows), dtype=np.bool_))
    return FeatureBlock(
        gathered=gathered,
        transaction_ids=[transaction.transaction_id for transaction in transactions],
        timestamps_ms=np.array([transaction.timestamp_ms for transaction in transactions], dtype=np.int64),
        labels=labels,
        label_known_at_ms=label_known_at_ms,
        base_amounts_minor=np.array([transaction.base_amount_minor for transaction in transactions], dtype=np.int64),
        scenarios=[None] * len(rows),
        weights=weights,
        rejected=(),
        inputs={} if inputs is None else inputs.unscored_columns(gathered),
    )
