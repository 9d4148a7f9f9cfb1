"""The scaling model: what doubles, doubles; what a hand calculation says, it says."""

from __future__ import annotations

import math

import pytest

from benchmarks.scaling import TransactionCosts, cluster, scaling_table

COSTS = TransactionCosts(
    worker_rate=1_000.0, redis_us=80.0, history_item_bytes=900, entity_bytes=400, entities_a_customer=3.0
)


def test_a_small_service_by_hand() -> None:
    small = cluster(1_000, COSTS)
    assert small.workers == 2
    assert small.partitions == 4
    # An event: two units and one of the index. A sixteenth of a snapshot of 2 KB: four units.
    assert small.write_units == pytest.approx(1_000 * (2 + 1 + 4 / 16))
    assert small.read_units == pytest.approx(1_000 * 0.1 * 2)
    assert small.redis_gigabytes == pytest.approx(43.2e6 * 3 * 400 / 1e9)
    monthly = 30.4 * 86_400 / 1e6 * (3_250 * 0.625 + 200 * 0.125) + 1_000 * 86_400 * 400 * 900 / 1e9 * 0.25
    assert small.dynamodb_dollars_a_month == pytest.approx(monthly)


def test_ten_times_the_rate_needs_ten_times_as_much() -> None:
    small, large = cluster(1_000, COSTS), cluster(10_000, COSTS)
    assert large.write_units == pytest.approx(10 * small.write_units)
    assert large.workers == 10 * small.workers
    assert large.dynamodb_dollars_a_month == pytest.approx(10 * small.dynamodb_dollars_a_month)


def test_redis_has_as_many_shards_as_its_time_or_its_memory_needs() -> None:
    assert cluster(100_000, COSTS).redis_shards == math.ceil(4_320e6 * 3 * 400 / 1e9 / 25)
    tiny = TransactionCosts(1_000.0, 80.0, 900, 1, 0.001)
    assert cluster(100_000, tiny).redis_shards == math.ceil(100_000 * 80e-6 / 0.5)


def test_the_table_has_a_column_for_each_rate() -> None:
    table = scaling_table([cluster(rate, COSTS) for rate in (1_000, 10_000)])
    assert table.splitlines()[0] == "| transactions/s | 1,000 | 10,000 |"
