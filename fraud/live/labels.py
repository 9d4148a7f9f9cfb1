"""Labels become known: kept, resolved, counted with the entities of their transaction, or parked until it comes."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec

from fraud.features.extraction import Extraction
from fraud.labels import resolve_labels
from fraud.live.dead_letter import DeadLetterBox, DeadLetterKeyError, MessagePlace
from fraud.live.decisions import Arrival
from fraud.live.measures import Measures
from fraud.live.outgoing import Outgoing, dead_letter, sealed
from fraud.live.wire import LabelMessage, decode_label
from fraud.ports import (
    EntityStore,
    EntityStoreUnavailableError,
    LabelStore,
    Origin,
    StoredDecision,
    StoreUnavailableError,
    TransactionIndex,
    WaitingLabel,
)
from fraud.privacy import RotatingTokeniser, Tokeniser
from fraud.transaction import EPOCH, InvalidTransactionError, Label

# Transactions whose labels are worked on at the same time.
_IN_FLIGHT = 16
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.05, 2.0
# The code of a label whose transaction did not come.
_GIVEN_UP = "unknown_transaction"

_log = logging.getLogger(__name__)


class LabelService:
    """Takes batches of labels, and looks again at those that wait.

    `tokeniser` is given where customers are known by token; `secret_fields` are masked in dead letters. `random`
    (uniform in [0, 1)) and `sleep` spread attempts when a store is away.
    """

    def __init__(
        self,
        labels: LabelStore,
        transactions: TransactionIndex,
        entities: EntityStore,
        extraction: Extraction,
        box: DeadLetterBox,
        measures: Measures,
        *,
        wait_ms: int,
        tokeniser: Tokeniser | None,
        secret_fields: tuple[str, ...] = (),
        random: Callable[[], float],
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self._labels = labels
        self._transactions = transactions
        self._entities = entities
        self._extraction = extraction
        self._box = box
        self._measures = measures
        self._wait_ms = wait_ms
        self._tokeniser = tokeniser
        self._secret_fields = secret_fields
        self._random = random
        self._sleep = sleep
        self._in_flight = asyncio.Semaphore(_IN_FLIGHT)

    async def handle(self, arrivals: Sequence[Arrival]) -> list[Outgoing]:
        """Keep and count labels, in order for each transaction; returns the dead letters to publish."""
        outgoing: list[Outgoing] = []
        if isinstance(self._tokeniser, RotatingTokeniser):
            self._tokeniser.former.clear()
        by_transaction: dict[tuple[str, str], list[tuple[Label, Arrival]]] = defaultdict(list)
        for arrival in arrivals:
            try:
                label = self._tokenised(decode_label(arrival.value))
            except InvalidTransactionError as error:
                self._measures.label("refused")
                self._measures.refused(arrival.place.topic, error.code)
                outgoing.append(sealed(self._box, error, arrival.place, arrival.value, self._secret_fields))
            else:
                by_transaction[label.user_id, label.transaction_id].append((label, arrival))
        await asyncio.gather(*(self._learn_all(labels) for labels in by_transaction.values()))
        return outgoing

    async def look_again(self, now_ms: int, topic: str, publish: Callable[[list[Outgoing]], Awaitable[None]]) -> None:
        """Try the labels that wait. Those that waited too long become dead letters of the messages of `topic`.

        Several workers may do this at once: a label is counted by its transaction, a dead letter known by its place.
        Raises `StoreUnavailableError` when the labels cannot be read.
        """
        for waiting in await self._labels.waiting():
            place = _place(waiting, topic)
            label, found = await self._found(waiting, place)
            if found is not None:
                await self._until_stores_answer(partial(self._count, label, found, now_ms))
                await self._labels.settle(waiting.label)
                self._measures.label("found")
            elif now_ms - waiting.origin.ingested_ms > self._wait_ms:
                await publish([self._given_up(waiting, place)])
                await self._labels.settle(waiting.label)
                self._measures.label("given_up")
                self._measures.refused(topic, _GIVEN_UP)

    async def _found(self, waiting: WaitingLabel, place: MessagePlace) -> tuple[Label, StoredDecision | None]:
        """A label that waits, and its transaction if there is one now: it may stand under a token of another key."""
        label = waiting.label
        found = await self._find(label)
        if found is not None or self._tokeniser is None or waiting.sealed is None:
            return label, found
        try:
            value = self._box.open_message(waiting.sealed, place)
        except DeadLetterKeyError as error:
            _log.warning("a label waits under its former token alone: %s", error)
            return label, None
        renamed = await self._as_it_stands(self._tokenised(decode_label(value)))
        return renamed, await self._find(renamed) if renamed != label else None

    def _given_up(self, waiting: WaitingLabel, place: MessagePlace) -> Outgoing:
        label = waiting.label
        hours = f"{self._wait_ms / 3_600_000:g} hours"
        reason = f"names a transaction of {label.user_id} that did not come within {hours}"
        error = InvalidTransactionError(_GIVEN_UP, "transaction_id", reason, label.transaction_id)
        # As it came, so that it is tokenised once when it is sent again.
        message = waiting.sealed or self._box.sealed_message(place, encode_label(label))
        # Its key is a token, if anything is secret.
        return dead_letter(place, self._box.letter(error, place, message), ())

    def _tokenised(self, label: Label) -> Label:
        if self._tokeniser is None:
            return label
        return msgspec.structs.replace(label, user_id=self._tokeniser.token("user_id", label.user_id))

    async def _learn_all(self, labels: Sequence[tuple[Label, Arrival]]) -> None:
        async with self._in_flight:
            for label, arrival in labels:
                await self._until_stores_answer(partial(self._learn, label, arrival))

    async def _until_stores_answer(self, attempt: Callable[[], Coroutine[Any, Any, None]]) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                await attempt()
            except (StoreUnavailableError, EntityStoreUnavailableError) as error:
                self._measures.retried("labels")
                _log.warning("a label waits for a store: %s", error)
                await self._sleep(pause_s * (0.5 + self._random()))
                pause_s = min(2 * pause_s, _LAST_PAUSE_S)
            else:
                return

    async def _learn(self, label: Label, arrival: Arrival) -> None:
        place = arrival.place
        label = await self._as_it_stands(label)
        found = await self._find(label)
        if found is None:
            await self._labels.append(label)
            origin = Origin(place.source, place.offset, place.ingested_ms)
            await self._labels.park(label, origin, self._box.sealed_message(place, arrival.value))
            self._measures.label("parked")
            return
        await self._count(label, found, place.ingested_ms)
        self._measures.label("counted")

    async def _as_it_stands(self, label: Label) -> Label:
        """The label of the customer under whose token the transaction stands; the present one while there is none."""
        if not isinstance(self._tokeniser, RotatingTokeniser):
            return label
        former_id = self._tokeniser.former.get(label.user_id, label.user_id)
        before = msgspec.structs.replace(label, user_id=former_id)
        stands_before = await self._find(label) is None and await self._find(before) is not None
        return before if stands_before else label

    async def _find(self, label: Label) -> StoredDecision | None:
        return await self._transactions.find(label.user_id, label.transaction_id, label.transaction_timestamp_ms)

    async def _count(self, label: Label, found: StoredDecision, now_ms: int) -> None:
        """Keep a label; count its transaction as fraud with its entities, or no longer, by every label known now."""
        known = await self._labels.append(label)
        transaction = found.transaction
        if transaction.event_type != "authorisation" or found.late:
            return
        is_fraud = resolve_labels(known, max(now_ms, label.known_at_ms)) == "fraud"
        if is_fraud and [one.label_id for one in known if one.label == "fraud"] == [label.label_id]:
            self._measures.drift.confirmed(found.canonical)
        keys = self._extraction.entity_keys(transaction)
        await self._entities.mark(keys, transaction.transaction_id, transaction.timestamp_ms, is_fraud)


def _place(waiting: WaitingLabel, topic: str) -> MessagePlace:
    topic_id, _, partition = waiting.origin.source.rpartition(":")
    origin, key = waiting.origin, waiting.label.user_id.encode()
    return MessagePlace(topic, topic_id, int(partition), origin.offset, origin.ingested_ms, key)


def encode_label(label: Label) -> bytes:
    """The label as a message of the topic."""
    timestamp_ms = label.transaction_timestamp_ms
    message = LabelMessage(
        label.label_id,
        label.transaction_id,
        label.user_id,
        label.label,
        label.source,
        _moment(label.known_at_ms),
        None if timestamp_ms is None else _moment(timestamp_ms),
    )
    return msgspec.json.encode(message)


def _moment(timestamp_ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=timestamp_ms)
