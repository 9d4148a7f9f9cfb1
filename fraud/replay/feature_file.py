"""`fraud features`: `transaction_id` and the feature values alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from fraud.features.table import FeatureSet
from fraud.pipeline import StageTimings
from fraud.replay.decision_table import feature_columns, feature_fields
from fraud.replay.feature_blocks import iterate_features
from fraud.replay.outputs import OutputFolder, ParquetOutput
from fraud.replay.run import DUPLICATE_CODE, ReplayOptions
from fraud.settings import Settings
from fraud.sources.mapping import Mapping
from fraud.sources.reader import TransactionFiles


@dataclass(frozen=True)
class WrittenFeatures:
    """How many rows were written, how many records were seen before, how many refused, and why the first of these."""

    rows: int
    duplicates: int
    rejected: int
    first_rejected: str


def write_features(
    settings: Settings,
    files: TransactionFiles,
    mapping: Mapping,
    feature_set: FeatureSet,
    options: ReplayOptions,
    timings: StageTimings,
    out: Path,
    progress: Callable[[int, int], None],
) -> WrittenFeatures:
    """Write `out` (Parquet), under its name only when it is whole."""
    schema = pa.schema([pa.field("transaction_id", pa.string()), *feature_fields(feature_set)])
    rows = records = duplicates = rejected = 0
    first_rejected = ""
    with OutputFolder(out.parent, files.paths) as folder:
        with closing(ParquetOutput(folder.path(out.name), schema)) as table:
            for block in iterate_features(settings, files, mapping, feature_set, options, timings):
                if block.transaction_ids:
                    identifiers = pa.array(block.transaction_ids, pa.string())
                    table.write([identifiers, *feature_columns(feature_set, block.matrix.T)])
                rows += len(block.transaction_ids)
                refused = [record for record in block.rejected if record.code != DUPLICATE_CODE]
                if refused and not rejected:
                    first_rejected = refused[0].place_and_reason
                rejected += len(refused)
                duplicates += len(block.rejected) - len(refused)
                records += block.records_read
                progress(files.bytes_read, records)
        folder.publish()
    return WrittenFeatures(rows, duplicates, rejected, first_rejected)
