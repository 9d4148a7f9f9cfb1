"""Speed of learning: making the training set beside replay, fitting and judging, and how often weeks read their file.

    python -m benchmarks.learning [--transactions N] [--handbook FILE.parquet] [--repeat N] [--out FILE.md]

Every case runs in a process of its own, on one core, with one thread. `docs/benchmarks.md` says what is measured.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.inputs import Input
from benchmarks.learning_cases import first_rows
from benchmarks.replay import HOME, child, said
from benchmarks.tables import markdown

# The Handbook's file has 105 days: twelve weeks of test behind the rows that the first of them is learned from.
WEEKS = 12
LONG_DAYS = 105
# Of these days 84 are known before the judged week: so many more rows than are learned from, and a little over.
LONG_FACTOR = 1.3
RATIO_GOAL, SECONDS_GOAL, READINGS_GOAL = 0.8, 60, 1
POLICIES = HOME / "policies"


@dataclass(frozen=True)
class Case:
    """An input with the runs of one case of it, one for each repeat, in their order."""

    source: Input
    runs: list[dict[str, Any]]

    def median(self, name: str) -> float:
        """The median of a column over the repeats."""
        return median(run[name] for run in self.runs)

    @property
    def costs(self) -> list[float]:
        """Processor seconds a transaction, for each repeat."""
        return [run["cpu_seconds"] / run["transactions"] for run in self.runs]


def whole_inputs(options: argparse.Namespace) -> list[Input]:
    """Files of at least so many transactions, which replay and dataset are compared on."""
    in_columns = options.handbook or Path(
        child({"case": "simulate", "format": "handbook", "transactions": options.transactions})
    )
    native = Path(child({"case": "simulate", "format": "native", "transactions": options.transactions}))
    name = "simulator, Parquet" if options.handbook is None else "handbook's file"
    return [
        Input(name, str(in_columns), "handbook", "handbook", str(POLICIES / "handbook.yaml")),
        Input("simulator, JSON lines", str(native), "native", "default", str(POLICIES / "default.yaml")),
    ]


def long_inputs(options: argparse.Namespace) -> list[Input]:
    """Fifteen weeks of transactions under both feature sets."""
    if options.handbook is None:
        specification = {"case": "simulate", "format": "handbook", "days": LONG_DAYS}
        file = child({**specification, "transactions": round(options.transactions * LONG_FACTOR)})
        name = "simulator, 15 weeks"
    else:
        file, name = str(options.handbook), "handbook's file"
    return [Input(name, file, "handbook", feature_set, "") for feature_set in ("handbook", "default")]


def beside_replay(options: argparse.Namespace, scratch: Path, core: int) -> list[tuple[Case, Case]]:
    """Replay and the making of a dataset on just so many of the files' transactions, taking turns."""
    pairs = []
    for whole in whole_inputs(options):
        said(f"fitting the model for {whole.name}")
        model = child({"case": "prepare", "input": asdict(whole)})
        source = replace(whole, file=str(first_rows(Path(whole.file), options.transactions, scratch)))
        common = {"input": asdict(source), "transactions": options.transactions, "out": str(scratch), "core": core}
        common["model"] = model
        pair = Case(source, []), Case(source, [])
        for repeat in range(options.repeat):
            for name, case in zip(("ours", "dataset"), pair, strict=True):
                said(f"repeat {repeat + 1} of {options.repeat}: {source.name}, {name}")
                case.runs.append(child({"case": name, **common}))
        pairs.append(pair)
    return pairs


