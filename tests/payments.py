"""Payments, labels and pipelines for the tests: what goes through `Pipeline.process`, and what comes out of it."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import lru_cache
from pathlib import Path

from fraud.admission import Admission
from fraud.bootstrap import Artefacts, build_pipeline, load_artefacts
from fraud.features.compiled import Reals
from fraud.features.table import FeatureSet, Value, typed
from fraud.money import load_rates
from fraud.pipeline import BatchResult, Period, StageTimings
from fraud.privacy import Tokeniser
from fraud.settings import HOME, Settings
from fraud.stores.memory import MemoryCustomers, MemoryEntities
from fraud.transaction import EPOCH, Transaction, TransactionMessage

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
# Monday, 2026-03-02T12:00:00Z.
START_MS = 1_772_452_800_000

DEFAULT_POLICY = HOME / "policies" / "default.yaml"
HANDBOOK_POLICY = HOME / "policies" / "handbook.yaml"
DEFAULT_MODEL = HOME / "models" / "default"


def payment(
    transaction_id: str, after_ms: int = 0, amount: float | str = 20.0, user_id: str = "customer"
) -> TransactionMessage:
    """An authorisation in euros `after_ms` milliseconds after `START_MS`; other fields by `msgspec.structs.replace`."""
    timestamp = EPOCH + timedelta(milliseconds=START_MS + after_ms)
    return TransactionMessage(transaction_id, user_id, timestamp, amount, "EUR")


def admission(settings: Settings) -> Admission:
    """The admission that a pipeline with these settings has."""
    tokeniser = Tokeniser(settings.token_key.encode(), settings.token_key_id)
    return Admission(load_rates(settings.rates_file, settings.base_currency), tokeniser, settings.tokenised_fields)


@lru_cache
def artefacts(
    settings: Settings, feature_set_name: str, policy_file: Path | None = None, model_folder: Path | None = None
) -> Artefacts:
    """What decisions are made with, loaded once.

    Under the usual limits, which nothing that is loaded depends on: tests try some that people may not choose.
    """
    usual = Settings()
    loaded_under = replace(
        settings,
        allowed_lateness_hours=usual.allowed_lateness_hours,
        forget_after_days=usual.forget_after_days,
        duplicate_horizon_days=usual.duplicate_horizon_days,
    )
    return load_artefacts(loaded_under, feature_set_name, {}, policy_file=policy_file, model_folder=model_folder)


@dataclass
class Verdict:
    """What becomes known about a transaction: known as fraud at `known_at_ms`, and withdrawn at `withdrawn_at_ms`."""

    known_at_ms: int
    withdrawn_at_ms: int | None = None


@dataclass
class ScheduledLabels:
    """A label feed that knows beforehand what will be found out about which transaction."""

    verdicts: dict[str, Verdict]
    following: range = range(sys.maxsize)
    _waiting: list[tuple[int, int, Transaction, bool]] = field(default_factory=list)
    _count: int = 0

    @property
    def next_due_ms(self) -> float:
        return self._waiting[0][0] if self._waiting else math.inf

    def due(self, timestamp_ms: int) -> list[tuple[Transaction, bool]]:
        taken = [entry for entry in self._waiting if entry[0] <= timestamp_ms]
        self._waiting = self._waiting[len(taken) :]
        return [(transaction, is_fraud) for _, _, transaction, is_fraud in taken]

    def absorbed(self, _position: int, transaction: Transaction) -> None:
        verdict = self.verdicts.get(transaction.transaction_id)
        if verdict is None:
            return
        self._wait(verdict.known_at_ms, transaction, is_fraud=True)
        if verdict.withdrawn_at_ms is not None:
            self._wait(verdict.withdrawn_at_ms, transaction, is_fraud=False)

    def _wait(self, known_at_ms: int, transaction: Transaction, *, is_fraud: bool) -> None:
        self._count += 1
        self._waiting.append((known_at_ms, self._count, transaction, is_fraud))
        self._waiting.sort(key=lambda entry: entry[:2])


@dataclass(frozen=True)
class Outcome:
    """What became of one message: `decided`, `warmed or recorded`, `duplicate`, or the code of its refusal."""

    what: str
    values: list[Value] = field(default_factory=list)
    late: bool = False
    canonical: bytes = b""


@dataclass
class Bench:
    """A pipeline on memory stores, and what came out of it so far."""

    settings: Settings = field(default_factory=Settings)
    feature_set_name: str = "default"
    policy_file: Path | None = None
    model_folder: Path | None = None
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    period: Period = field(default_factory=Period)
    accepts_zero_amounts: bool = False

    def __post_init__(self) -> None:
        self.customers, self.entities = MemoryCustomers(), MemoryEntities()
        self.labels = ScheduledLabels(self.verdicts)
        self.artefacts = artefacts(self.settings, self.feature_set_name, self.policy_file, self.model_folder)
        self.names = self.artefacts.feature_set.names
        self.pipeline = build_pipeline(
            self.settings,
            self.artefacts,
            self.customers,
            self.entities,
            timings=StageTimings(lambda: 0.0),
            period=self.period,
            accepts_zero_amounts=self.accepts_zero_amounts,
        )

    def batch(self, messages: Sequence[TransactionMessage]) -> BatchResult:
        """Process one batch."""
        return asyncio.run(self.pipeline.process(messages, self.labels))

    def run(
        self,
        messages: Sequence[TransactionMessage],
        batch_size: int = 1_000_000,
        after_batch: Callable[[BatchResult], None] | None = None,
    ) -> list[Outcome]:
        """One outcome for each message."""

        async def batches() -> list[Outcome]:
            outcomes = []
            for start in range(0, len(messages), batch_size):
                batch = messages[start : start + batch_size]
                result = await self.pipeline.process(batch, self.labels)
                outcomes.extend(self._outcomes(len(batch), result))
                if after_batch is not None:
                    after_batch(result)
            return outcomes

        return asyncio.run(batches())

    def values(self, messages: Sequence[TransactionMessage]) -> dict[str, Value]:
        """The feature values of the last of `messages`, by name."""
        last = self.run(messages)[-1]
        assert last.what == "decided"
        return dict(zip(self.names, last.values, strict=True))

    def _outcomes(self, count: int, result: BatchResult) -> list[Outcome]:
        outcomes = [Outcome("warmed or recorded")] * count
        rows = typed_rows(self.artefacts.feature_set, result.gathered.matrix)
        for row, position in enumerate(result.positions):
            canonical = b"" if result.decided is None else result.decided.canonical[row]
            late = bool(result.gathered.late[row])
            outcomes[position] = Outcome("decided", rows[row], late, canonical)
        for position, error in result.refused:
            outcomes[position] = Outcome(error.code)
        for position in result.duplicates:
            outcomes[position] = Outcome("duplicate")
        return outcomes


def typed_rows(feature_set: FeatureSet, matrix: Reals) -> list[list[Value]]:
    """The values of float64 [n, features] as they stand in decisions, row by row."""
    kinds = [row.kind for row in feature_set.rows]
    return [[typed(kind, value) for kind, value in zip(kinds, row, strict=True)] for row in matrix.tolist()]
