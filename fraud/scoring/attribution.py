"""Exact Shapley values of tree ensembles, vectorised over leaves.

The game is that of path-dependent TreeSHAP (Lundberg et al., Nature Machine Intelligence 2, 2020, algorithm 2): the
value of a set of features is what a tree gives when it follows the row at splits on them and averages over both
children, weighted by training cover, at every other split. A leaf with value v then plays a product game: with the
conditions on its path merged for each distinct feature, z_i the product of the feature's cover ratios and o_i 1 where
the row fulfils all its conditions and else 0, the leaf contributes v * prod_(i in S) o_i * prod_(i not in S) z_i to
the value of S. The Shapley weight |S|! (m - |S| - 1)! / m! is the Beta integral of t^|S| (1 - t)^(m - |S| - 1), so

    phi_i = v (o_i - z_i) integral_0^1 prod_(j != i) (z_j (1 - t) + o_j t) dt,

a polynomial of degree m - 1 that ceil(m / 2) Gauss-Legendre nodes integrate exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fraud.scoring.trees import BoolArray, FloatArray, Trees

# Rows and leaves at a time: with 4 nodes an array of 8 x 4 x 512 float64 is 128 KB, which stays in cache. Memory is
# bounded by some ten arrays of this size.
BLOCK_ROWS = 8
BLOCK_LEAVES = 512


@dataclass
class _Interval:
    """What one path asks of one feature: not x <= lower, and x <= upper; or missing, where every split sends it along.

    No lower bound is NaN: nothing is at or below it, not even minus infinity.
    """

    lower: float = np.nan
    upper: float = np.inf
    missing_follows: bool = True
    cover_ratio: float = 1.0


@dataclass(frozen=True)
class _LeafBlock:
    """Leaves whose paths have the same number m of distinct features.

    Arrays are [m, leaves] but for `value` [leaves] and the `nodes` and `weights` of the integral.
    """

    feature: npt.NDArray[np.intp]
    lower: FloatArray
    upper: FloatArray
    missing_follows: BoolArray
    cover_ratio: FloatArray
    value: FloatArray
    nodes: FloatArray
    weights: FloatArray


class TreeAttribution:
    """Contributions of features to the raw score of an ensemble.

    `base_value` plus a row's contributions is its raw score.
    """

    def __init__(self, trees: Trees) -> None:
        self._trees = trees
        paths = _leaf_paths(trees)
        self.base_value = _base_value(trees, paths)
        self._blocks = _leaf_blocks(paths)

    def contributions(self, matrix: FloatArray) -> FloatArray:
        """Shapley values for `matrix`, float64 [rows, features] with NaN as missing; float64 [rows, features]."""
        inputs = self._trees.inputs(matrix)
        result = np.zeros((len(matrix), self._trees.feature_count))
        for block in self._blocks:
            factors = _factors(block)
            for start in range(0, len(matrix), BLOCK_ROWS):
                rows = inputs[start : start + BLOCK_ROWS]
                result[start : start + BLOCK_ROWS] += _block_contributions(block, factors, rows)
        return result


@dataclass(frozen=True)
class _Factors:
    """The integrand of a block's leaves at each node t: what does not depend on the row.

    `fulfilled` z (1 - t) + t, `not_fulfilled` z (1 - t) and `share` (1 - z) / fulfilled are [m, nodes, leaves];
    `weighted`, the leaf's value times the node's weight, is [nodes, leaves].
    """

    remainder: FloatArray
    weighted: FloatArray
    fulfilled: FloatArray
    not_fulfilled: FloatArray
    share: FloatArray


def _factors(block: _LeafBlock) -> _Factors:
    remainder = (1.0 - block.nodes)[:, None]
    ratio = block.cover_ratio[:, None, :]
    fulfilled = ratio + block.nodes[:, None] * (1.0 - ratio)
    return _Factors(
        remainder=remainder,
        weighted=block.value * block.weights[:, None],
        fulfilled=fulfilled,
        not_fulfilled=ratio * remainder,
        share=(1.0 - ratio) / fulfilled,
    )


def _block_contributions(block: _LeafBlock, factors: _Factors, rows: FloatArray) -> FloatArray:
    """Sum over a block's leaves for each row and feature; float64 [rows, features]."""
    feature_count = rows.shape[1]
    path_length, leaf_count = block.feature.shape
    fulfilled = _fulfilled(block, rows)
    # The whole product, [rows, nodes, leaves], is divided by one factor later: all are positive as z > 0 and 0 < t < 1.
    product = np.empty((len(rows), len(block.nodes), leaf_count))
    product[:] = factors.weighted
    for k in range(path_length):
        product *= np.where(fulfilled[:, k, None, :], factors.fulfilled[k], factors.not_fulfilled[k])
    # (o - z) / factor is -1 / (1 - t) for every feature that is not fulfilled, whatever its z.
    not_fulfilled = -(product / factors.remainder).sum(axis=1)
    contributions = np.empty((len(rows), path_length, leaf_count))
    for k in range(path_length):
        contributions[:, k] = np.where(fulfilled[:, k], (product * factors.share[k]).sum(axis=1), not_fulfilled)
    row_offsets = (np.arange(len(rows), dtype=np.intp) * feature_count)[:, None, None]
    sums = np.bincount(
        (row_offsets + block.feature).ravel(), weights=contributions.ravel(), minlength=len(rows) * feature_count
    )
    return np.asarray(sums, dtype=np.float64).reshape(len(rows), feature_count)


