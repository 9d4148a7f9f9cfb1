"""Each kind of fault by itself, often."""

from __future__ import annotations

import pytest
from simulated_log import Shape
from simulated_ports import Faults
from simulated_run import SHAPES, Verdict, judge

RUNS = 30


def all_runs(faults: Faults, shape: Shape = SHAPES["small"]) -> list[Verdict]:
    verdicts = [judge(seed, shape, faults) for seed in range(RUNS)]
    assert [verdict.wrong for verdict in verdicts if verdict.wrong] == []
    assert sum(verdict.faults for verdict in verdicts) >= RUNS // 2
    return verdicts


def test_a_store_that_refuses_calls_delays_decisions_and_changes_none() -> None:
    all_runs(Faults(store_refuses=0.1))


def test_a_store_that_writes_and_says_that_it_failed_is_asked_again_without_harm() -> None:
    all_runs(Faults(store_answer_lost=0.1))


def test_a_write_that_is_done_in_part_or_late_is_completed() -> None:
    all_runs(Faults(store_writes_part=0.3))


def test_entity_windows_that_fail_now_and_then_count_everything_once() -> None:
    all_runs(Faults(windows_fail=0.1))


def test_an_outage_of_entity_windows_changes_their_features_alone_and_is_caught_up() -> None:
    verdicts = all_runs(Faults(windows_away=0.02))
    decisions = [content for one in verdicts if one.found for content in one.found.decisions.values()]
    degraded = [content for content in decisions if b'"degraded":["entity_windows"]' in next(iter(content))]
    assert degraded
    assert len(degraded) < len(decisions)


def test_what_is_published_twice_is_published_the_same() -> None:
    all_runs(Faults(publishing_fails=0.1))


def test_a_worker_that_crashes_anywhere_loses_and_doubles_nothing() -> None:
    all_runs(Faults(crashes=0.03))


def test_a_worker_that_stood_still_while_others_took_over_changes_nothing() -> None:
    all_runs(Faults(pauses=0.03))


@pytest.mark.parametrize("shape", ["small", "partitions"])
def test_partitions_go_from_worker_to_worker_and_nothing_changes(shape: str) -> None:
    all_runs(Faults(rebalances=0.05), SHAPES[shape])


def test_work_that_is_cancelled_in_the_middle_leaves_nothing_behind_in_memory() -> None:
    all_runs(Faults(cancellations=0.03))


def test_identities_of_long_ago_are_told_from_redelivered_ones() -> None:
    all_runs(Faults(crashes=0.02, windows_away=0.02), SHAPES["ancient"])
