"""What a decision says, and the bytes that it is frozen as."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from event_sequences import Pools, generate
from payments import (
    DAY_MS,
    DEFAULT_MODEL,
    DEFAULT_POLICY,
    HANDBOOK_POLICY,
    HOUR_MS,
    MINUTE_MS,
    START_MS,
    Bench,
    artefacts,
    payment,
)

from fraud.decision import content_sha256, decision_message
from fraud.features import feature_set
from fraud.pipeline import STAGES, Period, StageTimings
from fraud.rules.policy import load_policy

replace = msgspec.structs.replace
SEQUENCE = generate(Random(5), 400, Pools(customers=10, merchants=5, others=3), (0, MINUTE_MS, HOUR_MS, DAY_MS))


def decisions(policy_file: Path, name: str, model_folder: Path | None = None) -> list[bytes]:
    bench = Bench(feature_set_name=name, policy_file=policy_file, model_folder=model_folder, verdicts=SEQUENCE.verdicts)
    return [outcome.canonical for outcome in bench.run(SEQUENCE.messages) if outcome.what == "decided"]


RULES_ONLY = decisions(DEFAULT_POLICY, "default")
HANDBOOK = decisions(HANDBOOK_POLICY, "handbook")
SCORED = decisions(DEFAULT_POLICY, "default", DEFAULT_MODEL)
ALL = [*RULES_ONLY, *HANDBOOK, *SCORED]


def read(canonical: bytes) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(canonical)
    return content


def test_a_sorting_encoder_gives_the_same_bytes() -> None:
    for canonical in ALL:
        assert msgspec.json.encode(msgspec.json.decode(canonical), order="sorted") == canonical


def test_missing_values_are_null_and_nothing_is_not_a_number() -> None:
    for canonical in ALL:
        assert b"NaN" not in canonical
        assert b"Infinity" not in canonical
    assert b'"travel_speed_kmh":null' in RULES_ONLY[0]


def test_the_message_carries_the_hash_of_the_decisions_bytes() -> None:
    for canonical in ALL[:20]:
        message = decision_message(canonical, content_sha256(canonical))
        parts = msgspec.json.decode(message, type=dict[str, msgspec.Raw])
        assert bytes(parts["decision"]) == canonical
        assert json.loads(bytes(parts["hash"])) == hashlib.sha256(canonical).hexdigest() == content_sha256(canonical)
        assert sorted(parts) == ["decision", "hash"]


def test_a_decision_names_exactly_one_version_of_each() -> None:
    loaded = artefacts(Bench().settings, "default", DEFAULT_POLICY, DEFAULT_MODEL)
    assert loaded.policy is not None
    assert loaded.model is not None
    expected = {
        "feature_set": {"hash": loaded.feature_set.schema_hash, "name": "default"},
        "model": {"hash": loaded.model.content_hash, "name": loaded.model.name},
        "policy": {"hash": loaded.policy.content_hash, "name": f"{loaded.policy.name} {loaded.policy.version}"},
        "rates": {"hash": loaded.rates.content_hash, "name": loaded.rates.name},
    }
    for canonical in SCORED:
        assert read(canonical)["versions"] == expected
    for canonical in RULES_ONLY:
        assert read(canonical)["versions"] == {**expected, "model": None}


def test_a_decision_holds_every_feature_under_its_own_name() -> None:
    for canonical in SCORED[:20]:
        assert list(read(canonical)["features"]) == sorted(feature_set("default").names)


@pytest.mark.parametrize(
    ("name", "file", "frozen"), [("default", DEFAULT_POLICY, RULES_ONLY), ("handbook", HANDBOOK_POLICY, HANDBOOK)]
)
def test_rule_hits_carry_the_values_that_their_conditions_read(name: str, file: Path, frozen: list[bytes]) -> None:
    policy = load_policy(file, artefacts(Bench().settings, name).kinds)
    rules = {rule.id: rule for rule in policy.rules}
    hits = 0
    for canonical in frozen:
        decision = read(canonical)
        for hit in decision["rule_hits"]:
            hits += 1
            assert set(hit["values"]) == set(rules[hit["rule_id"]].reads)
            for value_name, value in hit["values"].items():
                if value_name in decision["features"]:
                    assert value == decision["features"][value_name]
                elif value_name.startswith("profile."):
                    assert value == decision["profile"][value_name.removeprefix("profile.")]
                elif value_name == "amount":
                    assert value == decision["base_amount_minor"] / 100
    assert hits > 20


def test_only_flagged_decisions_explain_their_score() -> None:
    flagged = [read(canonical) for canonical in SCORED if read(canonical)["action"] != "allow"]
    allowed = [read(canonical) for canonical in SCORED if read(canonical)["action"] == "allow"]
    assert flagged
    assert allowed
    for decision in allowed:
        assert decision["score_reasons"] == []
    for decision in flagged:
        reasons = decision["score_reasons"]
        assert 1 <= len(reasons) <= 5
        sizes = [abs(reason["contribution"]) for reason in reasons]
        assert sizes == sorted(sizes, reverse=True)
        for reason in reasons:
            assert reason["value"] == decision["features"][reason["feature"]]


def test_without_a_model_there_is_no_score_and_no_reason_for_one() -> None:
    for canonical in RULES_ONLY:
        assert read(canonical)["score"] is None
        assert read(canonical)["score_reasons"] == []


def test_scores_are_rounded_before_anybody_reads_them() -> None:
    for canonical in SCORED:
        score = read(canonical)["score"]
        assert 0 <= score <= 1
        assert round(score, 6) == score


def test_every_action_and_reason_comes_from_the_policy() -> None:
    for canonical in SCORED:
        decision = read(canonical)
        assert decision["recommended_action"] == decision["action"]
        assert decision["assignment_probability"] == 1
        assert {hit["reason_code"] for hit in decision["rule_hits"]} <= set(decision["reason_codes"])


def test_the_same_message_again_is_a_duplicate_and_decided_once() -> None:
    first = payment("a")
    assert [outcome.what for outcome in Bench().run([first, first, first])] == ["decided", "duplicate", "duplicate"]


def test_the_same_id_with_other_content_is_refused_by_name() -> None:
    outcomes = Bench().run([payment("a"), payment("a", amount=21.0)])
    assert [outcome.what for outcome in outcomes] == ["decided", "transaction_id_reused"]


def test_the_same_id_of_another_customer_is_another_transaction() -> None:
    outcomes = Bench().run([payment("a"), payment("a", user_id="other")])
    assert [outcome.what for outcome in outcomes] == ["decided", "decided"]


def test_a_repetition_is_recognised_within_the_horizon() -> None:
    first = payment("a")
    outcomes = Bench().run([first, payment("b", 7 * DAY_MS), first])
    assert outcomes[-1].what == "duplicate"


def test_a_refused_message_stops_nothing() -> None:
    result = Bench().batch([payment("a"), payment("b", amount=-1.0), payment("c")])
    assert result.positions == [0, 2]
    assert [(position, error.code, error.field) for position, error in result.refused] == [
        (1, "amount_negative", "amount")
    ]


def test_an_empty_batch_is_no_special_case() -> None:
    for bench in (Bench(), Bench(policy_file=DEFAULT_POLICY)):
        result = bench.batch([])
        assert result.positions == []
        assert result.gathered.matrix.shape == (0, len(bench.names))


def test_refunds_and_reversals_are_recorded_not_decided() -> None:
    refund = replace(payment("r"), event_type="refund")
    reversal = replace(payment("s"), event_type="reversal", original_transaction_id="nobody")
    result = Bench(policy_file=DEFAULT_POLICY).batch([refund, reversal])
    assert (result.recorded, result.positions) == (2, [])


def test_what_is_before_the_period_warms_and_what_is_after_is_left_out() -> None:
    bench = Bench(period=Period(START_MS + 1, START_MS + 2))
    result = bench.batch([payment("a", 0), payment("b", 1), payment("c", 2)])
    assert (result.warmed, result.positions, result.newest_ms) == (1, [1], START_MS + 1)
    assert result.gathered.matrix[0, bench.names.index("customer_count_1h")] == 2


def test_the_matrix_has_a_row_for_each_decision() -> None:
    result = Bench().batch([payment("a"), payment("b")])
    matrix = result.gathered.matrix
    assert matrix.dtype.name == "float64"
    assert matrix.flags.c_contiguous
    assert matrix.shape == (2, len(Bench().names))


def test_time_is_counted_by_the_clock_that_is_handed_in() -> None:
    ticks = iter(range(100))
    timings = StageTimings(lambda: float(next(ticks)))
    with timings.stage("score"):
        pass
    with timings.stage("score"):
        pass
    assert timings.seconds == {**dict.fromkeys(STAGES, 0.0), "score": 2.0}
