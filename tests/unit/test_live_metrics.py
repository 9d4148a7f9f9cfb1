"""Measures count as Prometheus expects, and none is without advice."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from fraud.live.measures import STAGE_BUDGETS_MS, BatchHistogram, Measures
from fraud.live.outgoing import Outgoing
from fraud.pipeline import STAGES

OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
BOUNDS = (0.1, 0.5, 1.0, 2.0)
# Values on bounds, too; all of them sums of powers of two or bounds, whose sums are compared in any order.
VALUES = st.lists(st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 2.0, 3.0, 64.0]), max_size=20), max_size=5)


@given(batches=VALUES)
def test_a_histogram_of_batches_equals_one_of_single_values(batches: list[list[float]]) -> None:
    registry = CollectorRegistry()
    single = Histogram("same", "Same", buckets=BOUNDS, registry=registry)
    batched = BatchHistogram("same", "Same", BOUNDS)
    for batch in batches:
        batched.observe(batch)
        for value in batch:
            single.observe(value)
    (family,) = batched.collect()
    found = {
        (sample.name, *(float(bound) for bound in sample.labels.values())): sample.value for sample in family.samples
    }
    for sample in next(iter(registry.collect())).samples:
        if not sample.name.endswith("_created"):
            key = (sample.name, *(float(bound) for bound in sample.labels.values()))
            assert abs(found.pop(key) - sample.value) < 1e-9
    assert found == {}


def test_every_metric_has_advice() -> None:
    advice = OPERATIONS.read_text()
    names = [family.name for family in Measures().registry.collect()]
    assert [name for name in names if f"`{name}" not in advice] == []


def test_partitions_of_somebody_else_have_no_lag_here() -> None:
    measures = Measures()
    measures.lag({("transactions", 0): 5, ("transactions", 1): 0})
    measures.lag({("transactions", 1): 2})
    value = measures.registry.get_sample_value
    assert value("fraud_consumer_lag", {"topic": "transactions", "partition": "0"}) is None
    assert value("fraud_consumer_lag", {"topic": "transactions", "partition": "1"}) == 2


def test_what_was_published_and_looked_up_adds_up() -> None:
    measures = Measures()
    measures.published([Outgoing("alerts", 0, None, b""), Outgoing("decisions", 0, None, b"")])
    measures.published([Outgoing("decisions", 1, None, b"")])
    measures.looked_up(3, 1)
    measures.looked_up(10, 1)
    value = measures.registry.get_sample_value
    assert value("fraud_published_total", {"topic": "decisions"}) == 2
    assert value("fraud_customer_cache_total", {"outcome": "hit"}) == 10
    assert value("fraud_customer_cache_total", {"outcome": "miss"}) == 1


def test_every_stage_has_a_budget_that_operators_are_told() -> None:
    assert set(STAGES) < set(STAGE_BUDGETS_MS)
    (row,) = [line for line in OPERATIONS.read_text().splitlines() if line.startswith("| `fraud_over_budget")]
    assert all(f"{stage} {budget}" in row for stage, budget in STAGE_BUDGETS_MS.items())
    # Entities are counted while a batch is published.
    assert sum(STAGE_BUDGETS_MS.values()) - STAGE_BUDGETS_MS["entities"] < 250


def test_a_batch_that_is_too_long_in_a_stage_is_counted_there() -> None:
    measures = Measures()
    for stage, seconds in (("history", 0.059), ("enrich", 0.061), ("history", 0.061)):
        measures.answered([0], 1, {stage: seconds})
    value = measures.registry.get_sample_value
    assert value("fraud_over_budget_total", {"stage": "history"}) == 1
    assert value("fraud_over_budget_total", {"stage": "enrich"}) == 1
    assert value("fraud_over_budget_total", {"stage": "score"}) == 0
