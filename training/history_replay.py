"""Features computed anew from the transactions of history: how a new feature gets its past.

History holds what was admitted, tokens and amounts in the base currency included, refunds and reversals too. It goes
through the pipeline that decides, on memory stores, in the order of its messages and with labels as they became known.
"""

from __future__ import annotations

import asyncio
import heapq
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from fraud.admission import Admission
from fraud.bootstrap import build_pipeline, load_artefacts, token_maker
from fraud.features.table import FeatureSet
from fraud.labels import resolve_labels
from fraud.pipeline import Period, StageTimings
from fraud.ports import StoredDecision
from fraud.replay.label_feed import WaitingLabels
from fraud.settings import Settings
from fraud.stores.memory import MemoryCustomers, MemoryEntities
from fraud.transaction import InvalidTransactionError, Label, Transaction, TransactionMessage
from training.dataset import FloatArray
from training.history_dataset import HistoryRow, Identity

# Customer, transaction id, event time: what history is keyed by.
EventKey = tuple[str, str, int]


class _AsStored(Admission):
    """Takes transactions that were admitted once already, as they are."""

    def admit_each(self, messages: Sequence[TransactionMessage]) -> list[Transaction | InvalidTransactionError]:
        return [cast(Transaction, message) for message in messages]


class HistoryLabels(WaitingLabels):
    """A label feed: what all labels of a transaction say changes when one of them becomes known."""

    # What has no labels has none to follow.
    following = range(sys.maxsize)

    def __init__(self, labels: Mapping[Identity, Sequence[Label]]) -> None:
        super().__init__()
        self._labels = labels

    def absorbed(self, _position: int, transaction: Transaction) -> None:
        """Let every change of what is known of this transaction follow."""
        labels = self._labels.get((transaction.user_id, transaction.transaction_id), ())
        was_fraud = False
        for moment_ms in sorted({label.known_at_ms for label in labels}):
            is_fraud = resolve_labels(labels, moment_ms) == "fraud"
            if is_fraud != was_fraud:
                self.add(moment_ms, transaction, is_fraud=is_fraud)
            was_fraud = is_fraud


def replayed_features(
    settings: Settings,
    features: FeatureSet,
    events: Iterable[StoredDecision],
    labels: Mapping[Identity, Sequence[Label]],
    advance: Callable[[int], object],
) -> dict[EventKey, FloatArray]:
    """The features, float64 [features], of every authorisation of history. `advance` is told how many events passed.

    `events` are all of history in any order, decided or not; labels count from when they became known.
    """
    ordered = in_order(events)
    artefacts = load_artefacts(settings, features.name, {}, policy_file=None, model_folder=None)
    pipeline = build_pipeline(
        settings,
        artefacts,
        MemoryCustomers(),
        MemoryEntities(),
        timings=StageTimings(lambda: 0.0),
        period=Period(),
        admission=_AsStored(artefacts.rates, token_maker(settings)),
    )
    feed = HistoryLabels(labels)
    found: dict[EventKey, FloatArray] = {}
    with asyncio.Runner() as runner:
        # Not `runner.run`: at its end it looks up who handles signals, which writes out the whole batch as text.
        loop = runner.get_loop()
        for start in range(0, len(ordered), settings.batch_size):
            batch = cast(Sequence[TransactionMessage], ordered[start : start + settings.batch_size])
            gathered = loop.run_until_complete(pipeline.process(batch, feed)).gathered
            for transaction, values in zip(gathered.transactions, gathered.matrix, strict=True):
                found[_key(transaction)] = values
            advance(len(batch))
    return found


def in_order(events: Iterable[StoredDecision]) -> list[Transaction]:
    """Transactions in the order of their messages; partitions are merged by the broker's clock."""
    by_source: dict[str, list[StoredDecision]] = {}
    for event in events:
        by_source.setdefault(event.origin.source, []).append(event)
    parts = [sorted(by_source[source], key=lambda event: event.origin.offset) for source in sorted(by_source)]
    return [event.transaction for event in heapq.merge(*parts, key=lambda event: event.origin.ingested_ms)]


def with_features(rows: Sequence[HistoryRow], found: Mapping[EventKey, FloatArray]) -> list[HistoryRow]:
    """The rows of history with these features in place of those that were frozen."""
    return [row._replace(features=found[_key(row.transaction)]) for row in rows]


def _key(transaction: Transaction) -> EventKey:
    return transaction.user_id, transaction.transaction_id, transaction.timestamp_ms
