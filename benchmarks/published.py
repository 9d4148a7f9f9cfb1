"""The `handbook` features of a file against the values that the Fraud Detection Handbook published for one week of it.

    python -m benchmarks.published TRANSACTIONS.parquet FEATURES.parquet

Computes the features as `fraud features` does, with labels known after 7 days, for the days from the first to the last
transaction of FEATURES; what came before warms the state. Prints a row for each published feature. Counts and flags
must be equal, the others within a millionth. The exit code is 1 if a value differs or a transaction is missing on
either side.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.tables import markdown
from fraud.features import feature_set
from fraud.features.handbook import LABEL_DELAY_MS
from fraud.features.table import DAY_MS, Feature
from fraud.pipeline import Period, StageTimings
from fraud.replay.feature_blocks import iterate_features
from fraud.replay.run import ReplayOptions, relaxed_collection
from fraud.settings import Settings
from fraud.sources.mapping import load_mapping
from fraud.sources.reader import TransactionFiles
from fraud.sources.records import SourceRecord
from fraud.transaction import timestamp_to_ms

FEATURES = feature_set("handbook")
TRANSACTION_ID = "TRANSACTION_ID"
# The published features leave the amount to the transactions.
NOT_PUBLISHED = "TX_AMOUNT"
TOLERANCE = 1e-6
EXIT_DIFFERENT = 1
# As many identifiers of missing transactions are printed.
SHOWN_IDS = 5

Reals = NDArray[np.float64]


@dataclass(frozen=True)
class FeatureComparison:
    """One feature over all transactions of both files; `largest_difference` is NaN if a value is missing."""

    name: str
    rows: int
    differing: int
    largest_difference: float


@dataclass(frozen=True)
class Comparison:
    """Every published feature, and the identifiers that only one side has, in the order of that side."""

    features: Sequence[FeatureComparison]
    not_computed: Sequence[str]
    not_published: Sequence[str]

    @property
    def is_equal(self) -> bool:
        """Whether no value differs and no transaction is missing."""
        return not (self.not_computed or self.not_published or any(feature.differing for feature in self.features))


def compared(transactions: Path, features: Path) -> Comparison:
    """Compute the features of `transactions` for the days of `features` and compare them, transaction by transaction.

    Raises `ValueError` for a file without the published columns or with transactions of which none is the other file's.
    """
    published = pq.read_table(features)
    rows = [row for row in FEATURES.rows if row.name != NOT_PUBLISHED]
    absent = {TRANSACTION_ID, *(row.name for row in rows)} - set(published.schema.names)
    if absent:
        raise ValueError(f"{features} has no column {', '.join(sorted(absent))}")
    published_ids = published.column(TRANSACTION_ID).cast(pa.string()).to_pylist()
    files = TransactionFiles([transactions], load_mapping("handbook"))
    ids, matrix = computed(files, days_of(files, set(published_ids)))
    places = {transaction_id: place for place, transaction_id in enumerate(ids)}
    shared = [number for number, transaction_id in enumerate(published_ids) if transaction_id in places]
    ours = matrix[[places[published_ids[number]] for number in shared]]
    only_ours = places.keys() - set(published_ids)
    return Comparison(
        [
            compared_feature(
                row,
                ours[:, FEATURES.names.index(row.name)],
                published.column(row.name).cast(pa.float64()).to_numpy()[shared],
            )
            for row in rows
        ],
        [transaction_id for transaction_id in published_ids if transaction_id not in places],
        [transaction_id for transaction_id in ids if transaction_id in only_ours],
    )


def days_of(files: TransactionFiles, transaction_ids: set[str]) -> Period:
    """From the first day, UTC, of these transactions to the end of the last one.

    Raises `ValueError` if the files have none of them.
    """
    days = {
        timestamp_to_ms(record.message.timestamp) // DAY_MS
        for block in files.blocks()
        for record in block
        if isinstance(record, SourceRecord) and record.message.transaction_id in transaction_ids
    }
    if not days:
        raise ValueError("none of the published transactions is in the file of transactions")
    return Period(min(days) * DAY_MS, (max(days) + 1) * DAY_MS)


def computed(files: TransactionFiles, period: Period) -> tuple[list[str], Reals]:
    """The identifiers of the period's transactions in file order, and their features, float64 [n, features]."""
    options = ReplayOptions(period, LABEL_DELAY_MS / DAY_MS)
    ids: list[str] = []
    matrices = []
    with relaxed_collection():
        for block in iterate_features(
            Settings(), files, load_mapping("handbook"), FEATURES, options, StageTimings(perf_counter)
        ):
            ids += block.transaction_ids
            matrices.append(block.matrix)
    return ids, np.concatenate(matrices)


def compared_feature(row: Feature, ours: Reals, published: Reals) -> FeatureComparison:
    """Compare the values [n] of one feature: whole numbers must be equal, a missing value differs from all."""
    differences = np.abs(ours - published)
    allowed = 0.0 if row.kind == "integer" else TOLERANCE
    differing = int(np.count_nonzero(~(differences <= allowed)))
    return FeatureComparison(row.name, len(ours), differing, float(differences.max(initial=0.0)))


def comparison_text(comparison: Comparison) -> str:
    """A table of the features, then how many values differ, and what is missing on either side."""
    cells = sum(feature.rows for feature in comparison.features)
    differing = sum(feature.differing for feature in comparison.features)
    table = markdown(
        ("feature", "rows", "differ", "largest difference"),
        [
            (feature.name, f"{feature.rows:,}", f"{feature.differing:,}", f"{feature.largest_difference:.1e}")
            for feature in comparison.features
        ],
    )
    lines = [table, f"{differing:,} of {cells:,} values differ."]
    for what, ids in (("not computed", comparison.not_computed), ("not published", comparison.not_published)):
        shown = ", ".join([*ids[:SHOWN_IDS], *["..."] * (len(ids) > SHOWN_IDS)])
        lines.append(f"Transactions {what}: {len(ids):,}{f' ({shown})' if ids else ''}.")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    """Compare the files that the command line, or `words`, names; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("transactions", type=Path, help="the Handbook's transactions, Parquet")
    parser.add_argument("features", type=Path, help="the Handbook's features of some of their days, Parquet")
    options = parser.parse_args(words)
    for file in (options.transactions, options.features):
        if not file.is_file():
            parser.error(f"{file} is no file")
    try:
        comparison = compared(options.transactions, options.features)
    except ValueError as error:
        parser.error(str(error))
    print(comparison_text(comparison))
    return 0 if comparison.is_equal else EXIT_DIFFERENT


if __name__ == "__main__":
    sys.exit(main())