def _fulfilled(block: _LeafBlock, rows: FloatArray) -> BoolArray:
    """Where a row fulfils all that a path asks of a feature, bool [rows, m, leaves]."""
    values = rows[:, block.feature]
    inside = ~(values <= block.lower) & (values <= block.upper)
    return np.asarray(inside | (np.isnan(values) & block.missing_follows), dtype=np.bool_)


def _legendre_nodes(path_length: int) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights on (0, 1) that integrate polynomials of degree `path_length` - 1 exactly.

    q Gauss-Legendre nodes are exact up to degree 2q - 1.
    """
    nodes, weights = np.polynomial.legendre.leggauss((path_length + 1) // 2)
    return (nodes + 1.0) / 2.0, weights / 2.0


def _leaf_paths(trees: Trees) -> list[tuple[float, dict[int, _Interval]]]:
    """Every leaf's value and the merged conditions on its path, trees in order."""
    feature, left, right = trees.feature.tolist(), trees.left.tolist(), trees.right.tolist()
    threshold, cover = trees.threshold.tolist(), trees.cover.tolist()
    paths: list[tuple[float, dict[int, _Interval]]] = []
    pending: list[tuple[int, dict[int, _Interval]]] = [(root, {}) for root in reversed(trees.roots.tolist())]
    while pending:
        node, path = pending.pop()
        if left[node] == node:
            paths.append((float(trees.value[node]), path))
            continue
        before = path.get(feature[node], _Interval())
        for child, goes_left in ((right[node], False), (left[node], True)):
            interval = _Interval(
                # A comparison with NaN is false, so the first bound replaces it.
                lower=before.lower if goes_left or before.lower > threshold[node] else threshold[node],
                upper=min(before.upper, threshold[node]) if goes_left else before.upper,
                missing_follows=before.missing_follows and bool(trees.missing_goes_left[node]) == goes_left,
                cover_ratio=before.cover_ratio * (cover[child] / cover[node]),
            )
            pending.append((child, {**path, feature[node]: interval}))
    return paths


def _base_value(trees: Trees, paths: list[tuple[float, dict[int, _Interval]]]) -> float:
    base = trees.offset
    for value, path in paths:
        expected = value
        for interval in path.values():
            expected *= interval.cover_ratio
        base += expected
    return base


def _leaf_blocks(paths: list[tuple[float, dict[int, _Interval]]]) -> list[_LeafBlock]:
    by_length: dict[int, list[tuple[float, dict[int, _Interval]]]] = {}
    for path in paths:
        by_length.setdefault(len(path[1]), []).append(path)
    # A tree of one leaf moves nothing: it is in the base value alone.
    by_length.pop(0, None)
    return [
        _leaf_block(group[start : start + BLOCK_LEAVES])
        for _, group in sorted(by_length.items())
        for start in range(0, len(group), BLOCK_LEAVES)
    ]


def _leaf_block(paths: list[tuple[float, dict[int, _Interval]]]) -> _LeafBlock:
    def table(attribute: str) -> FloatArray:
        rows = [[getattr(interval, attribute) for interval in path.values()] for _, path in paths]
        return np.ascontiguousarray(np.array(rows, dtype=np.float64).T)

    nodes, weights = _legendre_nodes(len(paths[0][1]))
    return _LeafBlock(
        feature=np.ascontiguousarray(np.array([list(path) for _, path in paths], dtype=np.intp).T),
        lower=table("lower"),
        upper=table("upper"),
        missing_follows=table("missing_follows").astype(np.bool_),
        cover_ratio=table("cover_ratio"),
        value=np.array([value for value, _ in paths]),
        nodes=nodes,
        weights=weights,
    )
