"""A token key is replaced in the middle of the stream: what is known goes on, value by value."""

from __future__ import annotations

import pytest
from event_sequences import Pools, Sequence, sequences
from hypothesis import given, settings
from hypothesis import strategies as st
from rotated_keys import FIRST_KEY, SECOND_KEY, Stores, keyed, refusals, values

from fraud.settings import Settings

# Who was at an entity that has a token itself, under the key before, cannot be told from who is there under the
# present one until it is seen again: for the length of that window they count twice.
TWICE = {
    "cards alone": {"ip_distinct_cards_24h"},
    "everything": {
        f"{name}_distinct_{who}"
        for name in ("ip", "terminal", "device", "counterparty")
        for who in ("cards_24h", "customers_24h", "cards_1h", "customers_1h", "cards_30d", "customers_30d")
    },
}
TOKENISED = {
    "cards alone": (),
    "everything": ("user_id", "merchant_id", "terminal_id", "counterparty_id", "device_id"),
}


@pytest.mark.parametrize("restarts", [False, True], ids=["one worker", "a cold worker each time"])
@pytest.mark.parametrize("what", TOKENISED)
@settings(max_examples=40)
@given(sequence=sequences(Pools(), 40), share=st.floats(0, 1), batch_size=st.sampled_from((1, 7, 100)))
def test_values_are_those_of_a_single_key(
    what: str, restarts: bool, sequence: Sequence, share: float, batch_size: int
) -> None:
    # Nobody is silent so long that an entity is forgotten: what is known under two names does not say in which order
    # it came, so whether late events or silence stand between them is not always told right (ARCHITECTURE.md).
    limits = Settings(tokenised_fields=TOKENISED[what], forget_after_days=3_650)
    one_key, rotated = Stores(limits), Stores(limits)
    at = round(share * len(sequence.messages))
    first = keyed(limits, FIRST_KEY)
    for stores, second in ((one_key, first), (rotated, keyed(limits, SECOND_KEY, FIRST_KEY))):
        stores.worker(first).take(sequence.messages[:at], batch_size)
        step = 5 if restarts else len(sequence.messages)
        for start in range(at, len(sequence.messages), step):
            stores.worker(second).take(sequence.messages[start : start + step], batch_size)
    assert refusals(rotated) == refusals(one_key)
    for known, expected in zip(values(rotated), values(one_key), strict=True):
        differing = {name: (known[name], expected[name]) for name in known if repr(known[name]) != repr(expected[name])}
        assert differing.keys() <= TWICE[what]
        assert all(mine > theirs for mine, theirs in differing.values())
