"""Rows to learn from and rows to judge by: the features that the service computes, and the labels known at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
LabelArray = npt.NDArray[np.int8]
IntegerArray = npt.NDArray[np.int64]


class FeatureRows(Protocol):
    """A block of decided transactions as replay hands it out, in arrival order.

    `matrix` is float64 [rows, features] with NaN as missing. `labels` are the file's truth: 1 fraud, 0 legitimate, -1
    unknown. `label_known_at_ms` is when each became known, -1 for never. `base_amounts_minor` are minor units of the
    base currency.
    """

    @property
    def timestamps_ms(self) -> IntegerArray: ...  # noqa: D102

    @property
    def matrix(self) -> FloatArray: ...  # noqa: D102

    @property
    def labels(self) -> LabelArray: ...  # noqa: D102

    @property
    def label_known_at_ms(self) -> IntegerArray: ...  # noqa: D102

    @property
    def base_amounts_minor(self) -> IntegerArray: ...  # noqa: D102


class DatasetError(Exception):
    """Rows that nothing can be learned from; the message says why and what to do."""


@dataclass(frozen=True)
class Dataset:
    """`matrix` float64 [rows, features], `labels` int8 [rows] of 1 and 0, `base_amounts_minor` int64 [rows]."""

    matrix: FloatArray
    labels: LabelArray
    base_amounts_minor: IntegerArray

    @property
    def row_count(self) -> int:
        """Number of rows."""
        return len(self.labels)

    @property
    def fraud_count(self) -> int:
        """Number of rows with label 1."""
        return int(self.labels.sum())


def split_by_time(blocks: Iterable[FeatureRows], period_to_ms: int) -> tuple[Dataset, Dataset]:
    """Training rows before `period_to_ms` with the labels known by then, and later rows, with the truth, to judge by.

    A fraud whose label was not known by `period_to_ms` is legitimate in training, as it was for everybody at that time.
    Rows whose file has no label are left out of both. Raises `DatasetError` if either part is empty or training has
    one class.
    """
    training: list[Dataset] = []
    validation: list[Dataset] = []
    for rows in blocks:
        labelled = rows.labels >= 0
        before = rows.timestamps_ms < period_to_ms
        known = (rows.label_known_at_ms >= 0) & (rows.label_known_at_ms <= period_to_ms)
        known_labels = np.where(known, rows.labels, 0).astype(np.int8)
        training.append(_selected(rows, known_labels, labelled & before))
        validation.append(_selected(rows, rows.labels, labelled & ~before))
    training_rows, validation_rows = _joined(training, "training"), _joined(validation, "validation")
    if training_rows.fraud_count in {0, training_rows.row_count}:
        raise DatasetError(
            f"of {training_rows.row_count} training rows {training_rows.fraud_count} are known as fraud at the end of "
            "the training period: a model needs both classes. Lengthen the period, or check the label column and the "
            "label delay"
        )
    return training_rows, validation_rows


def _selected(rows: FeatureRows, labels: LabelArray, chosen: npt.NDArray[np.bool_]) -> Dataset:
    return Dataset(rows.matrix[chosen], labels[chosen], rows.base_amounts_minor[chosen])


def _joined(parts: list[Dataset], name: str) -> Dataset:
    kept = [part for part in parts if part.row_count]
    if not kept:
        raise DatasetError(f"there are no labelled rows in the {name} period: check the period and the label column")
    return Dataset(
        np.concatenate([part.matrix for part in kept]),
        np.concatenate([part.labels for part in kept]),
        np.concatenate([part.base_amounts_minor for part in kept]),
    )


def data_hash(parts: Iterable[Dataset]) -> str:
    """SHA-256 over the shape, values, labels and amounts of each part in order."""
    digest = hashlib.sha256()
    for part in parts:
        for content in _canonical_bytes(part):
            digest.update(content)
    return digest.hexdigest()


def _canonical_bytes(part: Dataset) -> Iterator[bytes]:
    yield np.array(part.matrix.shape, dtype="<i8").tobytes()
    # Every missing value as the same NaN: arithmetic may have left different bits in it.
    yield np.where(np.isnan(part.matrix), np.nan, part.matrix).astype("<f8").tobytes()
    yield part.labels.astype("<i1").tobytes()
    yield part.base_amounts_minor.astype("<i8").tobytes()
