"""What happens to an entity in the middle of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from entity_runs import LIMITS, Passage, States, at_terminal, content, go, passage, passes
from payments import DAY_MS, HOUR_MS, MINUTE_MS, START_MS

from fraud.features import feature_set
from fraud.features.compiled import name_hash
from fraud.features.entity_pass import EntityPass
from fraud.features.entity_state import EntityState
from fraud.features.entity_words import CARDS, CUSTOMERS, DISTINCT_CAP, FRAUDS, ROWS, with_room
from fraud.features.plan import EntityPlan
from fraud.features.table import FeatureSet

TERMINAL = replace(
    next(plan for plan in feature_set("default").plan(LIMITS).entities if plan.kind == "terminal"), sums_amounts=True
)
ENTITY_PASS, COLUMNS = next((made, columns) for made, columns in passes("default") if made.kind == "terminal")
NAMES = [row.name for row in feature_set("default").rows if row.entity == "terminal"]


def run(passages: Sequence[Passage], states: States, entity_pass: EntityPass = ENTITY_PASS) -> list[dict[str, float]]:
    """The values of each passage by name."""
    values = go(entity_pass, COLUMNS, passages, states, len(passages))
    return [dict(zip(NAMES, row.tolist(), strict=True)) for row in values]


def test_every_section_grows_in_the_middle_of_a_run() -> None:
    transactions = [at_terminal(number, START_MS + number * 5 * MINUTE_MS, number) for number in range(200)]
    passages = [
        passage(transaction, due=[(transactions[number - 1], True)] if number % 3 == 1 else ())
        for number, transaction in enumerate(transactions)
    ]
    states: States = {}
    values = run(passages, states)
    state = states["t"]
    assert list(state.counts) == list(range(201))
    assert list(state.fraud_timestamps_ms) == [one.timestamp_ms for one in transactions[0:199:3]]
    assert list(state.customers or {}) == [name_hash(f"user {number}") for number in range(200 - DISTINCT_CAP, 200)]
    assert len(state.cards or {}) == DISTINCT_CAP
    assert [row["terminal_count_1h"] for row in values[:14]] == [*range(12), 11, 11]
    assert [row["terminal_distinct_customers_1h"] for row in values[:14]] == [*range(1, 13), 12, 12]


@pytest.mark.parametrize("section", [ROWS, CUSTOMERS, CARDS, FRAUDS])
def test_room_changes_nothing_that_is_known(section: int) -> None:
    state = EntityState.new("t", TERMINAL)
    for number in range(60):
        state.absorb(START_MS + number * HOUR_MS, number, f"user {number % 7}", f"card {number % 5}", True, TERMINAL)
    state.mark_fraud(START_MS, TERMINAL)
    before = content({"t": state})
    state.words = with_room(state.words, section)
    assert content({"t": state}) == before
    assert len(state.words) == state.words[0]


def test_a_mark_is_known_to_those_after_it_alone() -> None:
    first, second, third = (at_terminal(number, START_MS + number * 10 * DAY_MS) for number in range(3))
    passages = [passage(first), passage(second), passage(third, due=[(first, True)])]
    after = [passage(at_terminal(3, third.timestamp_ms, 1), due=[(first, False)])]
    values = run([*passages, *after], {})
    assert [row["terminal_hours_since_fraud"] for row in values[:2]] == pytest.approx([np.nan] * 2, nan_ok=True)
    assert values[2]["terminal_hours_since_fraud"] == 20 * 24
    assert np.isnan(values[3]["terminal_hours_since_fraud"])


def test_a_mark_before_its_entity_is_there_is_nothing() -> None:
    first = at_terminal(0, START_MS)
    states: States = {}
    run([passage(first, due=[(first, True)])], states)
    assert not states["t"].fraud_timestamps_ms
    ENTITY_PASS.mark([(first, True), (at_terminal(1, START_MS, terminal="elsewhere"), True)], states)
    assert list(states["t"].fraud_timestamps_ms) == [START_MS]
    assert list(states) == ["t"]


def test_one_that_is_late_is_read_and_not_counted() -> None:
    states: States = {}
    late = passage(at_terminal(0, START_MS), late=True)
    in_time = passage(at_terminal(1, START_MS + MINUTE_MS))
    values = run([late, in_time, late, in_time], states)
    assert [row["terminal_count_1h"] for row in values] == [0, 0, 0, 1]
    assert list(states["t"].counts) == [0, 2]
    run([late], empty := {})
    assert empty == {}


def test_an_entity_that_is_forgotten_within_a_run_is_new_to_all_that_follows() -> None:
    gap_ms = LIMITS.forget_after_ms + 1
    times_ms = (START_MS, START_MS + 1, START_MS + 1 + gap_ms, START_MS + 1 + gap_ms)
    states: States = {}
    values = run([passage(at_terminal(number, at_ms, number)) for number, at_ms in enumerate(times_ms)], states)
    assert [row["terminal_age_days"] for row in values] == pytest.approx([0, 1 / DAY_MS, 0, 0])
    assert [row["terminal_distinct_customers_1h"] for row in values] == [1, 2, 1, 2]
    assert states["t"].first_seen_ms == times_ms[-1]


def test_an_entity_that_is_forgotten_by_one_that_is_late_is_new_to_that_one_alone() -> None:
    later_ms = START_MS + LIMITS.forget_after_ms + 1
    late = passage(at_terminal(1, later_ms, 1), late=True)
    states: States = {}
    values = run([passage(at_terminal(0, START_MS)), late, passage(at_terminal(2, START_MS + HOUR_MS))], states)
    assert [row["terminal_age_days"] for row in values] == pytest.approx([0, 0, 1 / 24])
    assert states["t"].first_seen_ms == START_MS


@pytest.mark.parametrize(("offset", "count"), [(4, 1), (5, 1), (6, 2)])
def test_what_a_store_has_counted_is_not_counted_again(offset: int, count: int) -> None:
    state = EntityState.new("t", next(plan for plan in _plans() if plan.kind == "terminal"))
    state.absorb(START_MS, 100, "user 0", None, False, next(plan for plan in _plans() if plan.kind == "terminal"))
    state.absorbed_offsets = {"topic:0": 5}
    told = replace(passage(at_terminal(1, START_MS + 1)), origin=("topic:0", offset))
    run([told], {"t": state})
    assert state.counts[-1] == count
    # From another source it has counted nothing; and who was forgotten counts everything.
    run([replace(told, origin=("topic:1", offset)), told], {"t": state})
    assert state.counts[-1] == count + 1 + (offset == 6)
    revived = at_terminal(2, START_MS + 2 + LIMITS.forget_after_ms)
    run([replace(told, transaction=revived, origin=("topic:0", 5))], {"t": state})
    assert (state.counts[-1], state.absorbed_offsets) == (1, None)


def _plans() -> tuple[EntityPlan, ...]:
    return feature_set("default").plan(LIMITS).entities


def test_transactions_without_the_entity_have_the_values_of_none() -> None:
    values = run([passage(at_terminal(0, START_MS, terminal=None))], states := {})
    assert all(np.isnan(value) for value in values[0].values())
    assert states == {}
    handbook, columns = passes("handbook")[0]
    (row,) = go(handbook, columns, [passage(at_terminal(0, START_MS, terminal=None))], {}, 1).tolist()
    assert row == [0.0] * columns


def test_a_copy_goes_its_own_way() -> None:
    state = EntityState.new("t", TERMINAL)
    state.absorb(START_MS, 1, "user", None, False, TERMINAL)
    state.absorbed_offsets = {"topic:0": 5}
    before, copied = content({"t": state}), state.copied()
    copied.absorb(START_MS + DAY_MS, 1, "other", None, False, TERMINAL)
    copied.absorbed_offsets["topic:0"] = 6  # type: ignore[index]
    assert content({"t": state}) == before
    assert copied.counts[-1] == 2


def test_all_rows_of_one_kind_have_one_family() -> None:
    rows = [row for name in ("default", "handbook") for row in feature_set(name).rows if row.entity == "terminal"]
    chosen = FeatureSet("both", [replace(row, hop_ms=1_000) for row in rows])
    with pytest.raises(ValueError, match="all rows of one kind of entity have one family"):
        chosen.families(chosen.plan(LIMITS))
