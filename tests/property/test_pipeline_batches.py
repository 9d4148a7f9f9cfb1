"""The size of a batch and the time of cleaning up change nothing in a decision."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from random import Random

import pytest
from event_sequences import SMALL_LIMITS, STEPS_MS, USUAL_LIMITS, Pools, Sequence, generate, sequences
from hypothesis import given, settings
from hypothesis import strategies as st
from payments import DAY_MS, DEFAULT_MODEL, DEFAULT_POLICY, HANDBOOK_POLICY, HOUR_MS, START_MS, Bench, Outcome

from fraud.bootstrap import state_limits
from fraud.pipeline import BatchResult, Period
from fraud.settings import Settings

POLICIES = {"default": DEFAULT_POLICY, "handbook": HANDBOOK_POLICY}


def decide(
    sequence: Sequence,
    limits: Settings,
    name: str,
    batch_size: int,
    model_folder: Path | None = None,
    period: Period | None = None,
) -> list[Outcome]:
    bench = Bench(limits, name, POLICIES[name], model_folder, sequence.verdicts, period or Period())
    return bench.run(sequence.messages, batch_size)


def bytes_of(outcomes: list[Outcome]) -> list[tuple[str, bytes]]:
    return [(outcome.what, outcome.canonical) for outcome in outcomes]


@pytest.mark.parametrize("limits", [USUAL_LIMITS, SMALL_LIMITS], ids=["usual", "small"])
@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=20)
@given(sequence=sequences(Pools(), 60))
def test_every_size_of_batch_decides_the_same_to_the_byte(name: str, limits: Settings, sequence: Sequence) -> None:
    whole = bytes_of(decide(sequence, limits, name, 1_000_000))
    for batch_size in (1, 7, 256):
        assert bytes_of(decide(sequence, limits, name, batch_size)) == whole


@pytest.mark.parametrize("name", POLICIES)
def test_longer_sequences_than_a_batch_of_256(name: str) -> None:
    sequence = generate(Random(11), 600, Pools(customers=12, merchants=6, others=4), STEPS_MS)
    whole = bytes_of(decide(sequence, USUAL_LIMITS, name, 1_000_000))
    for batch_size in (1, 7, 256):
        assert bytes_of(decide(sequence, USUAL_LIMITS, name, batch_size)) == whole


def test_scores_and_their_reasons_do_not_depend_on_the_batch() -> None:
    sequence = generate(Random(12), 300, Pools(customers=12, merchants=6, others=4), (0, 60_000, HOUR_MS, DAY_MS))
    whole = bytes_of(decide(sequence, USUAL_LIMITS, "default", 1_000_000, DEFAULT_MODEL))
    for batch_size in (1, 7, 256):
        assert bytes_of(decide(sequence, USUAL_LIMITS, "default", batch_size, DEFAULT_MODEL)) == whole


@settings(max_examples=20)
@given(sequence=sequences(), from_hours=st.integers(0, 200), hours=st.integers(0, 2_000))
def test_a_period_decides_as_the_whole_would(sequence: Sequence, from_hours: int, hours: int) -> None:
    period = Period(START_MS + from_hours * HOUR_MS, START_MS + (from_hours + hours) * HOUR_MS)
    before = [message for message in sequence.messages if message.timestamp.timestamp() * 1_000 < period.to_ms]
    known = Sequence(before, sequence.verdicts)
    of_period = decide(sequence, SMALL_LIMITS, "handbook", 7, period=period)
    decided = [outcome.canonical for outcome in of_period if outcome.what == "decided"]
    whole = decide(known, SMALL_LIMITS, "handbook", 7)
    expected = [
        outcome.canonical
        for message, outcome in zip(before, whole, strict=True)
        if outcome.what == "decided" and message.timestamp.timestamp() * 1_000 >= period.from_ms
    ]
    assert decided == expected


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=30)
@given(random=st.randoms(use_true_random=False))
def test_freeing_what_is_forgotten_changes_no_value(name: str, random: Random) -> None:
    """In time order, since what is forgotten now could otherwise be asked for by an event from before."""
    sequence = generate(random, 60, Pools(customers=4), tuple(step for step in STEPS_MS if step >= 0))
    newest = accumulate((message.timestamp for message in sequence.messages), max)
    messages = [message for message, now in zip(sequence.messages, newest, strict=True) if message.timestamp == now]
    plain, swept = (Bench(SMALL_LIMITS, name, verdicts=sequence.verdicts) for _ in range(2))
    plan = swept.artefacts.feature_set.plan(state_limits(SMALL_LIMITS))

    def sweep(result: BatchResult) -> None:
        swept.customers.forget(result.newest_ms, plan)
        swept.entities.forget(result.newest_ms, plan)

    kept = plain.run(messages, 1)
    freed = swept.run(messages, 1, sweep)
    assert [repr(outcome) for outcome in freed] == [repr(outcome) for outcome in kept]
    assert len(swept.customers) <= len(plain.customers)
