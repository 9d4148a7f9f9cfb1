"""What is known about a transaction: the source that counts most decides, as known at a time."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from payments import DAY_MS, START_MS

from fraud.labels import SOURCE_PRECEDENCE, resolve_labels
from fraud.replay.label_feed import FileLabelFeed
from fraud.sources.records import GroundTruth
from fraud.transaction import LABEL_SOURCES, Label, LabelName, LabelSource, Transaction


def label(label_id: str, name: LabelName = "fraud", source: LabelSource = "chargeback", known_at_ms: int = 0) -> Label:
    return Label(label_id, "t1", "customer", name, source, known_at_ms)


LABELS = st.lists(
    st.builds(
        label,
        st.sampled_from("abcdef"),
        st.sampled_from(["fraud", "legitimate"]),
        st.sampled_from(LABEL_SOURCES),
        st.integers(0, 5),
    ),
    unique_by=lambda one: one.label_id,
    max_size=6,
)


def test_nothing_is_known_without_a_label() -> None:
    assert resolve_labels([], 10) is None


def test_every_source_has_its_place() -> None:
    assert sorted(SOURCE_PRECEDENCE) == sorted(LABEL_SOURCES)


@pytest.mark.parametrize(("stronger", "weaker"), list(itertools.combinations(SOURCE_PRECEDENCE, 2)))
def test_the_source_that_counts_more_decides_whenever_it_came(stronger: LabelSource, weaker: LabelSource) -> None:
    early = [label("a", "legitimate", stronger, 1), label("b", "fraud", weaker, 2)]
    late = [label("a", "legitimate", stronger, 2), label("b", "fraud", weaker, 1)]
    assert resolve_labels(early, 10) == resolve_labels(late, 10) == "legitimate"


def test_within_a_source_the_last_word_counts() -> None:
    assert resolve_labels([label("a", "fraud", known_at_ms=1), label("b", "legitimate", known_at_ms=2)], 10) == (
        "legitimate"
    )


def test_of_equal_times_the_greater_id_counts() -> None:
    assert resolve_labels([label("b", "legitimate"), label("a", "fraud")], 10) == "legitimate"


def test_a_label_counts_from_the_millisecond_it_is_known() -> None:
    known = [label("a", known_at_ms=5)]
    assert resolve_labels(known, 4) is None
    assert resolve_labels(known, 5) == "fraud"


@given(labels=LABELS, known_by_ms=st.integers(0, 6), random=st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(labels: list[Label], known_by_ms: int, random: object) -> None:
    shuffled = list(labels)
    random.shuffle(shuffled)
    assert resolve_labels(shuffled, known_by_ms) == resolve_labels(labels, known_by_ms)


@given(labels=LABELS, known_by_ms=st.integers(0, 6))
def test_later_labels_change_nothing_that_was_known(labels: list[Label], known_by_ms: int) -> None:
    by_then = [one for one in labels if one.known_at_ms <= known_by_ms]
    assert resolve_labels(labels, known_by_ms) == resolve_labels(by_then, 10)
    assert (resolve_labels(labels, known_by_ms) is None) == (not by_then)


def transaction(transaction_id: str, after_ms: int = 0) -> Transaction:
    return Transaction(transaction_id, "customer", START_MS + after_ms, 100, "EUR", 100)


def fed(*truths: GroundTruth | None) -> FileLabelFeed:
    """A feed with a delay of 7 days that has absorbed a transaction for each truth, an hour apart."""
    feed = FileLabelFeed(7)
    feed.begin_batch(truths)
    for position in sorted(feed.following):
        feed.absorbed(position, transaction(f"t{position}", position * 3_600_000))
    return feed


def test_a_file_without_labels_feeds_nothing() -> None:
    feed = fed(None, GroundTruth(), GroundTruth("legitimate"))
    assert feed.next_due_ms == float("inf")
    assert feed.due(START_MS + 1_000 * DAY_MS) == []


def test_a_fraud_is_known_after_the_delay() -> None:
    feed = fed(GroundTruth("fraud"))
    assert feed.next_due_ms == START_MS + 7 * DAY_MS
    assert feed.due(START_MS + 7 * DAY_MS - 1) == []
    assert [(known.transaction_id, is_fraud) for known, is_fraud in feed.due(START_MS + 7 * DAY_MS)] == [("t0", True)]
    assert feed.due(START_MS + 8 * DAY_MS) == []


def test_the_time_that_a_file_gives_comes_before_the_delay() -> None:
    feed = fed(GroundTruth("fraud", "issuer_alert", START_MS + DAY_MS), GroundTruth("fraud"))
    assert feed.next_due_ms == START_MS + DAY_MS
    assert [known.transaction_id for known, _ in feed.due(START_MS + 30 * DAY_MS)] == ["t0", "t1"]


def test_labels_of_one_moment_keep_the_order_of_the_file() -> None:
    at_once = GroundTruth("fraud", "analyst", START_MS + DAY_MS)
    feed = fed(at_once, at_once, at_once)
    assert [known.transaction_id for known, _ in feed.due(START_MS + DAY_MS)] == ["t0", "t1", "t2"]
