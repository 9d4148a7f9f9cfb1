"""What the learning benchmark times: making a dataset, fitting and judging, sliding over weeks with counted reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.inputs import LABEL_DELAY_DAYS, SEED, Input, first_timestamp_ms
from benchmarks.stopwatch import Measurement, Stopwatch
from fraud.transaction import timestamp_to_text

if TYPE_CHECKING:
    from fraud.sources.records import Record
    from training.fitting import FitPeriods
    from training.labelled_rows import LabelledRows

DAY_MS = 86_400_000
# One week is what a model is judged on before it goes live, and what the Handbook's reference is.
JUDGED_DAYS = 7
# Two weeks of rows, of which the last becomes known in the week after them.
BEFORE_FIRST_TEST_DAYS = 21
CONFIGURATIONS = Path(__file__).resolve().parent.parent / "training" / "configurations"


@dataclass
class CountedReads:
    """How often transaction files were read, and how many records came out of them, good or bad."""

    readings: int = 0
    records: int = 0


@contextmanager
def counted_reads() -> Iterator[CountedReads]:
    """Count every reading of transaction files in this process; what is read stays as it is."""
    from fraud.sources.reader import TransactionFiles

    counts = CountedReads()
    blocks = TransactionFiles.blocks

    def counting(files: TransactionFiles) -> Iterator[list[Record]]:
        counts.readings += 1
        for block in blocks(files):
            counts.records += len(block)
            yield block

    TransactionFiles.blocks = counting  # type: ignore[method-assign]
    try:
        yield counts
    finally:
        TransactionFiles.blocks = blocks  # type: ignore[method-assign]


def first_rows(file: Path, count: int, folder: Path) -> Path:
    """The first `count` rows of a file of transactions as a file of its own; of JSON lines, its first lines."""
    import pyarrow.parquet as pq

    cut = folder / f"first-{count}-{file.name}"
    if file.suffix == ".parquet":
        pq.write_table(pq.read_table(file).slice(0, count), cut)
        return cut
    with file.open("rb") as lines, cut.open("wb") as first:
        for _, line in zip(range(count), lines, strict=False):
            first.write(line)
    return cut


def dataset(source: Input, transactions: int, out: Path) -> Measurement:
    """The whole of `fraud-train dataset`: from the file to features and labels in Parquet. Imports are not counted.

    `transactions`: how many the file holds.
    """
    from fraud.replay.run import relaxed_collection
    from fraud.settings import Settings
    from training.building import FilesRequest, ReplayedFiles
    from training.dataset_file import write_dataset

    request = FilesRequest((Path(source.file),), source.mapping, source.feature_set, LABEL_DELAY_DAYS, inputs=None)
    watch = Stopwatch()
    with relaxed_collection(), watch.running():
        replayed = ReplayedFiles(Settings(), request, perf_counter)
        blocks = replayed.blocks(lambda _bytes, _records: None)
        rows = write_dataset(out, replayed.origin, replayed.features, blocks, replayed.input_kinds)
    return Measurement(transactions, watch.wall_seconds, watch.cpu_seconds, facts={"rows": rows})


def fit_and_judge(rows_file: Path, row_count: int, folder: Path) -> Measurement:
    """Read a dataset, fit boosting with its defaults on `row_count` rows, judge the week after with 1,000 draws.

    `stages` are the processor seconds of each; `transactions` the rows learned from, `facts` has the rows judged.
    """
    from fraud.scoring.model import load_model
    from training.configuration import BoostingConfiguration, FitConfiguration
    from training.dataset_file import read_dataset
    from training.evaluation import EvaluationOptions, JudgedPeriod, evaluate
    from training.exact_scores import unrounded_scores
    from training.fitting import fit_and_write
    from training.metrics.cost import CostModel

    watches = {name: Stopwatch() for name in ("read", "fit", "judge")}
    with watches["read"].running():
        rows = read_dataset(rows_file)
    periods = _periods(rows, row_count)
    with watches["fit"].running():
        configuration = FitConfiguration(BoostingConfiguration(), SEED)
        written = fit_and_write(rows, configuration, periods, folder, "", lambda _line: None)
        model = load_model(folder, rows.origin.feature_set_name, rows.origin.feature_set_hash)
    with watches["judge"].running():
        from_ms = periods.train_to_ms
        positions = rows.test_positions(
            from_ms, periods.validate_to_ms, compromised_from_ms=from_ms - 2 * JUDGED_DAYS * DAY_MS
        )
        scores = {"model": unrounded_scores(model, rows.matrix[positions])}
        options = EvaluationOptions(10**rows.origin.base_exponent, CostModel(), None, SEED)
        found = evaluate([JudgedPeriod(from_ms, rows.judged(positions), scores)], options)
    return Measurement(
        written.manifest.training.row_count,
        sum(watch.wall_seconds for watch in watches.values()),
        sum(watch.cpu_seconds for watch in watches.values()),
        stages={name: watch.cpu_seconds for name, watch in watches.items()},
        facts={"judged_rows": found.rows},
    )


def _periods(rows: LabelledRows, row_count: int) -> FitPeriods:
    """The newest week whose labels are all known is judged, the `row_count` rows known before it are learned from."""
    from training.fitting import FitPeriods

    delay_ms = round(LABEL_DELAY_DAYS * DAY_MS)
    judged_to_ms = (int(rows.timestamps_ms.max()) - delay_ms) // DAY_MS * DAY_MS
    train_to_ms = judged_to_ms - JUDGED_DAYS * DAY_MS
    known = np.sort(rows.timestamps_ms[rows.timestamps_ms <= train_to_ms - delay_ms])
    return FitPeriods(int(known[-row_count:][0]), train_to_ms, judged_to_ms, LABEL_DELAY_DAYS)


def prequential(source: Input, weeks: int, out: Path) -> Measurement:
    """The whole of `fraud-train prequential` from a file of transactions, with the Handbook's boosting, to its end.

    `transactions` are the records that came out of the file; `facts` has how often it was read, and the weeks judged.
    """
    from training.cli import main as fraud_train

    # Looks into the file itself, which is no reading of the command's.
    begins = first_test(source)
    watch = Stopwatch()
    with counted_reads() as counts, watch.running():
        fraud_train(
            [
                *("prequential", source.file, "--mapping", source.mapping, "--feature-set", source.feature_set),
                *("--config", str(CONFIGURATIONS / "reference_boosting.yaml"), "--out", str(out)),
                *("--label-delay-days", f"{LABEL_DELAY_DAYS:g}"),
                *("--first-test", begins, "--weeks", str(weeks)),
            ],
            standalone_mode=False,
        )
    (section,) = json.loads((out / "evaluation.json").read_bytes())["sections"]
    facts = {"readings": counts.readings, "judged_weeks": len(section["evaluation"]["periods"])}
    return Measurement(counts.records, watch.wall_seconds, watch.cpu_seconds, facts=facts)


def first_test(source: Input) -> str:
    """The first day of test, behind the rows that the first of them is learned from."""
    start_ms = first_timestamp_ms(source) // DAY_MS * DAY_MS
    return timestamp_to_text(start_ms + BEFORE_FIRST_TEST_DAYS * DAY_MS)
