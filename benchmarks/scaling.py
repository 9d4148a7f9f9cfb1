"""From the measured costs of a transaction to a cluster: partitions, workers, DynamoDB, Redis, and what they cost.

    python -m benchmarks.scaling [--figures build/benchmarks/live.json] [--rate N ...]

Reads what `make bench-live` measured. `docs/scaling.md` says what the model leaves out.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.inputs import CACHE
from fraud.stores.customers import EVENTS_BETWEEN_SNAPSHOTS

RATES = (1_000, 10_000, 100_000)
# What is left takes over from a worker that died, and the hour that has twice the payments of others.
USED_SHARE = 0.5
# So that the number of workers can double without adding partitions, which takes a procedure.
PARTITIONS_A_WORKER = 2
# Twice a day, as the simulator's customers; more payments a customer need less memory for the same rate.
PAYMENTS_A_CUSTOMER_A_DAY = 2.0
# Of a customer with 60 payments; those of the benchmark are younger, and smaller.
SNAPSHOT_BYTES = 2_000
# A worker's cache holds who paid within days; the rest is read.
CACHE_MISS_SHARE = 0.1
RETENTION_DAYS = 400
SECONDS_A_MONTH = 30.4 * 86_400
# US dollars in us-east-1, on demand, standard tables: price list of Amazon DynamoDB, since November 2024.
DOLLARS_A_MILLION_WRITES, DOLLARS_A_MILLION_READS, DOLLARS_A_GIGABYTE_MONTH = 0.625, 0.125, 0.25
# A write of a transaction counts twice, up to 1 KB a unit; a consistent read 4 KB (developer guide, "capacity units").
TRANSACTION_WRITES, WRITE_UNIT_BYTES, READ_UNIT_BYTES = 2, 1_024, 4_096
# Large enough that few are needed, small enough to copy to a replica within minutes.
SHARD_GIGABYTES = 25.0
GIGABYTE = 1e9


@dataclass(frozen=True)
class TransactionCosts:
    """What the benchmark measured of one worker: transactions a second, microseconds of Redis, bytes."""

    worker_rate: float
    redis_us: float
    history_item_bytes: int
    entity_bytes: int
    entities_a_customer: float


@dataclass(frozen=True)
class Cluster:
    """What a rate of transactions a second needs."""

    rate: int
    customers: float
    workers: int
    partitions: int
    write_units: float
    read_units: float
    dynamodb_dollars_a_month: float
    storage_gigabytes: float
    redis_gigabytes: float
    redis_shards: int


def costs_of(figures: Mapping[str, Any], customers: int) -> TransactionCosts:
    """The costs in what `benchmarks.live` wrote, `customers` of whom it measured sizes."""
    warm = figures["warm"]
    sizes = figures["sizes"]
    return TransactionCosts(
        median(run["rate"] for run in warm),
        median(run["microseconds"]["redis"] for run in warm),
        sizes["history_item_bytes"],
        sizes["entity_bytes"],
        sizes["entities"] / customers,
    )


def cluster(rate: int, costs: TransactionCosts) -> Cluster:
    """What this rate needs if each part scales by its number; units are of an average second."""
    customers = rate * 86_400 / PAYMENTS_A_CUSTOMER_A_DAY
    workers = math.ceil(rate / (costs.worker_rate * USED_SHARE))
    snapshots = TRANSACTION_WRITES * math.ceil(SNAPSHOT_BYTES / WRITE_UNIT_BYTES) / EVENTS_BETWEEN_SNAPSHOTS
    # The index over transaction ids holds keys alone: one unit.
    events = TRANSACTION_WRITES * math.ceil(costs.history_item_bytes / WRITE_UNIT_BYTES) + 1
    writes = rate * (events + snapshots)
    # The snapshot, and the events since: at most sixteen bodies, within a unit.
    reads = rate * CACHE_MISS_SHARE * (math.ceil(SNAPSHOT_BYTES / READ_UNIT_BYTES) + 1)
    stored = rate * 86_400 * RETENTION_DAYS * costs.history_item_bytes / GIGABYTE
    requests = SECONDS_A_MONTH / 1e6 * (writes * DOLLARS_A_MILLION_WRITES + reads * DOLLARS_A_MILLION_READS)
    redis = customers * costs.entities_a_customer * costs.entity_bytes / GIGABYTE
    busy = rate * costs.redis_us / 1e6 / USED_SHARE
    return Cluster(
        rate,
        customers,
        workers,
        workers * PARTITIONS_A_WORKER,
        writes,
        reads,
        requests + stored * DOLLARS_A_GIGABYTE_MONTH,
        stored,
        redis,
        max(1, math.ceil(busy), math.ceil(redis / SHARD_GIGABYTES)),
    )


def scaling_table(clusters: Sequence[Cluster]) -> str:
    """Markdown: a column for each rate."""
    rows = [
        ("customers, millions", *(f"{one.customers / 1e6:,.0f}" for one in clusters)),
        ("workers, a core each", *(f"{one.workers:,}" for one in clusters)),
        ("partitions", *(f"{one.partitions:,}" for one in clusters)),
        ("DynamoDB write units/s", *(f"{one.write_units:,.0f}" for one in clusters)),
        ("DynamoDB read units/s", *(f"{one.read_units:,.0f}" for one in clusters)),
        (f"history of {RETENTION_DAYS} days, TB", *(f"{one.storage_gigabytes / 1e3:,.1f}" for one in clusters)),
        ("DynamoDB, dollars a month", *(f"{one.dynamodb_dollars_a_month:,.0f}" for one in clusters)),
        ("Redis, GB", *(f"{one.redis_gigabytes:,.0f}" for one in clusters)),
        ("Redis shards", *(f"{one.redis_shards:,}" for one in clusters)),
    ]
    header = ("transactions/s", *(f"{one.rate:,}" for one in clusters))
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Print the table for the figures of the last benchmark."""
    from benchmarks.live.__main__ import FEW_CUSTOMERS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=Path, default=CACHE / "live.json")
    parser.add_argument("--rate", type=int, nargs="+", default=RATES)
    choices = parser.parse_args()
    if not choices.figures.is_file():
        parser.exit(2, f"{choices.figures} is not there: run make bench-live first, or name the file with --figures\n")
    costs = costs_of(json.loads(choices.figures.read_text(encoding="utf-8")), FEW_CUSTOMERS)
    print(scaling_table([cluster(rate, costs) for rate in choices.rate]))


if __name__ == "__main__":
    main()