def fits_and_weeks(options: argparse.Namespace, scratch: Path, core: int) -> tuple[list[Case], Case]:
    """Fitting and judging under both feature sets, and the weeks under the Handbook's."""
    fits = []
    sources = long_inputs(options)
    for source in sources:
        common = {"input": asdict(source), "transactions": options.transactions, "out": str(scratch), "core": core}
        said(f"dataset of {source.name}, {source.feature_set} set")
        child({"case": "dataset", **common})
        runs = []
        for repeat in range(options.repeat):
            said(f"repeat {repeat + 1} of {options.repeat}: fit and judge, {source.feature_set} set")
            runs.append(child({"case": "fit and judge", **common}))
        fits.append(Case(source, runs))
    said(f"{WEEKS} weeks of {sources[0].name}")
    specification = {"input": asdict(sources[0]), "out": str(scratch), "core": core, "transactions": 0}
    return fits, Case(sources[0], [child({"case": "prequential", "weeks": WEEKS, **specification})])


def dataset_table(pairs: list[tuple[Case, Case]]) -> str:
    """A row for each input: both rates by processor time, and the dataset's over replay's within a repeat."""
    header = ("input", "feature set", "replay /s", "dataset /s", "dataset's rate over replay's", "goal")
    rows = []
    for replay, dataset in pairs:
        ratio = median(theirs / own for own, theirs in zip(dataset.costs, replay.costs, strict=True))
        rates = [f"{1 / median(case.costs):,.0f}" for case in (replay, dataset)]
        rows.append(
            (replay.source.name, replay.source.feature_set, *rates, f"{ratio:.2f} x", f"{RATIO_GOAL:.2f} x or more")
        )
    return markdown(header, rows)


def fit_table(cases: list[Case]) -> str:
    """A row for each feature set: rows, seconds of processor time by stage and together, and of wall time."""
    names = ("input", "feature set", "learned from", "judged", "read", "fit", "judge", "together", "by wall time")
    header = (*names, "goal")
    rows = []
    for case in cases:
        stages = [median(run["stages"][stage] for run in case.runs) for stage in ("read", "fit", "judge")]
        rows.append(
            (
                case.source.name,
                case.source.feature_set,
                f"{case.median('transactions'):,.0f}",
                f"{median(run['facts']['judged_rows'] for run in case.runs):,.0f}",
                *(f"{seconds:.1f} s" for seconds in stages),
                f"{case.median('cpu_seconds'):.1f} s",
                f"{case.median('wall_seconds'):.1f} s",
                f"under {SECONDS_GOAL} s",
            )
        )
    return markdown(header, rows)


def weeks_table(case: Case) -> str:
    """How often the file was read for so many weeks, and the records that came out of it."""
    (run,) = case.runs
    facts = run["facts"]
    return markdown(
        ("input", "weeks judged", "times the file was read", "records decoded", "goal"),
        [
            (
                case.source.name,
                f"{facts['judged_weeks']}",
                f"{facts['readings']}",
                f"{run['transactions']:,}",
                f"read {READINGS_GOAL} time",
            )
        ],
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transactions", type=int, default=500_000, help="replayed, and learned from")
    parser.add_argument("--handbook", type=Path, help="the Fraud Detection Handbook's transactions, Parquet")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--out", type=Path, help="add the tables to the end of this file, too")
    # `make bench` gives all its programs the same words.
    parser.add_argument("--rival-rows", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if min(options.transactions, options.repeat) < 1:
        parser.error("--transactions and --repeat must be above zero")
    if options.handbook is not None:
        options.handbook = options.handbook.resolve()
        if not options.handbook.is_file():
            parser.error(f"{options.handbook} is no file")
    return options


def main() -> None:
    options = arguments()
    core = max(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        pairs = beside_replay(options, scratch, core)
        fits, weeks = fits_and_weeks(options, scratch, core)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    repeats = "one run of each case" if options.repeat == 1 else f"median of {options.repeat} repeats"
    lines = [f"{options.transactions:,} transactions, {repeats}, one core of: {machine}.\n"]
    text = "\n".join([*lines, dataset_table(pairs), fit_table(fits), weeks_table(weeks)])
    print(text)
    if options.out is not None:
        with options.out.open("a", encoding="utf-8") as file:
            file.write("\n" + text)


if __name__ == "__main__":
    main()
