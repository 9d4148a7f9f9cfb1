"""Generated sequences of events that hit the edges: of windows, lateness, horizons, and of being forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import msgspec
from hypothesis import strategies as st
from payments import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, START_MS, Verdict, payment

from fraud.settings import Settings
from fraud.transaction import TransactionMessage

# Small enough that a short sequence passes all of them.
SMALL_LIMITS = Settings(allowed_lateness_hours=12, forget_after_days=40, duplicate_horizon_days=2)
TINY_LIMITS = Settings(allowed_lateness_hours=1, forget_after_days=3, duplicate_horizon_days=0.5)
USUAL_LIMITS = Settings()

STEPS_MS = (
    *(0,) * 4,
    1,
    999,
    SECOND_MS,
    *(MINUTE_MS,) * 3,
    5 * MINUTE_MS,
    10 * MINUTE_MS,
    HOUR_MS - 1,
    HOUR_MS,
    HOUR_MS + 1,
    7 * HOUR_MS,
    DAY_MS - 1,
    DAY_MS,
    3 * DAY_MS + 1,
    7 * DAY_MS,
    29 * DAY_MS,
    30 * DAY_MS,
    41 * DAY_MS,
    91 * DAY_MS,
    -1,
    -MINUTE_MS,
    -30 * MINUTE_MS,
    -11 * HOUR_MS,
    -12 * HOUR_MS,
    -13 * HOUR_MS,
    -5 * DAY_MS,
    -33 * DAY_MS,
    -60 * DAY_MS,
)
LABEL_DELAYS_MS = (None, None, 0, HOUR_MS, DAY_MS, 7 * DAY_MS, 30 * DAY_MS, 50 * DAY_MS)
AMOUNTS = (1.0, 4.99, 5.0, 5.01, 20.0, 20.0, 25.5, 100.1, 4_000.0)
PLACES = ((48.2082, 16.3738), (48.2491, 16.3561), (48.1486, 17.1077), (-33.8688, 151.2093), (64.1466, -21.9426))
PRESENCES = (
    ("chip", "pos"),
    (None, "pos"),
    ("ecommerce", "online"),
    (None, "online"),
    (None, None),
    (None, "elsewhere"),
    ("manual", None),
)


@dataclass(frozen=True)
class Pools:
    """How many different ones there are of each."""

    customers: int = 3
    merchants: int = 3
    others: int = 2


@dataclass(frozen=True)
class Sequence:
    """Messages in order of arrival, and what becomes known about them."""

    messages: list[TransactionMessage]
    verdicts: dict[str, Verdict]


def generate(random: Random, count: int, pools: Pools, steps_ms: tuple[int, ...] = STEPS_MS) -> Sequence:
    """`count` messages. Times step forward and back; some events repeat, reverse or reuse the id of an earlier one."""
    messages: list[TransactionMessage] = []
    verdicts = {}
    after_ms = 0
    for number in range(count):
        after_ms += random.choice(steps_ms)
        transaction_id = f"t{number}"
        what = random.choices(("new", "same again", "id reused", "refund", "reversal"), (24, 1, 1, 1, 2))[0]
        earlier = random.choice(messages[-12:]) if messages else None
        if what == "same again" and earlier is not None:
            messages.append(earlier)
            continue
        message = _message(random, transaction_id, after_ms, pools)
        if earlier is not None and what == "id reused":
            message = msgspec.structs.replace(message, transaction_id=earlier.transaction_id, user_id=earlier.user_id)
        elif earlier is not None and what == "reversal":
            message = msgspec.structs.replace(
                message,
                event_type="reversal",
                user_id=earlier.user_id,
                original_transaction_id=earlier.transaction_id,
            )
        elif what == "refund":
            message = msgspec.structs.replace(message, event_type="refund")
        messages.append(message)
        delay_ms = random.choice(LABEL_DELAYS_MS)
        if delay_ms is not None:
            known_at_ms = START_MS + after_ms + delay_ms
            withdrawn_at_ms = known_at_ms + DAY_MS if random.random() < 0.2 else None
            verdicts[message.transaction_id] = Verdict(known_at_ms, withdrawn_at_ms)
    return Sequence(messages, verdicts)


def _message(random: Random, transaction_id: str, after_ms: int, pools: Pools) -> TransactionMessage:
    def one_of(name: str, size: int) -> str | None:
        number = random.randrange(size + 1)
        return f"{name}{number}" if number < size else None

    entry_mode, channel = random.choice(PRESENCES)
    latitude, longitude = random.choice((*PLACES, (None, None)))
    ip_number = random.randrange(pools.others)
    return msgspec.structs.replace(
        payment(transaction_id, after_ms, random.choice(AMOUNTS), f"customer{random.randrange(pools.customers)}"),
        auth_result=random.choice((None, "approved", "declined")),
        entry_mode=entry_mode,
        channel=channel,
        card_id=one_of("card", pools.others),
        merchant_id=one_of("merchant", pools.merchants),
        merchant_category=one_of("category", pools.others),
        terminal_id=one_of("terminal", pools.others),
        counterparty_id=one_of("counterparty", pools.others),
        country=one_of("country", pools.others),
        latitude=latitude,
        longitude=longitude,
        device_id=one_of("device", pools.others),
        ip_address=random.choice((None, f"10.{ip_number // 256}.{ip_number % 256}.7")),
    )


@st.composite
def sequences(draw: st.DrawFn, pools: Pools = Pools(), max_size: int = 40) -> Sequence:
    """Sequences that shrink: in length, and in which steps of time they are made of."""
    steps_ms = draw(st.lists(st.sampled_from(STEPS_MS), min_size=2, max_size=12, unique=True))
    count = draw(st.integers(1, max_size))
    return generate(draw(st.randoms(use_true_random=False)), count, pools, tuple(steps_ms))
