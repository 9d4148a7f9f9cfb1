"""Contributions by lookup: what a leaf contributes depends only on which of the features on its path are fulfilled.

With m distinct features there are 2^m such patterns, so for short paths every answer is tabulated once. Which pattern
a row has at every leaf follows, as in `fraud.scoring.trees.MaskScorer`, from one binary search and one OR for each
feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import numpy as np
import numpy.typing as npt

from fraud.features.compiled import Integers, compiled
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


class PatternTables:
    """Sums of the contributions of many leaves, by lookup.

    A leaf's contributions for its pattern stand in `_values` at `_first_values[leaf]` plus the pattern times the
    features of its path, as many as these; `_targets` has these features, leaf by leaf. Of each feature that a path
    names, `_patterns` [intervals, leaves] has the bit that each interval between its bounds sets in the pattern of each
    leaf. The bounds of `_features[i]` are those from `_bounds_at[i]` on; its last interval is the missing value.
    """

    def __init__(self, blocks: Sequence[LeafBlock], feature_count: int) -> None:
        tables = [_contributions_by_pattern(block) for block in blocks]
        lengths = [block.feature.shape[0] for block in blocks for _ in block.value]
        patterns_of_leaf = [2**length * length for length in lengths]
        self._leaf_count = len(lengths)
        self._lengths = np.array(lengths, np.int64)
        self._first_values = np.cumsum([0, *patterns_of_leaf], dtype=np.int64)[: self._leaf_count]
        self._values = np.concatenate([np.zeros(0), *(table.ravel() for table in tables)])
        targets = [np.zeros(0, np.int64), *(block.feature.T.ravel().astype(np.int64) for block in blocks)]
        self._targets = np.concatenate(targets)
        self._features = np.unique(self._targets)
        found = [_feature_patterns(blocks, feature) for feature in self._features.tolist()]
        self._bounds = np.concatenate([np.zeros(0), *(bounds for bounds, _ in found)])
        self._bounds_at = np.cumsum([0, *(len(bounds) for bounds, _ in found)], dtype=np.int64)
        no_patterns = np.zeros((0, self._leaf_count), np.uint16)
        self._patterns = np.concatenate([no_patterns, *(patterns for _, patterns in found)])

    def contributions(self, inputs: FloatArray) -> FloatArray:
        """Shapley values of the tabulated leaves for `inputs`, float64 [rows, features]; float64 [rows, features]."""
        result = np.zeros(inputs.shape)
        _add_contributions(
            np.ascontiguousarray(inputs),
            self._features,
            self._bounds,
            self._bounds_at,
            self._patterns,
            self._lengths,
            self._first_values,
            self._values,
            self._targets,
            result,
        )
        return result


@compiled
def _add_contributions(
    inputs: FloatArray,
    features: Integers,
    bounds: FloatArray,
    bounds_at: Integers,
    patterns: PatternArray,
    lengths: Integers,
    first_values: Integers,
    values: FloatArray,
    targets: Integers,
    result: FloatArray,
) -> None:
    """Add to `result`, for each row, the contributions of all leaves: leaf by leaf, whatever rows are beside it."""
    pattern = np.empty(len(lengths), np.uint16)
    for row in range(len(inputs)):
        pattern[:] = 0
        for number in range(len(features)):
            value = inputs[row, features[number]]
            low, high = bounds_at[number], bounds_at[number + 1] - 1
            if np.isnan(value):
                low = high
            while low < high:
                middle = (low + high) // 2
                if bounds[middle] < value:
                    low = middle + 1
                else:
                    high = middle
            pattern |= patterns[low]
        target = 0
        for leaf in range(len(lengths)):
            first = first_values[leaf] + np.int64(pattern[leaf]) * lengths[leaf]
            for place in range(lengths[leaf]):
                result[row, targets[target]] += values[first + place]
                target += 1


def _contributions_by_pattern(block: LeafBlock) -> FloatArray:
    """What each leaf of a block contributes, float64 [leaves, patterns, features of the path]."""
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
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def _feature_patterns(blocks: Sequence[LeafBlock], feature: int) -> tuple[FloatArray, PatternArray]:
    """The bounds of a feature's intervals, and what each interval sets in the patterns, uint16 [intervals, leaves]."""
    used = [block.feature == feature for block in blocks]
    ends = [bound[mask] for block, mask in zip(blocks, used, strict=True) for bound in (block.lower, block.upper)]
    thresholds = np.unique(np.concatenate(ends))
    # As in the mask tables: infinity answers for everything above the last threshold, NaN for NaN. An interval is open
    # at its lower end and holds its upper bound, which therefore stands for all of it.
    bounds = np.concatenate([thresholds[np.isfinite(thresholds)], [np.inf, np.nan]])
    patterns = [_block_patterns(block, mask, bounds) for block, mask in zip(blocks, used, strict=True)]
    return bounds, np.concatenate(patterns, axis=1)


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
