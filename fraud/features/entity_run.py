"""The events of a run of transactions as compiled code meets them, one kind of entity after the other.

A family of entity features is such a loop over the events, see `EntityFamily`. Each event is either a transaction at
its entity, or a mark: another transaction became known as fraud, or no longer is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from fraud.features.compiled import Integers, Reals, compiled, integers_at
from fraud.features.entity_counting import NOTHING, absorb, drop_expired, forget, mark, unmark
from fraud.features.entity_words import FIRST_SEEN_MS, IS_TOLD, KEEPS, NEWEST_MS

# A run, by word: how many events it has, which is the next one, and which section of its state is full. A state that
# got more room since moved from one address to another; 0 if none did.
LENGTH: Final = 0
EVENTS: Final = 1
NEXT: Final = 2
FULL: Final = 3
MOVED_FROM: Final = 4
MOVED_TO: Final = 5
EVENTS_AT: Final = 6

# An event, by word. The first two are those of the kind in hand: the address of the entity's state (0 if there is none)
# and whether the state has counted the event already. ROW is where its values go, negative for a mark. Names are
# hashes, 0 for none.
ADDRESS: Final = 0
IS_KNOWN: Final = 1
ROW: Final = 2
TIMESTAMP_MS: Final = 3
BASE_AMOUNT: Final = 4
CUSTOMER: Final = 5
CARD: Final = 6
FLAGS: Final = 7
EVENT_WORDS: Final = 8

# Bits of FLAGS. One that is late is read and not counted; a mark that is no fraud takes one back.
IS_FIRST_TIME: Final = 1
IS_LATE: Final = 2
IS_FRAUD: Final = 4

# What is the same for all events of a kind, by word, then the parameters of its family. The last one is the address of
# a state that nobody has seen.
HOP_MS: Final = 1
RETENTION_MS: Final = 2
FORGET_AFTER_MS: Final = 3
ALLOWED_LATENESS_MS: Final = 4
EMPTY_STATE: Final = 5
PARAMETERS_AT: Final = 6

# Takes the addresses of a run and of what is the same for a kind, the matrix of values, and the family's first column.
Loop = Callable[[int, int, Reals, int], bool]


class EntityFamily(NamedTuple):
    """How a kind of entity meets a run and what is read of it before each transaction.

    `loop` takes the events that are `left`, in order: `marked` those without a row; for the rest it writes the values
    of the state that `met` gives, or what stands for no entity, then they are `counted`. It returns False with NEXT at
    the event whose state has a full section. `parameters` are its own, from PARAMETERS_AT on.
    """

    loop: Loop
    parameters: tuple[int, ...] = ()


@compiled
def event_at(place: int) -> int:
    """The word where an event of the run starts."""
    return EVENTS_AT + place * EVENT_WORDS


@compiled
def left(run: Integers) -> range:
    """The events that have not been taken yet."""
    if run[MOVED_FROM] != 0:
        for place in range(run[NEXT], run[EVENTS]):
            address = event_at(place) + ADDRESS
            if run[address] == run[MOVED_FROM]:
                run[address] = run[MOVED_TO]
        run[MOVED_FROM] = 0
    return range(run[NEXT], run[EVENTS])


@compiled
def met(run: Integers, event: int, kind: Integers) -> Integers:
    """The state that a transaction reads. One that was forgotten by then is new.

    To all that follows; or, if the transaction is late, to this one alone.
    """
    words = integers_at(run[event + ADDRESS])
    timestamp_ms = run[event + TIMESTAMP_MS]
    if words[NEWEST_MS] < timestamp_ms - kind[FORGET_AFTER_MS]:
        if run[event + FLAGS] & IS_LATE:
            return integers_at(kind[EMPTY_STATE])
        forget(words)
    elif words[NEWEST_MS] > timestamp_ms + kind[ALLOWED_LATENESS_MS]:
        # Its windows reach back into what may be gone already: then it is gone for everybody.
        drop_expired(words, kind[HOP_MS], kind[RETENTION_MS])
    return words


@compiled
def counted(run: Integers, place: int, words: Integers, kind: Integers) -> bool:
    """Count a transaction, unless it is late or was counted before; False if that needs more room."""
    event = event_at(place)
    if run[event + FLAGS] & IS_LATE or (run[event + IS_KNOWN] != 0 and words[KEEPS] & IS_TOLD):
        return True
    full = absorb(
        words,
        run[event + TIMESTAMP_MS],
        run[event + BASE_AMOUNT],
        run[event + FLAGS] & IS_FIRST_TIME,
        run[event + CUSTOMER],
        run[event + CARD],
        kind[HOP_MS],
        kind[RETENTION_MS],
    )
    run[FULL], run[NEXT] = full, place
    return full == NOTHING


@compiled
def marked(run: Integers, place: int, kind: Integers) -> bool:
    """Take a mark; False if that needs more room. An entity that was forgotten in between knows nothing of it."""
    event = event_at(place)
    if run[event + ADDRESS] == 0:
        return True
    words = integers_at(run[event + ADDRESS])
    timestamp_ms = run[event + TIMESTAMP_MS]
    if not words[FIRST_SEEN_MS] <= timestamp_ms <= words[NEWEST_MS]:
        return True
    if not run[event + FLAGS] & IS_FRAUD:
        unmark(words, timestamp_ms)
        return True
    full = mark(words, timestamp_ms, kind[HOP_MS], kind[RETENTION_MS])
    run[FULL], run[NEXT] = full, place
    return full == NOTHING
