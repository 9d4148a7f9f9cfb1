"""A customer's state goes through bytes at any point and goes on as if nothing had happened."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from dataclasses import replace
from random import Random

import msgspec
import numpy as np
import pytest
from event_sequences import SMALL_LIMITS, TINY_LIMITS, USUAL_LIMITS, Pools, Sequence, generate, sequences
from hypothesis import given
from hypothesis import strategies as st
from payments import HOUR_MS, MINUTE_MS, START_MS, Bench, admission, payment

from fraud.bootstrap import state_limits
from fraud.features import FEATURE_SETS, feature_set
from fraud.features.customer_record import Amounts, Things, amounts_of, details_of, lay_out, rows_of
from fraud.features.customer_state import CustomerState
from fraud.features.extraction import Extraction
from fraud.features.passage import Passages
from fraud.features.plan import ENTITY_KINDS, StatePlan
from fraud.features.profile_values import PROFILE_FIELDS
from fraud.features.snapshot import (
    VERSION,
    DamagedSnapshotError,
    SnapshotOfOtherPlanError,
    UnknownSnapshotVersionError,
    decode_customer,
    encode_customer,
)
from fraud.settings import Settings


def plan_of(bench: Bench) -> StatePlan:
    return bench.artefacts.feature_set.plan(state_limits(bench.settings))


def states_of(bench: Bench) -> dict[str, CustomerState]:
    states: dict[str, CustomerState] = asyncio.run(bench.customers.load(()))
    return states


def pass_through_bytes(bench: Bench) -> None:
    states, plan = states_of(bench), plan_of(bench)
    for user_id, state in states.items():
        states[user_id] = decode_customer(encode_customer(state, plan), plan)


def profile_values(state: CustomerState, plan: StatePlan, settings: Settings) -> list[object]:
    last = admission(settings).admit(payment("last", 100 * HOUR_MS))
    fields = [field for field in PROFILE_FIELDS.values() if plan.detailed or not field.detailed]
    extraction = Extraction(feature_set("default" if plan.detailed else "handbook"), plan, 2)
    passages, nobody = Passages([last], [deepcopy(state)], [True]), {kind: {} for kind in ENTITY_KINDS}
    profiles = extraction.pass_all(passages, nobody, fields).profiles
    return [profiles.values(np.array([0]), place)[0] for place in range(len(fields))]


def compare(sequence: Sequence, cuts: set[int], settings: Settings, feature_set_name: str) -> None:
    """Raise unless a run that goes through bytes before each of `cuts` equals one that does not."""
    undisturbed = Bench(settings, feature_set_name, verdicts=sequence.verdicts)
    disturbed = Bench(settings, feature_set_name, verdicts=sequence.verdicts)
    for number, message in enumerate(sequence.messages):
        if number in cuts:
            pass_through_bytes(disturbed)
        (expected,), (outcome,) = undisturbed.run([message]), disturbed.run([message])
        assert (outcome.what, outcome.late) == (expected.what, expected.late)
        assert [repr(float(value)) for value in outcome.values] == [repr(float(value)) for value in expected.values]
    plan, left = plan_of(undisturbed), states_of(disturbed)
    for user_id, state in states_of(undisturbed).items():
        other = left[user_id]
        assert (other.sequence, other.newest_ms) == (state.sequence, state.newest_ms)
        assert other.identity_words() == state.identity_words()
        assert profile_values(other, plan, settings) == profile_values(state, plan, settings)
        assert encode_customer(other, plan) == encode_customer(state, plan)


@pytest.mark.parametrize("settings", [USUAL_LIMITS, SMALL_LIMITS, TINY_LIMITS], ids=["usual", "small", "tiny"])
@pytest.mark.parametrize("name", FEATURE_SETS)
@given(data=st.data())
def test_every_later_value_is_the_same(name: str, settings: Settings, data: st.DataObject) -> None:
    sequence = data.draw(sequences())
    cuts = data.draw(st.sets(st.integers(0, len(sequence.messages) - 1)))
    compare(sequence, cuts, settings, name)


def test_crowds_pass_the_capacity_of_every_memory() -> None:
    """More merchants in the windows than are remembered, and than a byte can number."""
    pools = Pools(customers=1, merchants=400, others=24)
    compare(generate(Random(1), 700, pools, (0, MINUTE_MS, HOUR_MS, -MINUTE_MS)), {350, 600}, USUAL_LIMITS, "default")


def test_sums_of_squares_pass_64_bits() -> None:
    bench = Bench(USUAL_LIMITS, "default")
    bench.run([payment(f"t{number}", number, 900_000_000) for number in range(20)])
    (state,), plan = states_of(bench).values(), plan_of(bench)
    amounts = amounts_of(state)
    assert (amounts.squares_high << 62) + amounts.squares_low == 20 * (900_000_000 * 100) ** 2 > 2**64
    assert amounts_of(decode_customer(encode_customer(state, plan), plan)) == amounts


@pytest.fixture
def state_and_plan() -> tuple[CustomerState, StatePlan]:
    bench = Bench(USUAL_LIMITS, "default")
    bench.run([payment("a"), payment("b", HOUR_MS)])
    return states_of(bench)["customer"], plan_of(bench)


def test_the_first_byte_is_the_version(state_and_plan: tuple[CustomerState, StatePlan]) -> None:
    assert encode_customer(*state_and_plan)[0] == VERSION


def test_an_unknown_version_is_refused_by_name(state_and_plan: tuple[CustomerState, StatePlan]) -> None:
    state, plan = state_and_plan
    newer = bytes([VERSION + 1]) + encode_customer(state, plan)[1:]
    with pytest.raises(UnknownSnapshotVersionError, match=rf"version {VERSION + 1}; this program reads {VERSION}"):
        decode_customer(newer, plan)


@pytest.mark.parametrize(
    "changes",
    [
        {"detailed": False},
        {"customer_windows_ms": (HOUR_MS,)},
        {"allowed_lateness_ms": 1},
        {"forget_after_ms": 1},
        {"duplicate_horizon_ms": 1},
    ],
    ids="".join,
)
def test_a_snapshot_of_another_plan_is_refused(
    state_and_plan: tuple[CustomerState, StatePlan], changes: dict[str, object]
) -> None:
    state, plan = state_and_plan
    other = replace(plan, **changes)  # type: ignore[arg-type]
    with pytest.raises(SnapshotOfOtherPlanError):
        decode_customer(encode_customer(state, plan), other)


def test_what_entities_keep_does_not_matter(state_and_plan: tuple[CustomerState, StatePlan]) -> None:
    state, plan = state_and_plan
    other = replace(plan, entities=plan.entities[:1])
    assert decode_customer(encode_customer(state, plan), other).sequence == 2


@given(st.integers(0, 10_000), st.binary(max_size=4))
def test_damaged_bytes_are_refused(length: int, more: bytes) -> None:
    bench = Bench(USUAL_LIMITS, "default")
    bench.run([payment("a")])
    (state,), plan = states_of(bench).values(), plan_of(bench)
    whole = encode_customer(state, plan)
    damaged = whole[: length % len(whole)] + more
    if damaged != whole:
        with pytest.raises((DamagedSnapshotError, SnapshotOfOtherPlanError, UnknownSnapshotVersionError)):
            decode_customer(damaged, plan)


@pytest.mark.parametrize(
    "changes",
    [
        {"hour_counts": [0] * 30},
        {"flags": b"1"},
        {"merchants": Things(["m"], [0], bytes([1, 255]))},
        {"places": dict.fromkeys(range(9), 1)},
        {"category_amounts": [Amounts(1, 1, 1, 0, 1)]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_details_that_compiled_code_would_read_out_of_bounds_are_refused(
    state_and_plan: tuple[CustomerState, StatePlan], changes: dict[str, object]
) -> None:
    state, _ = state_and_plan
    details = details_of(state)
    assert details is not None
    with pytest.raises(ValueError, match="do not fit together"):
        lay_out(state, *rows_of(state), msgspec.structs.replace(details, **changes))


def test_a_new_customer_goes_through_bytes_too(state_and_plan: tuple[CustomerState, StatePlan]) -> None:
    _, plan = state_and_plan
    state = decode_customer(encode_customer(CustomerState(plan, sequence=7), plan), plan)
    assert (state.sequence, state.newest_ms, rows_of(state)) == (7, 0, ([], []))
    assert not state.is_forgotten(START_MS, plan)
    assert amounts_of(state).total == 0
