"""What the replay benchmark measured, as Markdown. Pure: numbers in, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

MEGABYTE = 1_000_000
# Goals: transactions a second on one core, and bytes of a customer's state, by feature set.
RATE_GOALS = {"handbook": 40_000, "default": 15_000}
SIZE_GOALS = {"handbook": 3_000, "default": 8_000}
RIVAL_GOAL = 4.0


@dataclass(frozen=True)
class CaseRuns:
    """The runs of one case on one input, one for each repeat, in their order; `stages` is seconds by stage."""

    input_name: str
    case: str
    feature_set: str
    transactions: Sequence[int]
    wall_seconds: Sequence[float]
    cpu_seconds: Sequence[float]
    peak_memory_bytes: Sequence[int]
    stages: Sequence[Mapping[str, float]] = ()

    @property
    def rate(self) -> float:
        """Transactions a second of wall time, the median of the repeats."""
        return median(count / seconds for count, seconds in zip(self.transactions, self.wall_seconds, strict=True))

    @property
    def cpu_costs(self) -> list[float]:
        """Processor seconds a transaction, for each repeat."""
        return [seconds / count for count, seconds in zip(self.transactions, self.cpu_seconds, strict=True)]


def speed_ratio(runs: CaseRuns, other: CaseRuns) -> float:
    """How many times as fast `runs` is: the median over the repeats of the ratio within a repeat, by processor time."""
    return median(theirs / own for own, theirs in zip(runs.cpu_costs, other.cpu_costs, strict=True))


def speed_table(cases: Sequence[CaseRuns]) -> str:
    """A row for each case: rates, memory, and the product's ratios to the other cases on the same input."""
    header = ("input", "case", "transactions/s", "/s of processor time", "ours is faster by", "peak memory", "goal")
    rows = []
    for runs in cases:
        own = next(other for other in cases if other.input_name == runs.input_name and other.case == "ours")
        is_ours = runs is own
        rows.append(
            (
                runs.input_name,
                f"**ours**, {runs.feature_set} set" if is_ours else runs.case,
                f"{runs.rate:,.0f}",
                f"{1 / median(runs.cpu_costs):,.0f}",
                "" if is_ours else f"{speed_ratio(own, runs):.2f} x",
                f"{median(runs.peak_memory_bytes) / MEGABYTE:,.0f} MB",
                _goal(runs, is_ours=is_ours),
            )
        )
    return markdown(header, rows)


def _goal(runs: CaseRuns, *, is_ours: bool) -> str:
    if is_ours:
        return f"{RATE_GOALS[runs.feature_set]:,}/s"
    return f"{RIVAL_GOAL:.0f} x" if runs.case.startswith("rival") else ""


def stage_table(cases: Sequence[CaseRuns]) -> str:
    """Share of the wall time and microseconds a transaction of each stage, for the cases that have stages."""
    staged = [runs for runs in cases if runs.stages]
    names = list(dict.fromkeys(name for runs in staged for name in runs.stages[0]))
    rows = []
    for name in names:
        cells = []
        for runs in staged:
            seconds = median(stages.get(name, 0.0) for stages in runs.stages)
            share = median(stages.get(name, 0.0) / sum(stages.values()) for stages in runs.stages)
            cells.append(f"{share:.1%} ({seconds / median(runs.transactions) * 1e6:.2f} us)")
        rows.append((name, *cells))
    return markdown(("stage", *(f"{runs.input_name}, {runs.feature_set} set" for runs in staged)), rows)


@dataclass(frozen=True)
class SizeRow:
    """Bytes of state of one feature set."""

    feature_set: str
    customers: int
    transactions_per_customer: float
    bytes_per_customer: float
    entities: int
    bytes_per_entity: float


def size_table(sizes: Sequence[SizeRow]) -> str:
    """A row for each feature set: bytes a customer, and beside it what merchants, devices, ... take."""
    return markdown(
        ("feature set", "customers", "transactions each", "bytes a customer", "goal", "entities", "bytes an entity"),
        [
            (
                size.feature_set,
                f"{size.customers:,}",
                f"{size.transactions_per_customer:.0f}",
                f"{size.bytes_per_customer:,.0f}",
                f"under {SIZE_GOALS[size.feature_set]:,}",
                f"{size.entities:,}",
                f"{size.bytes_per_entity:,.0f}",
            )
            for size in sizes
        ],
    )


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns; every row has as many cells as the header."""
    lines = [header, *rows]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(header))]
    texts = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    rule = " | ".join("-" * width for width in widths)
    return "\n".join(f"| {text} |" for text in (texts[0], rule, *texts[1:])) + "\n"
