"""Speed of a replay on one core against a floor and a rival, and the size of its state.

    python -m benchmarks.replay [--transactions N] [--handbook FILE.parquet] [--repeat N] [--out FILE.md]

Every case runs in a process of its own, on one core, with one thread; the cases take turns, so that a ratio compares
runs that stand beside each other in time. `docs/benchmarks.md` says what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.inputs import Input
from benchmarks.tables import CaseRuns, SizeRow, size_table, speed_table, stage_table

HOME = Path(__file__).resolve().parent.parent
HANDBOOK_CASES = ("ours", "floor", "rival", "rival batched")
DEFAULT_CASES = ("ours", "floor")
CASE_NAMES = {
    "floor": "floor",
    "rival": "rival, a row at a time",
    "rival batched": "rival, model called once a block",
}
STATE_CUSTOMERS = 2_000
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def child(specification: dict[str, Any]) -> Any:
    """Run `benchmarks.cases` in a fresh process; its answer."""
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks.cases", json.dumps(specification)],
        cwd=HOME,
        env={**os.environ, **ONE_THREAD},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if finished.returncode:
        sys.exit(f"the case {specification['case']} ended with {finished.returncode}; its message stands above")
    return json.loads(finished.stdout.splitlines()[-1])


def inputs(transactions: int, handbook: Path | None) -> list[Input]:
    """The simulator's files, and the handbook's where it is given."""
    said("simulating")
    policies = HOME / "policies"
    in_columns = child({"case": "simulate", "format": "handbook", "transactions": transactions})
    native = child({"case": "simulate", "format": "native", "transactions": transactions})
    found = [Input("simulator, Parquet", in_columns, "handbook", "handbook", str(policies / "handbook.yaml"))]
    if handbook is not None:
        file = str(handbook.resolve())
        found.append(Input("handbook's file", file, "handbook", "handbook", str(policies / "handbook.yaml")))
    found.append(Input("simulator, JSON lines", native, "native", "default", str(policies / "default.yaml")))
    return found


def measured(sources: list[Input], options: argparse.Namespace, core: int) -> tuple[list[CaseRuns], dict[str, Any]]:
    """All runs of all cases, the cases taking turns; and how far the rival agrees, by input."""
    runs: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    agreements: dict[str, Any] = {}
    models = {}
    for source in sources:
        said(f"fitting the model for {source.name}")
        models[source.name] = child({"case": "prepare", "input": asdict(source)})
    with tempfile.TemporaryDirectory() as scratch:
        for repeat in range(options.repeat):
            for source in sources:
                common = {
                    "input": asdict(source),
                    "transactions": options.transactions,
                    "model": models[source.name],
                    "out": scratch,
                    "rival_rows": options.rival_rows,
                    "core": core,
                }
                cases = HANDBOOK_CASES if source.feature_set == "handbook" else DEFAULT_CASES
                for case in cases:
                    said(f"repeat {repeat + 1} of {options.repeat}: {source.name}, {case}")
                    runs[source.name, case].append(child({"case": case, **common}))
                if "rival" in cases and source.name not in agreements:
                    agreements[source.name] = child({"case": "agreement", **common})
    return [
        case_runs(source, case, runs[source.name, case])
        for source in sources
        for case in HANDBOOK_CASES
        if runs[source.name, case]
    ], agreements


def case_runs(source: Input, case: str, measurements: list[dict[str, Any]]) -> CaseRuns:
    """The measurements of one case, by column."""
    columns = {name: [run[name] for run in measurements] for name in measurements[0]}
    return CaseRuns(
        input_name=source.name,
        case=CASE_NAMES.get(case, case),
        feature_set=source.feature_set,
        transactions=columns["transactions"],
        wall_seconds=columns["wall_seconds"],
        cpu_seconds=columns["cpu_seconds"],
        peak_memory_bytes=columns["peak_memory_bytes"],
        stages=[stages for stages in columns["stages"] if stages],
    )


def report(cases: list[CaseRuns], agreements: dict[str, Any], sizes: list[SizeRow], options: argparse.Namespace) -> str:
    """Everything measured, as Markdown."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    repeats = "one run of each case" if options.repeat == 1 else f"median of {options.repeat} repeats"
    lines = [f"{options.transactions:,} transactions, {repeats}, one core of: {machine}.\n"]
    lines.append(speed_table(cases))
    for name, shares in agreements.items():
        lines.append(
            f"On {name} the rival came to the same action in {shares['same_action']:.2%} and to the same 15 features "
            f"in {shares['same_features']:.2%} of its transactions.\n"
        )
    lines += [stage_table(cases), size_table(sizes)]
    return "\n".join(lines)


def said(text: str) -> None:
    """Progress, beside the result."""
    print(text, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transactions", type=int, default=500_000)
    parser.add_argument("--handbook", type=Path, help="the Fraud Detection Handbook's transactions, Parquet")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--rival-rows", type=int, default=20_000, help="how many rows the rival is timed on")
    parser.add_argument("--out", type=Path, help="write the tables here, too")
    options = parser.parse_args()
    if min(options.transactions, options.repeat, options.rival_rows) < 1:
        parser.error("--transactions, --repeat and --rival-rows must be above zero")
    if options.handbook is not None and not options.handbook.is_file():
        parser.error(f"{options.handbook} is no file")
    return options


def main() -> None:
    options = arguments()
    sources = inputs(options.transactions, options.handbook)
    cases, agreements = measured(sources, options, core=max(os.sched_getaffinity(0)))
    sizes = []
    for name in ("handbook", "default"):
        said(f"size of the state, {name} set")
        size = child({"case": "state", "feature_set": name, "customers": STATE_CUSTOMERS})
        sizes.append(SizeRow(name, **size))
    text = report(cases, agreements, sizes, options)
    print(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
