"""What the live benchmark measured, as Markdown. Pure: figures in, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

# The goals: the service's rate against the floor's; milliseconds at half of its peak; what two workers on the cores of
# one may lose.
FLOOR_GOAL, P99_GOAL_MS, P999_GOAL_MS, TWO_WORKERS_GOAL = 0.80, 100, 250, 0.85
_FLOOR_NAMES = {
    "aiokafka": "empty aiokafka pipeline",
    "faust": "empty Faust pipeline",
    "stores": "floor: Faust, and the same calls to DynamoDB and Redis",
}
_PROCESSES = ("worker", "kafka", "dynamodb", "redis")

Figures = Mapping[str, Any]
Row = Sequence[str]


def live_tables(figures: Figures) -> str:
    """The tables of rates, latencies, processor time and stages of one run."""
    return "\n\n".join(
        [
            f"On {figures['machine']}; Kafka, DynamoDB Local, Redis and the load share its cores.",
            _rates(figures),
            _latencies(figures),
            _costs(figures),
            _stages(figures),
        ]
    )


def ratio(runs: Sequence[Figures], others: Sequence[Figures]) -> float:
    """How many times the rate of the others: the median over the repeats of the ratio within a repeat."""
    return median(one["rate"] / other["rate"] for one, other in zip(runs, others, strict=True))


def _rates(figures: Figures) -> str:
    warm, floor = figures["warm"], figures["floors"]["stores"]
    many = f"{figures['many_customers']:,}"
    cases = [
        *((_FLOOR_NAMES[name], runs, "") for name, runs in figures["floors"].items()),
        ("**service**, 5,000 customers, warm", warm, f"{FLOOR_GOAL:.0%} of the floor"),
        ("service, 5,000 customers, cold", figures["cold"], ""),
        (f"service, {many} customers, warm", figures["warm_many"], ""),
        (f"service, {many} customers, cold", figures["cold_many"], ""),
        ("two workers on the same cores, warm", figures["two_workers"], f"{TWO_WORKERS_GOAL:.0%} of one"),
    ]
    rows = [
        (
            name,
            f"{median(run['rate'] for run in runs):,.0f}",
            f"{ratio(runs, floor):.0%}",
            f"{ratio(runs, warm):.0%}",
            f"{sum(run['degraded'] for run in runs):,}",
            goal,
        )
        for name, runs, goal in cases
    ]
    return _table(("pipeline", "transactions/s", "of the floor", "of the service", "degraded", "goal"), rows)


def _latencies(figures: Figures) -> str:
    rows = []
    goals = f"p99 {P99_GOAL_MS} ms, p99.9 {P999_GOAL_MS} ms"
    for name, runs, goal in (
        ("**service**, warm, at half of its peak", figures["latency"], goals),
        ("floor, at the same rate", figures["floor_latency"], ""),
        ("service, warm, at a sixth of its peak", figures["calm_latency"], ""),
        ("floor, at the same rate", figures["calm_floor_latency"], ""),
    ):
        quantiles = [f"{median(run[key] for run in runs):,.0f} ms" for key in ("p50_ms", "p99_ms", "p999_ms")]
        degraded = f"{sum(run['degraded'] for run in runs):,}"
        rows.append((name, f"{median(run['rate'] for run in runs):,.0f}/s", *quantiles, degraded, goal))
    text = _table(("latencies", "rate", "p50", "p99", "p99.9", "degraded", "goal"), rows)
    seconds = median(run["seconds"] for run in figures["recovery"])
    timeout_s = figures["recovery"][0]["session_timeout_s"]
    return (
        f"{text}\n\nOne of two workers killed at half of the peak: after {seconds:.1f} s no payment waited for a "
        f"second any more. {timeout_s:g} s of them pass before Kafka gives its partitions to the other "
        "(`session_timeout_seconds`), which has none of their customers in memory."
    )


def _costs(figures: Figures) -> str:
    cases = (("service, warm", figures["warm"]), ("floor", figures["floors"]["stores"]), ("cold", figures["cold"]))
    rows = [
        (name, *(f"{median(run['microseconds'].get(process, 0) for run in runs):,.0f}" for process in _PROCESSES))
        for name, runs in cases
    ]
    return _table(("processor time of a transaction, us", *_PROCESSES), rows)


def _stages(figures: Figures) -> str:
    names = list(figures["warm"][0]["stages"])
    rows = [
        (
            name,
            *(
                f"{median(run['stages'].get(name, 0.0) for run in figures[case]):,.0f}"
                for case in ("warm", "cold", "warm_many", "cold_many")
            ),
        )
        for name in names
    ]
    many = f"{figures['many_customers']:,}"
    return _table(("stage, us a transaction", "5,000 warm", "5,000 cold", f"{many} warm", f"{many} cold"), rows)


def _table(header: Row, rows: Sequence[Row]) -> str:
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )
