"""Features computed anew from history are those that were frozen when it was decided, and exist for new features."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from click.testing import CliRunner
from event_sequences import Pools, generate
from payments import DAY_MS, DEFAULT_POLICY, HOUR_MS, MINUTE_MS, Bench, admission

from fraud.ports import Origin, StoredDecision
from fraud.settings import Settings
from fraud.transaction import Label, LabelName
from training.cli import main as fraud_train
from training.history_dataset import DecidedHistory
from training.history_replay import in_order, replayed_features, with_features

# Late events, refunds, reversals, repetitions, frauds that are withdrawn again.
SEQUENCE = generate(Random(5), 500, Pools(customers=10, merchants=5, others=3), (0, MINUTE_MS, HOUR_MS, DAY_MS))
KEPT = {"decided", "warmed or recorded"}


def labels_of(settings: Settings) -> dict[tuple[str, str], list[Label]]:
    found: dict[tuple[str, str], list[Label]] = {}
    for message in SEQUENCE.messages:
        verdict = SEQUENCE.verdicts.get(message.transaction_id)
        if verdict is None:
            continue
        said: list[tuple[LabelName, int | None]] = [
            ("fraud", verdict.known_at_ms),
            ("legitimate", verdict.withdrawn_at_ms),
        ]
        found[message.user_id, message.transaction_id] = [
            Label(
                f"{name}-{message.transaction_id}", message.transaction_id, message.user_id, name, "analyst", known_at
            )
            for name, known_at in said
            if known_at is not None
        ]
    return found


@pytest.fixture(scope="module")
def decided() -> tuple[Bench, list[StoredDecision], np.ndarray]:
    """What history holds of the sequence, in no order, and the features that were frozen, in the order of messages."""
    bench = Bench(policy_file=DEFAULT_POLICY, verdicts=SEQUENCE.verdicts)
    outcomes, admit = bench.run(SEQUENCE.messages), admission(bench.settings).admit
    events = [
        StoredDecision(admit(message), Origin("a:0", place, place), outcome.canonical, "", outcome.late, False)
        for place, (message, outcome) in enumerate(zip(SEQUENCE.messages, outcomes, strict=True))
        if outcome.what in KEPT
    ]
    frozen = np.array([outcome.values for outcome in outcomes if outcome.what == "decided"], dtype=np.float64)
    Random(1).shuffle(events)
    return bench, events, frozen


def history(bench: Bench, events: list[StoredDecision], *, is_replayed: bool) -> DecidedHistory:
    found = DecidedHistory(bench.artefacts.feature_set, -np.inf, np.inf, is_replayed=is_replayed)
    for event in events:
        if event.canonical:
            found.add(event, {})
    return found


@pytest.mark.parametrize("batch_size", [7, 1_000])
def test_features_computed_anew_are_those_that_were_frozen(decided, batch_size: int) -> None:
    bench, events, frozen = decided
    settings = replace(bench.settings, batch_size=batch_size)
    passed: list[int] = []
    features = replayed_features(
        settings, bench.artefacts.feature_set, events, labels_of(bench.settings), passed.append
    )
    assert sum(passed) == len(events)
    whole = history(bench, events, is_replayed=True)
    whole.rows = with_features(whole.rows, features)
    anew = np.array([row.features for row in whole.in_order()])
    assert anew.tobytes() == frozen.tobytes()
    of_decisions = history(bench, events, is_replayed=False).in_order()
    assert np.array([row.features for row in of_decisions]).tobytes() == anew.tobytes()


def test_decisions_of_another_version_or_without_a_part_are_backfilled(decided) -> None:
    bench, events, frozen = decided
    changed = []
    for place, event in enumerate(events):
        content = json.loads(event.canonical) if event.canonical else None
        if content is not None and place % 2:
            content["versions"]["feature_set"]["hash"] = "former"
            content["features"] = {"a feature of before": 1.0}
        elif content is not None:
            content["degraded"] = ["entity_windows"]
        changed.append(
            StoredDecision(
                event.transaction, event.origin, json.dumps(content).encode() if content else b"", "", False, False
            )
        )
    assert history(bench, changed, is_replayed=False).rows == []
    whole = history(bench, changed, is_replayed=True)
    features = replayed_features(bench.settings, bench.artefacts.feature_set, changed, labels_of(bench.settings), int)
    whole.rows = with_features(whole.rows, features)
    assert np.array([row.features for row in whole.in_order()]).tobytes() == frozen.tobytes()
    assert (whole.degraded, whole.other_features) == (0, 0)


def test_labels_count_from_when_they_were_known(decided) -> None:
    bench, events, frozen = decided
    without = replayed_features(bench.settings, bench.artefacts.feature_set, events, {}, int)
    assert np.array(list(without.values())).tobytes() != frozen.tobytes()


def test_partitions_are_merged_by_the_brokers_clock(decided) -> None:
    _, events, _ = decided
    (one, two, three) = (
        StoredDecision(event.transaction, Origin(source, offset, ingested_ms), b"", "", False, False)
        for event, (source, offset, ingested_ms) in zip(
            events, [("a:1", 0, 5), ("a:0", 1, 9), ("a:0", 0, 7)], strict=False
        )
    )
    assert in_order([two, one, three]) == [one.transaction, three.transaction, two.transaction]


def test_files_are_always_replayed(tmp_path) -> None:
    result = CliRunner().invoke(fraud_train, ["dataset", "x.csv", "--replayed", "--out", str(tmp_path / "x.parquet")])
    assert result.exit_code == 2
    assert "--replayed goes with --from-history" in result.output
