"""What history yields to learn from: in order, without degraded decisions, with what was known at a time."""

from __future__ import annotations

import json
from itertools import count

import numpy as np
import pytest

from fraud.features import feature_set
from fraud.ports import Origin, StoredDecision
from fraud.transaction import Label, Transaction
from training.dataset import DatasetError
from training.history_dataset import DecidedHistory, known_rows, known_since_ms

FEATURES = feature_set("default")
DAY_MS = 86_400_000
NUMBERS = count(1)


def label(name, known_at_day, source="analyst"):
    return Label(f"l{next(NUMBERS)}", "t", "u", name, source, known_at_day * DAY_MS)


def decided(name, day, *, source="a:0", offset=0, ingested_ms=0, degraded=(), schema=FEATURES.schema_hash, values=None):
    """A decision of a day, with number of the feature as its value unless `values` say otherwise."""
    features = {feature: place for place, feature in enumerate(FEATURES.names)} | (values or {})
    content = {"degraded": list(degraded), "features": features, "versions": {"feature_set": {"hash": schema}}}
    transaction = Transaction(
        transaction_id=name,
        user_id="u",
        timestamp_ms=day * DAY_MS,
        amount_minor=100,
        currency="EUR",
        base_amount_minor=100,
        merchant_id="m",
    )
    return StoredDecision(
        transaction, Origin(source, offset, ingested_ms), json.dumps(content).encode(), "", False, False
    )


def history(*decisions):
    found = DecidedHistory(FEATURES, -np.inf, np.inf)
    for decision in decisions:
        found.add(decision, {})
    return found


def names(rows):
    return [row.transaction.transaction_id for row in rows]


def test_rows_stand_as_their_partition_had_them_whatever_the_clock_of_the_producer_said():
    found = history(
        decided("third", 1, offset=2, ingested_ms=10),
        decided("second", 1, offset=1, ingested_ms=30),
        decided("first", 1, offset=0, ingested_ms=20),
        decided("of another partition", 1, source="a:1", offset=0, ingested_ms=25),
    )
    assert names(found.in_order()) == ["first", "of another partition", "second", "third"]


def test_decisions_without_a_part_or_of_other_features_are_left_out_and_counted():
    found = history(decided("degraded", 1, degraded=["entity_windows"]), decided("other", 1, schema="x"))
    assert (names(found.in_order()), found.degraded, found.other_features) == ([], 1, 1)


def test_a_missing_feature_is_missing_and_a_flag_is_a_number():
    first, second = FEATURES.names[:2]
    (row,) = history(decided("t", 1, values={first: None, second: True})).rows
    assert np.isnan(row.features[0])
    assert row.features[1] == 1.0
    assert row.features[2:].tolist() == list(range(2, len(FEATURES.names)))


def test_unlabelled_rows_are_legitimate_only_when_they_are_old_enough():
    rows = history(decided("old", 1, offset=0), decided("young", 9, offset=1)).in_order()
    known = known_rows(rows, {}, known_by_ms=10 * DAY_MS, maturity_days=7)
    assert known.labels.tolist() == [0, -1]
    assert known.label_known_at_ms.tolist() == [8 * DAY_MS, -1]
    (block,) = known.blocks()
    assert block.transaction_ids == ["old"]


def test_a_fraud_counts_from_when_it_is_known_and_not_before():
    rows = history(decided("t", 9)).in_order()
    labels = {("u", "t"): [label("fraud", 10)]}
    before, after = (known_rows(rows, labels, known_by_ms=day * DAY_MS, maturity_days=7) for day in (9.5, 10))
    assert (before.labels.tolist(), after.labels.tolist()) == ([-1], [1])
    assert after.label_known_at_ms.tolist() == [10 * DAY_MS]


def test_a_fraud_that_was_withdrawn_is_one_only_while_it_was_believed():
    rows = history(decided("t", 1)).in_order()
    labels = {("u", "t"): [label("fraud", 2, "customer"), label("legitimate", 20, "representment")]}
    believed, withdrawn = (known_rows(rows, labels, known_by_ms=day * DAY_MS, maturity_days=7) for day in (3, 30))
    assert (believed.labels.tolist(), withdrawn.labels.tolist()) == ([1], [0])


def test_what_labels_say_is_known_since_the_last_time_that_they_said_otherwise():
    told = [label("fraud", 2), label("legitimate", 4), label("fraud", 6), label("fraud", 8)]
    assert known_since_ms(told, 9 * DAY_MS) == 6 * DAY_MS
    assert known_since_ms(told, 5 * DAY_MS) == 4 * DAY_MS
    assert known_since_ms(told, DAY_MS) == -1


def test_nothing_known_is_refused_with_advice():
    rows = history(decided("t", 9)).in_order()
    with pytest.raises(DatasetError, match="older than --maturity-days"):
        list(known_rows(rows, {}, known_by_ms=10 * DAY_MS, maturity_days=7).blocks())
