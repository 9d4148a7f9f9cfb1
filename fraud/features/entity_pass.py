"""A run of transactions passes the entities of one kind after the other: one call of compiled code for each kind."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from operator import attrgetter

import numpy as np

from fraud.features import customer_words
from fraud.features.compiled import Integers, Reals
from fraud.features.customer_words import EVENT_AMOUNT, EVENT_CUSTOMER, EVENT_THINGS, EVENT_TIMESTAMP_MS
from fraud.features.entity_run import (
    ADDRESS,
    BASE_AMOUNT,
    CARD,
    CUSTOMER,
    EVENT_WORDS,
    EVENTS,
    EVENTS_AT,
    FLAGS,
    FULL,
    IS_FIRST_TIME,
    IS_FRAUD,
    IS_KNOWN,
    IS_LATE,
    LENGTH,
    MOVED_FROM,
    MOVED_TO,
    NEXT,
    ROW,
    TIMESTAMP_MS,
    EntityFamily,
)
from fraud.features.entity_state import EntityState
from fraud.features.entity_words import empty_words
from fraud.features.passage import Mark, Passages
from fraud.features.plan import ENTITY_FIELDS, EntityPlan, StatePlan
from fraud.transaction import Transaction

_NO_ROW = -1
_NO_VALUES = np.empty((0, 0))
_NO_EVENTS = np.empty((0, customer_words.EVENT_WORDS), np.int64)


class EntityRun:
    """What entities of every kind meet, in order: the passages, each after the marks that are due before it.

    `known` are the events of `fraud.features.facts` for the passages, and `first_times`, int64 [n], is 1 where the
    customer is new to the merchant. Marks after the last passage are `marks`.
    """

    __slots__ = ("makes", "origins", "transactions", "words")

    def __init__(self, passages: Passages, known: Integers, first_times: Integers, marks: Sequence[Mark] = ()) -> None:
        self.transactions: Sequence[Transaction] = passages.transactions
        # Whether an event may be the first of an entity; marks and late ones are not.
        self.makes = [not late for late in passages.late]
        # Source and offset, where a store outside this process may have counted some events already.
        self.origins = passages.origins
        events = np.zeros((len(passages), EVENT_WORDS), np.int64)
        events[:, ROW] = np.arange(len(passages))
        events[:, TIMESTAMP_MS] = known[:, EVENT_TIMESTAMP_MS]
        events[:, BASE_AMOUNT] = known[:, EVENT_AMOUNT]
        events[:, CUSTOMER] = known[:, EVENT_CUSTOMER]
        events[:, CARD] = known[:, EVENT_THINGS + customer_words.CARD]
        events[:, FLAGS] = IS_FIRST_TIME * first_times
        if any(passages.late):
            events[:, FLAGS] += IS_LATE * np.array(passages.late, np.int64)
        due = [*passages.due, (len(passages), marks)] if marks else passages.due
        # From the end, so that rows before a place still stand where they did.
        for place, due_there in reversed(due):
            events = np.insert(events, place, self._add_marks(due_there, place), axis=0)
        self.words = array("q", bytes(EVENTS_AT * events.itemsize))
        self.words.frombytes(events.tobytes())
        self.words[LENGTH], self.words[EVENTS] = len(self.words), len(events)

    def _add_marks(self, marks: Sequence[Mark], place: int) -> list[tuple[int, ...]]:
        """Let them come before what stands at a place now; the words of each."""
        transactions = [transaction for transaction, _ in marks]
        self.transactions = [*self.transactions[:place], *transactions, *self.transactions[place:]]
        self.makes[place:place] = [False] * len(marks)
        if self.origins is not None:
            self.origins = [*self.origins[:place], *[("", 0)] * len(marks), *self.origins[place:]]
        return [
            (0, 0, _NO_ROW, transaction.timestamp_ms, 0, 0, 0, IS_FRAUD * is_fraud) for transaction, is_fraud in marks
        ]


class EntityPass:
    """The entities of one kind. Their values stand from `first_column` on, in the order of their family's rows."""

    def __init__(self, entity_plan: EntityPlan, plan: StatePlan, family: EntityFamily, first_column: int) -> None:
        self.kind = entity_plan.kind
        self._first_column = first_column
        self._loop = family.loop
        self._identifier = attrgetter(ENTITY_FIELDS[entity_plan.kind])
        self._empty = EntityState.new("", entity_plan)
        self._fresh_words = empty_words(entity_plan)
        limits_ms = entity_plan.retention_ms, plan.forget_after_ms, plan.allowed_lateness_ms
        numbers = (entity_plan.hop_ms, *limits_ms, self._empty.address)
        # As entity_run.py has it.
        self._same = array("q", (1 + len(numbers) + len(family.parameters), *numbers, *family.parameters))
        self._same_address = self._same.buffer_info()[0]
        # What is compiled at its first call, or read from disk, is so before the first transaction waits for it.
        self.mark((), {})

    def go(self, run: EntityRun, states: dict[str, EntityState], out: Reals) -> None:
        """Let the run's events meet their entities, and write the values of passage i into row i of `out`.

        Entities that `states` does not have yet are made and added.
        """
        words = run.words
        met = self._states_met(run, states)
        words[EVENTS_AT + ADDRESS :: EVENT_WORDS] = array("q", [0 if state is None else state.address for state in met])
        if run.origins is not None:
            known = [
                state is not None and state.has_counted(source, offset)
                for state, (source, offset) in zip(met, run.origins, strict=True)
            ]
            words[EVENTS_AT + IS_KNOWN :: EVENT_WORDS] = array("q", known)
        words[NEXT] = words[MOVED_FROM] = 0
        address, _ = words.buffer_info()
        while not self._loop(address, self._same_address, out, self._first_column):
            self._make_room(words, met)

    def mark(self, marks: Sequence[Mark], states: dict[str, EntityState]) -> None:
        """Count, or no longer count, transactions as known fraud with their entities."""
        self.go(EntityRun(Passages(), _NO_EVENTS, _NO_EVENTS[:, 0], marks), states, _NO_VALUES)

    def _states_met(self, run: EntityRun, states: dict[str, EntityState]) -> list[EntityState | None]:
        """The state of each event. Who is not there yet is, from the first event on that counts."""
        keys = list(map(self._identifier, run.transactions))
        met: list[EntityState | None] = list(map(states.get, keys))
        for place in [place for place, state in enumerate(met) if state is None and keys[place] is not None]:
            key = keys[place]
            made = states.get(key)
            if made is None and run.makes[place]:
                made = states[key] = EntityState(key, self._fresh_words[:])
            elif made is None and run.words[EVENTS_AT + place * EVENT_WORDS + ROW] != _NO_ROW:
                made = self._empty
            met[place] = made
        return met

    def _make_room(self, words: array[int], met: Sequence[EntityState | None]) -> None:
        """In the state of the next event, which lies elsewhere afterwards."""
        grown = met[words[NEXT]]
        assert grown is not None  # noqa: S101 an event without a state fills nothing
        words[MOVED_FROM] = grown.address
        grown.make_room(words[FULL])
        words[MOVED_TO] = grown.address
