"""One alert of a replay, taken apart as the fifth notebook does it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import run_here

from fraud.bootstrap import Artefacts, load_artefacts
from fraud.settings import load_settings
from training.dataset import DatasetError
from training.notebook.investigation import (
    Alert,
    alerts_listing,
    decision_listing,
    explanation,
    history_listing,
    history_of,
    history_of_profile,
    payment_of,
    read_alerts,
    reasons_listing,
    rules_listing,
    shared_things,
)
from training.notebook.investigation_plots import history_plot, reasons_plot
from training.notebook.source import Source
from training.notebook.transactions import Explored, explored

CUSTOMER = {
    "user_id": "c1",
    "events": 1,
    "snapshot_events": 0,
    "first_seen": "2026-01-01T00:00:00.000Z",
    "payments": 1,
    "newest": "2026-01-01T00:00:00.000Z",
    "amount_mean": 5.0,
    "amount_maximum": 5,
    "base_currency": "EUR",
    "home_country": None,
    "usual_hours": {},
    "habits": {},
    "transactions": [],
}


@pytest.fixture(scope="module")
def transactions(simulate: Callable[..., Path]) -> Path:
    return simulate("investigated.jsonl")


@pytest.fixture(scope="module")
def found(transactions: Path, tmp_path_factory: pytest.TempPathFactory) -> Explored:
    return explored(Source((transactions,), tmp_path_factory.mktemp("kept")))


@pytest.fixture(scope="module")
def artefacts() -> Artefacts:
    settings = load_settings()
    return load_artefacts(settings, "default", {}, policy_file=settings.policy_file, model_folder=settings.model_folder)


@pytest.fixture(scope="module")
def alerts_file(transactions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("replayed")
    finished = run_here("replay", transactions, "--from", "2026-01-20", "--out", out)
    assert finished.exit_code == 0, finished.stderr
    return out / "alerts.jsonl"


@pytest.fixture(scope="module")
def alert(alerts_file: Path) -> Alert:
    return next(one for one in read_alerts(alerts_file) if one.decision["rule_hits"])


def test_the_most_severe_alerts_stand_first(alerts_file: Path) -> None:
    actions = [row[4] for row in alerts_listing(read_alerts(alerts_file)).rows]
    severity = [("block", "review", "challenge", "allow").index(action) for action in actions]
    assert severity == sorted(severity)


def test_an_alert_whose_bytes_were_changed_says_so(alerts_file: Path, tmp_path: Path) -> None:
    line = alerts_file.read_bytes().splitlines()[0]
    changed = tmp_path / "changed.jsonl"
    changed.write_bytes(line + b"\n" + line.replace(b'"late":false', b'"late":true') + b"\n")
    shown = [dict(decision_listing(one).rows)["bytes"] for one in read_alerts(changed)]
    assert sorted(shown) == ["have the hash beside them", "were changed: do not trust this alert"]


def test_what_is_no_alert_is_refused_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    path.write_text('{"decision": {}}\n')
    with pytest.raises(DatasetError, match=r"alerts\.jsonl:1"):
        read_alerts(path)


def test_the_score_is_made_again_from_the_decision_alone(alert: Alert, artefacts: Artefacts) -> None:
    assert artefacts.model is not None
    again = explanation(alert, artefacts.model)
    assert again.score == alert.decision["score"]
    strongest = alert.decision["score_reasons"][0]
    assert again.contributions[0][0] == strongest["feature"]
    assert again.contributions[0][1] == pytest.approx(strongest["contribution"], abs=1e-6)
    assert reasons_listing(again, "default").rows[0][0] == strongest["feature"]
    assert reasons_plot(again).svg


def test_an_alert_of_another_model_is_not_explained_by_this_one(alert: Alert, artefacts: Artefacts) -> None:
    versions = {**alert.decision["versions"], "model": {"name": "other", "hash": "0" * 64}}
    assert artefacts.model is not None
    with pytest.raises(DatasetError, match="scored by other"):
        explanation(Alert({**alert.decision, "versions": versions}, is_unchanged=True), artefacts.model)


def test_rules_are_shown_with_the_values_that_they_read(alert: Alert, artefacts: Artefacts) -> None:
    assert artefacts.policy is not None
    row = rules_listing(alert, artefacts.policy).rows[0]
    hit = alert.decision["rule_hits"][0]
    assert row[0] == hit["rule_id"]
    assert all(f"{name} = " in row[3] for name in hit["values"])


def test_history_ends_with_the_alert(alert: Alert, found: Explored) -> None:
    history = history_of(found, alert.decision["user_id"])
    assert {event.transaction_id for event in history} >= {alert.decision["transaction_id"]}
    marked = [row for row in history_listing(history, alert).rows if row[4] == "this alert"]
    assert len(marked) == 1
    assert history_plot(history, alert).svg


def test_others_at_the_same_merchant_are_counted_before_the_payment_alone(alert: Alert, found: Explored) -> None:
    payment = payment_of(found, alert)
    rows = {row[0]: row for row in shared_things(found, payment, known_by_ms=alert.timestamp_ms).rows}
    name = next(iter(rows))
    before = [
        row for row in found.table.to_pylist() if row[name] == payment[name] and row["timestamp"] < payment["timestamp"]
    ]
    assert rows[name][2:4] == (f"{len(before):,}", f"{len({row['user_id'] for row in before}):,}")


def test_a_profile_of_the_running_service_is_a_history(alert: Alert, tmp_path: Path) -> None:
    payment = {
        "timestamp": alert.decision["timestamp"],
        "transaction_id": "t1",
        "event_type": "authorisation",
        "amount_minor": 1250,
        "currency": "EUR",
        "merchant_id": "m1",
        "late": False,
        "action": "review",
        "score": 0.5,
        "reasons": ["SCORE_REVIEW"],
    }
    path = tmp_path / "customer.json"
    path.write_text(json.dumps({**CUSTOMER, "transactions": [payment, {**payment, "event_type": "refund"}]}))
    (event,) = history_of_profile(path)
    assert (event.amount, event.currency, event.place) == (12.5, "EUR", "review, SCORE_REVIEW")
    assert history_plot([event], alert).svg
    path.write_text("{}")
    with pytest.raises(DatasetError, match="fraud profile --json"):
        history_of_profile(path)
