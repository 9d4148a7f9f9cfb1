"""Rows to learn from: a matrix, the labels known by the end of training, and the amounts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
LabelArray = npt.NDArray[np.int8]
IntegerArray = npt.NDArray[np.int64]


class DatasetError(Exception):
    """Rows that nothing can be learned from, or judged by; the message says why and what to do."""


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
