"""Contributions by lookup: what a leaf contributes depends only on which of the features on its path are fulfilled.

With m distinct features there are 2^m such patterns, so for short paths every answer is tabulated once. Which pattern
a row has at every leaf follows, as in `fraud.scoring.trees.MaskScorer`, from one binary search and one OR for each
feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
import numpy.typing as npt

from fraud.scoring.integral import integrand_factors, leaf_contributions
from fraud.scoring.paths import LeafBlock
from fraud.scoring.trees import FloatArray

# Patterns double with each feature: a leaf with 11 takes 180 KB. In boosted trees of 16 leaves one in a hundred has
# more than 8, and integrating these alone would cost as much as looking up all others.
PATTERN_MAX_FEATURES = 11
# Patterns tabulated at a time: 256 of 512 leaves with 11 features and 6 nodes are 70 MB.
_PATTERNS_AT_A_TIME = 256
# 100 trees with 31 leaves take 15 MB. A large forest must not take gigabytes: its other leaves are integrated.
TABLES_MAX_BYTES = 64 * 1024 * 1024
# Rows at a time: 16 rows of 3,000 leaves with 6 features are 2.3 MB.
BLOCK_ROWS = 16

PatternArray = npt.NDArray[np.uint16]


def tabulated_blocks(blocks: Sequence[LeafBlock]) -> list[LeafBlock]:
    """The first of `blocks` (shortest paths first) whose tables fit in `TABLES_MAX_BYTES`."""
    size = 0
    interval_count = _interval_count(blocks)
    for position, block in enumerate(blocks):
        path_length, leaf_count = block.feature.shape
        # A leaf's contributions for each pattern, and its pattern for each interval of every feature.
        size += leaf_count * (path_length * 2**path_length * 8 + 2 * interval_count)
        if path_length > PATTERN_MAX_FEATURES or size > TABLES_MAX_BYTES:
            return list(blocks[:position])
    return list(blocks)


def _interval_count(blocks: Sequence[LeafBlock]) -> int:
    """An upper bound: the distinct ends of what paths ask, features together."""
    ends = {
        end
        for block in blocks
        for bound in (block.lower, block.upper)
        for end in zip(block.feature.ravel().tolist(), bound.ravel().tolist(), strict=True)
        if isfinite(end[1])
    }
    return len(ends)


@dataclass(frozen=True)
class _ContributionTable:
    """`values` [leaves * 2^m, m]: the contributions of a leaf, at `first_rows[leaf]`, for each pattern of its features.

    `leaves` and `columns` are where the leaves and their contributions stand among those of all tables.
    """

    values: FloatArray
    first_rows: npt.NDArray[np.intp]
    leaves: slice
    columns: slice


@dataclass(frozen=True)
class _FeaturePatterns:
    """`patterns` [intervals, leaves]: the bit of `feature` in each leaf's pattern for each interval between `bounds`.

    The last interval is the missing value.
    """

    feature: int
    bounds: FloatArray
    patterns: PatternArray


class PatternTables:
    """Sums of the contributions of many leaves, by lookup."""

    def __init__(self, blocks: Sequence[LeafBlock], feature_count: int) -> None:
        self._feature_count = feature_count
        self._leaf_count = sum(len(block.value) for block in blocks)
        self._tables: list[_ContributionTable] = []
        leaf = column = 0
        for block in blocks:
            leaf_end, column_end = leaf + len(block.value), column + block.feature.size
            self._tables.append(_contribution_table(block, slice(leaf, leaf_end), slice(column, column_end)))
            leaf, column = leaf_end, column_end
        # In the order of the lookups: leaf by leaf, and the features of a path one after the other.
        self._targets = (
            np.concatenate([block.feature.T.ravel() for block in blocks]) if blocks else np.zeros(0, np.intp)
        )
        self._features = [_feature_patterns(blocks, feature) for feature in np.unique(self._targets).tolist()]

    def contributions(self, inputs: FloatArray) -> FloatArray:
        """Shapley values of the tabulated leaves for `inputs`, float64 [rows, features]; float64 [rows, features]."""
        result = np.zeros(inputs.shape)
        if not self._tables:
            return result
        for start in range(0, len(inputs), BLOCK_ROWS):
            for row, looked_up in enumerate(self._look_up(inputs[start : start + BLOCK_ROWS]), start):
                result[row] = np.bincount(self._targets, weights=looked_up, minlength=self._feature_count)
        return result

    def _look_up(self, rows: FloatArray) -> FloatArray:
        patterns = np.zeros((len(rows), self._leaf_count), dtype=np.uint16)
        for found in self._features:
            patterns |= found.patterns.take(found.bounds.searchsorted(rows[:, found.feature]), axis=0)
        contributions = np.empty((len(rows), len(self._targets)))
        for table in self._tables:
            values = table.values.take(patterns[:, table.leaves] + table.first_rows, axis=0)
            contributions[:, table.columns] = values.reshape(len(rows), -1)
        return contributions


def _contribution_table(block: LeafBlock, leaves: slice, columns: slice) -> _ContributionTable:
    path_length, leaf_count = block.feature.shape
    bits = np.arange(2**path_length)[:, None] >> np.arange(path_length) & 1
    fulfilled = np.broadcast_to(bits.astype(np.bool_)[:, :, None], (2**path_length, path_length, leaf_count))
    factors = integrand_factors(block)
    values = np.concatenate(
        [
            leaf_contributions(factors, fulfilled[start : start + _PATTERNS_AT_A_TIME])
            for start in range(0, 2**path_length, _PATTERNS_AT_A_TIME)
        ]
    )
    return _ContributionTable(
        values=np.ascontiguousarray(values.transpose(2, 0, 1)).reshape(-1, path_length),
        first_rows=np.arange(leaf_count, dtype=np.intp) * 2**path_length,
        leaves=leaves,
        columns=columns,
    )


def _feature_patterns(blocks: Sequence[LeafBlock], feature: int) -> _FeaturePatterns:
    used = [block.feature == feature for block in blocks]
    ends = [bound[mask] for block, mask in zip(blocks, used, strict=True) for bound in (block.lower, block.upper)]
    thresholds = np.unique(np.concatenate(ends))
    # As in the mask tables: infinity answers for everything above the last threshold, NaN for NaN. An interval is open
    # at its lower end and holds its upper bound, which therefore stands for all of it.
    bounds = np.concatenate([thresholds[np.isfinite(thresholds)], [np.inf, np.nan]])
    patterns = [_block_patterns(block, mask, bounds) for block, mask in zip(blocks, used, strict=True)]
    return _FeaturePatterns(feature, bounds, np.concatenate(patterns, axis=1))


def _block_patterns(block: LeafBlock, used: npt.NDArray[np.bool_], values: FloatArray) -> PatternArray:
    """The bit that each of `values` sets in the pattern of each leaf, uint8 [values, leaves].

    A path names a feature once.
    """
    patterns = np.zeros((len(values), len(block.value)), dtype=np.uint16)
    positions, leaves = np.nonzero(used)
    lower, upper = block.lower[positions, leaves], block.upper[positions, leaves]
    inside = ~(values[:, None] <= lower) & (values[:, None] <= upper)
    inside |= np.isnan(values)[:, None] & block.missing_follows[positions, leaves]
    patterns[:, leaves] = inside << positions.astype(np.uint16)
    return patterns
