"""Statistics against obvious counting, over random batches cut at random places."""

import json
import math
from datetime import UTC, date, datetime
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from fraud.decision import ACTIONS
from fraud.report.batch import DecidedBatch
from fraud.report.statistics import InputCounts, ReplayStatistics
from fraud.transaction import Transaction

RULE_IDS = ("first", "second", "third")

row = st.fixed_dictionaries(
    {
        "user": st.sampled_from("abc"),
        "merchant": st.sampled_from(["m", "n", None]),
        "minute": st.integers(0, 60 * 24 * 12),
        "amount": st.integers(1, 10_000),
        "score": st.one_of(st.integers(0, 1_000_000), st.sampled_from([0, 1, 500_000, 999_999, 1_000_000])),
        "action": st.integers(0, 3),
        "label": st.integers(-1, 1),
        "declined": st.booleans(),
        "hits": st.tuples(st.booleans(), st.booleans(), st.booleans()),
        "late": st.booleans(),
        "notifying": st.booleans(),
        "scenario": st.sampled_from(["takeover", "testing", None]),
    }
)
rows = st.lists(row, min_size=1, max_size=60)
cuts = st.sets(st.integers(1, 59))


def batch_of(rows, *, model=True):
    transactions = [
        Transaction(
            transaction_id=str(number),
            user_id=entry["user"],
            timestamp_ms=1_772_323_200_000 + entry["minute"] * 60_000,
            amount_minor=entry["amount"],
            currency="EUR",
            base_amount_minor=entry["amount"],
            merchant_id=entry["merchant"],
            auth_result="declined" if entry["declined"] else None,
        )
        for number, entry in enumerate(rows)
    ]
    return DecidedBatch(
        transactions,
        np.array([transaction.timestamp_ms for transaction in transactions], dtype=np.int64),
        np.array([entry["amount"] for entry in rows], dtype=np.int64),
        np.array([entry["score"] / 1_000_000 if model else math.nan for entry in rows]),
        np.array([entry["action"] for entry in rows], dtype=np.int8),
        np.array([entry["hits"] for entry in rows], dtype=np.bool_).reshape(len(rows), len(RULE_IDS)),
        np.array([entry["label"] for entry in rows], dtype=np.int8),
        np.array([entry["late"] for entry in rows], dtype=np.bool_),
        np.array([entry["notifying"] for entry in rows], dtype=np.bool_),
        [entry["scenario"] if entry["label"] == 1 else None for entry in rows],
    )


def summary_of(rows, boundaries=(), *, model=True):
    statistics = ReplayStatistics(dict.fromkeys(RULE_IDS, "review"), "EUR", 2, {"review": 0.5, "block": 0.9})
    edges = [0, *sorted(cut for cut in boundaries if cut < len(rows)), len(rows)]
    for start, end in pairwise(edges):
        statistics.add(batch_of(rows[start:end], model=model))
    return statistics.summary(InputCounts(len(rows)))


@given(rows, cuts, st.booleans())
def test_the_summary_does_not_depend_on_batch_boundaries(rows, boundaries, model):
    whole = json.dumps(summary_of(rows, model=model), allow_nan=False, sort_keys=True)
    assert json.dumps(summary_of(rows, boundaries, model=model), allow_nan=False, sort_keys=True) == whole


@given(rows, cuts)
def test_counts_are_what_counting_gives(rows, boundaries):
    summary = summary_of(rows, boundaries)
    frauds = [entry for entry in rows if entry["label"] == 1]
    legitimate = [entry for entry in rows if entry["label"] == 0]
    labelled_alerts = [entry for entry in frauds + legitimate if entry["action"] > 0]
    caught = [entry for entry in frauds if entry["action"] > 0]
    detection = summary["detection"]
    assert summary["decided"] == len(rows)
    assert summary["late"] == sum(entry["late"] for entry in rows)
    assert summary["labels"]["unlabelled"] == len(rows) - len(frauds) - len(legitimate)
    for code, action in enumerate(ACTIONS):
        of_action = [entry for entry in rows if entry["action"] == code]
        assert summary["actions"][action]["count"] == len(of_action)
        assert summary["actions"][action]["amount_minor"] == sum(entry["amount"] for entry in of_action)
    assert detection["alerts"] == sum(entry["action"] > 0 for entry in rows)
    assert detection["notified_only"] == sum(entry["action"] == 0 and entry["notifying"] for entry in rows)
    assert detection["alert_precision"] == (len(caught) / len(labelled_alerts) if labelled_alerts else None)
    assert detection["alert_recall"] == (len(caught) / len(frauds) if frauds else None)
    assert detection["false_positive_rate"] == (
        (len(labelled_alerts) - len(caught)) / len(legitimate) if legitimate else None
    )


@given(rows, cuts)
def test_rules_scenarios_and_days_are_what_counting_gives(rows, boundaries):
    summary = summary_of(rows, boundaries)
    for index, rule in enumerate(summary["rules"]):
        hits = [entry for entry in rows if entry["hits"][index]]
        known = [entry for entry in hits if entry["label"] != -1]
        frauds = [entry for entry in hits if entry["label"] == 1]
        assert rule["hits"] == len(hits)
        assert rule["sole_hits"] == sum(sum(entry["hits"]) == 1 for entry in hits)
        assert rule["amount_minor"] == sum(entry["amount"] for entry in hits)
        assert rule["precision"] == (len(frauds) / len(known) if known else None)
    for scenario in summary["scenarios"] or []:
        frauds = [entry for entry in rows if entry["label"] == 1 and entry["scenario"] == scenario["scenario"]]
        assert scenario["frauds"] == len(frauds)
        assert scenario["recall"] == sum(entry["action"] > 0 for entry in frauds) / len(frauds)
    start = datetime(2026, 3, 1, tzinfo=UTC).toordinal()
    by_day = {start + entry["minute"] // 1440 for entry in rows}
    assert [day["day"] for day in summary["days"]] == [date.fromordinal(day).isoformat() for day in sorted(by_day)]
    assert sum(day["transactions"] for day in summary["days"]) == len(rows)
    reviews = [
        sum(entry["action"] == 2 and start + entry["minute"] // 1440 == day for entry in rows)
        for day in range(min(by_day), max(by_day) + 1)
    ]
    expected = {
        "mean": sum(reviews) / len(reviews),
        "p95": sorted(reviews)[math.ceil(0.95 * len(reviews)) - 1],
        "max": max(reviews),
    }
    assert summary["workload"]["reviews_a_day"] == expected


@given(rows)
def test_ranking_agrees_with_scikit_learn(rows):
    ranking = summary_of(rows)["ranking"]
    labelled = [entry for entry in rows if entry["label"] != -1]
    labels = [entry["label"] for entry in labelled]
    scores = [entry["score"] / 1_000_000 for entry in labelled]
    if len(set(labels)) == 2:
        assert ranking["area_under_roc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    else:
        assert ranking["area_under_roc"] is None
    if 1 in labels:
        assert ranking["average_precision"] == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    else:
        assert ranking["average_precision"] is None


@given(rows)
def test_thresholds_are_what_filtering_gives(rows):
    for threshold in summary_of(rows)["thresholds"]:
        above = [entry for entry in rows if entry["score"] / 1_000_000 >= threshold["score"]]
        frauds = sum(entry["label"] == 1 for entry in above)
        known = sum(entry["label"] != -1 for entry in above)
        assert threshold["alerts"] == len(above)
        assert threshold["precision"] == (frauds / known if known else None)
