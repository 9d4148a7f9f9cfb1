"""Datasets as Parquet files: features under their own names beside what is known about each row."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fraud.features.table import FeatureSet
from fraud.replay.decision_table import feature_columns, feature_fields
from fraud.replay.feature_blocks import FeatureBlock
from fraud.replay.outputs import OutputFolder, ParquetOutput
from fraud.rules.values import Kind
from training.dataset import DatasetError
from training.labelled_rows import FRAUD, NEVER_KNOWN_MS, UNKNOWN, DatasetOrigin, LabelledRows

# The origin stands in the file's own metadata under this name; a file without it is not a dataset.
_ORIGIN_KEY = b"fraud.dataset.1"
_TIME = pa.timestamp("ms", tz="UTC")
_ROW_FIELDS = (
    pa.field("transaction_id", pa.string()),
    pa.field("user_id", pa.string()),
    pa.field("merchant_id", pa.string()),
    pa.field("terminal_id", pa.string()),
    pa.field("timestamp", _TIME),
    pa.field("base_amount_minor", pa.int64()),
    pa.field("is_fraud", pa.bool_()),
    pa.field("label_known_at", _TIME),
    pa.field("fraud_scenario", pa.string()),
    pa.field("row_weight", pa.float64()),
)


_INPUT_TYPES = {Kind.NUMBER: pa.float64(), Kind.BOOLEAN: pa.bool_(), Kind.TEXT: pa.string()}


def write_dataset(
    path: Path,
    origin: DatasetOrigin,
    features: FeatureSet,
    blocks: Iterable[FeatureBlock],
    input_kinds: Mapping[str, Kind] | None = None,
) -> int:
    """Write the rows of `blocks` to `path`, which has its name only when it is whole; returns how many.

    `input_kinds`: the inputs of rules that every block has, by name, with their types; none unless given. Raises
    `OutputError` where nothing can be written, `DatasetError` when there are no rows.
    """
    held = {field.name for field in _ROW_FIELDS}
    inputs = {name: _INPUT_TYPES[kind] for name, kind in (input_kinds or {}).items() if name not in held}
    fields = [*_ROW_FIELDS, *(pa.field(name, of_type) for name, of_type in inputs.items()), *feature_fields(features)]
    schema = pa.schema(fields, metadata={_ORIGIN_KEY: msgspec.json.encode(origin)})
    rows = 0
    with OutputFolder(path.parent) as folder:
        with closing(ParquetOutput(folder.path(path.name), schema)) as output:
            for block in blocks:
                if block.transaction_ids:
                    of_rules = [_input_column(block.inputs[name], of_type) for name, of_type in inputs.items()]
                    output.write([*_row_columns(block), *of_rules, *feature_columns(features, block.matrix.T)])
                rows += len(block.transaction_ids)
        if not rows:
            raise DatasetError("there are no transactions in the period: nothing was written")
        folder.publish()
    return rows


def _row_columns(block: FeatureBlock) -> list[pa.Array]:
    transactions = block.gathered.transactions
    unlabelled = block.labels == UNKNOWN
    return [
        pa.array(block.transaction_ids, pa.string()),
        pa.array([transaction.user_id for transaction in transactions], pa.string()),
        pa.array([transaction.merchant_id for transaction in transactions], pa.string()),
        pa.array([transaction.terminal_id for transaction in transactions], pa.string()),
        pa.array(block.timestamps_ms, pa.int64()).cast(_TIME),
        pa.array(block.base_amounts_minor, pa.int64()),
        pa.array(block.labels == FRAUD, mask=unlabelled),
        pa.array(block.label_known_at_ms, pa.int64(), mask=block.label_known_at_ms == NEVER_KNOWN_MS).cast(_TIME),
        pa.array(block.scenarios, pa.string()),
        pa.array(block.weights, pa.float64()),
    ]


def _input_column(values: np.ndarray[Any, Any], of_type: pa.DataType) -> pa.Array:
    if pa.types.is_string(of_type):
        return pa.array(values, of_type)
    missing = np.isnan(values)
    return pa.array(values == 1 if pa.types.is_boolean(of_type) else values, of_type, mask=missing)


def dataset_origin(path: Path) -> DatasetOrigin | None:
    """What the file says about itself; None if it is not a dataset. Raises `DatasetError` if it cannot be read."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise DatasetError(f"{path} is missing") from error
        return None
    if _ORIGIN_KEY not in metadata:
        return None
    try:
        return msgspec.json.decode(metadata[_ORIGIN_KEY], type=DatasetOrigin)
    except msgspec.DecodeError as error:
        raise DatasetError(f"{path} was written by another version: {error}. Make the dataset again") from error


def read_dataset(path: Path, inputs: Collection[str] = ()) -> LabelledRows:
    """Read a dataset, and those of the named inputs of rules that it holds.

    Raises `DatasetError`, naming the file, if it is not one or is damaged.
    """
    origin = dataset_origin(path)
    if origin is None:
        raise DatasetError(f"{path} is not a dataset; fraud-train dataset writes one")
    try:
        with pq.ParquetFile(path) as file:
            return _read(file, origin, inputs)
    except (pa.ArrowException, KeyError, OSError) as error:
        raise DatasetError(f"{path} is damaged: {error}. Make the dataset again") from error


def _read(file: pq.ParquetFile, origin: DatasetOrigin, inputs: Collection[str]) -> LabelledRows:
    count = file.metadata.num_rows
    matrix = np.empty((count, len(origin.feature_names)))
    start = 0
    # By row group: the whole table beside the matrix would need twice the memory.
    for batch in _groups(file, origin.feature_names):
        for index, name in enumerate(origin.feature_names):
            matrix[start : start + batch.num_rows, index] = _as_float(batch.column(name))
        start += batch.num_rows
    columns = file.read([field.name for field in _ROW_FIELDS if field.name not in {"merchant_id", "terminal_id"}])
    customers, _ = _codes(columns["user_id"])
    scenarios, scenario_names = _codes(columns["fraud_scenario"])
    return LabelledRows(
        origin=origin,
        matrix=matrix,
        timestamps_ms=columns["timestamp"].cast(pa.int64()).to_numpy(),
        labels=columns["is_fraud"].cast(pa.int8()).fill_null(UNKNOWN).to_numpy(),
        label_known_at_ms=columns["label_known_at"].cast(pa.int64()).fill_null(NEVER_KNOWN_MS).to_numpy(),
        base_amounts_minor=columns["base_amount_minor"].to_numpy(),
        customers=customers,
        scenarios=scenarios,
        scenario_names=scenario_names,
        weights=columns["row_weight"].to_numpy(),
        inputs=_inputs(file, sorted(set(inputs) - set(origin.feature_names))),
    )


def _inputs(file: pq.ParquetFile, names: list[str]) -> dict[str, np.ndarray[Any, Any]]:
    held = file.read([name for name in names if name in file.schema_arrow.names])
    return {
        name: held[name].to_numpy() if pa.types.is_string(held[name].type) else _as_float(held[name])
        for name in held.column_names
    }


def _groups(file: pq.ParquetFile, names: tuple[str, ...]) -> Iterator[pa.Table]:
    for group in range(file.metadata.num_row_groups):
        yield file.read_row_group(group, columns=list(names))


def _as_float(column: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.float64]]:
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    values: np.ndarray[Any, np.dtype[np.float64]] = column.cast(pa.float64()).fill_null(np.nan).to_numpy()
    return values


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray[Any, np.dtype[np.int32]], tuple[str, ...]]:
    """A number for each text in order of first appearance, -1 for none; and the texts."""
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32), tuple(
        encoded.dictionary.to_pylist()
    )
