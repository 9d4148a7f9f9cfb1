"""What a tree asks on the way to each leaf, merged for each distinct feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fraud.scoring.trees import BoolArray, FloatArray, Trees

# Leaves worked on at a time: with 8 rows and 4 nodes an array of the integral is 128 KB, which stays in cache, and
# memory is bounded by some ten of them.
BLOCK_LEAVES = 512


@dataclass
class Interval:
    """What one path asks of one feature: not x <= lower, and x <= upper; or missing, where every split sends it along.

    No lower bound is NaN: nothing is at or below it, not even minus infinity.
    """

    lower: float = np.nan
    upper: float = np.inf
    missing_follows: bool = True
    cover_ratio: float = 1.0


Path = tuple[float, dict[int, Interval]]


@dataclass(frozen=True)
class LeafBlock:
    """Leaves whose paths have the same number m of distinct features.

    Arrays are [m, leaves] but for `value` [leaves].
    """

    feature: npt.NDArray[np.intp]
    lower: FloatArray
    upper: FloatArray
    missing_follows: BoolArray
    cover_ratio: FloatArray
    value: FloatArray

    def fulfilled(self, rows: FloatArray) -> BoolArray:
        """Where each of `rows`, float64 [rows, features], fulfils all asked of a feature; bool [rows, m, leaves]."""
        values = rows[:, self.feature]
        inside = ~(values <= self.lower) & (values <= self.upper)
        return np.asarray(inside | (np.isnan(values) & self.missing_follows), dtype=np.bool_)


def leaf_paths(trees: Trees) -> list[Path]:
    """Every leaf's value and the merged conditions on its path, trees in order."""
    feature, left, right = trees.feature.tolist(), trees.left.tolist(), trees.right.tolist()
    threshold, cover = trees.threshold.tolist(), trees.cover.tolist()
    paths: list[Path] = []
    pending: list[tuple[int, dict[int, Interval]]] = [(root, {}) for root in reversed(trees.roots.tolist())]
    while pending:
        node, path = pending.pop()
        if left[node] == node:
            paths.append((float(trees.value[node]), path))
            continue
        before = path.get(feature[node], Interval())
        for child, goes_left in ((right[node], False), (left[node], True)):
            interval = Interval(
                # A comparison with NaN is false, so the first bound replaces it.
                lower=before.lower if goes_left or before.lower > threshold[node] else threshold[node],
                upper=min(before.upper, threshold[node]) if goes_left else before.upper,
                missing_follows=before.missing_follows and bool(trees.missing_goes_left[node]) == goes_left,
                cover_ratio=before.cover_ratio * (cover[child] / cover[node]),
            )
            pending.append((child, {**path, feature[node]: interval}))
    return paths


def base_value(trees: Trees, paths: Sequence[Path]) -> float:
    """The raw score when every split is averaged over its children by cover."""
    base = trees.offset
    for value, path in paths:
        expected = value
        for interval in path.values():
            expected *= interval.cover_ratio
        base += expected
    return base


def leaf_blocks(paths: Sequence[Path]) -> list[LeafBlock]:
    """The leaves by the number of distinct features on their paths, ascending, at most `BLOCK_LEAVES` in each block."""
    by_length: dict[int, list[Path]] = {}
    for path in paths:
        by_length.setdefault(len(path[1]), []).append(path)
    # A tree of one leaf moves nothing: it is in the base value alone.
    by_length.pop(0, None)
    return [
        _leaf_block(group[start : start + BLOCK_LEAVES])
        for _, group in sorted(by_length.items())
        for start in range(0, len(group), BLOCK_LEAVES)
    ]


def _leaf_block(paths: list[Path]) -> LeafBlock:
    def table(attribute: str) -> FloatArray:
        rows = [[getattr(interval, attribute) for interval in path.values()] for _, path in paths]
        return np.ascontiguousarray(np.array(rows, dtype=np.float64).T)

    return LeafBlock(
        feature=np.ascontiguousarray(np.array([list(path) for _, path in paths], dtype=np.intp).T),
        lower=table("lower"),
        upper=table("upper"),
        missing_follows=table("missing_follows").astype(np.bool_),
        cover_ratio=table("cover_ratio"),
        value=np.array([value for value, _ in paths]),
    )
