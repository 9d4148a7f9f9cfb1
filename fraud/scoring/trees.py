"""Decision trees as flat arrays, checked once, and two ways to score a matrix with them.

Both ways only gather, compare and add in an order that a row's position in the batch cannot change, so a score has
the same bits in every batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fraud.features.compiled import Integers, compiled, trailing_zeros

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.int32]
BoolArray = npt.NDArray[np.bool_]

# Leaves of one tree that fit in one machine word, the widest mask that there is.
MASK_MAX_LEAVES = 64
# Beyond this the mask tables leave every cache and walking the trees is faster (docs/models.md has the figures).
MASK_TABLE_MAX_BYTES = 32 * 1024 * 1024
# Rows at a time: the values of 100 trees (400 KB) stay in a core's second level cache until they are added.
BLOCK_ROWS = 512


@dataclass(frozen=True)
class Trees:
    """An ensemble of binary trees with `x <= threshold` to the left, all nodes in one set of arrays.

    `left` and `right` are indices into the same arrays and greater than the node's own; a leaf names itself as both.
    `value` is what a leaf adds to the raw score. `cover` is the weight of the training rows that reached the node, in
    any unit. `roots` are the first nodes of the trees, ascending. With `single_precision` inputs are rounded to
    float32 before they are compared, because the trees were grown on float32.
    """

    feature: IndexArray
    threshold: FloatArray
    missing_goes_left: BoolArray
    left: IndexArray
    right: IndexArray
    value: FloatArray
    cover: FloatArray
    roots: IndexArray
    feature_count: int
    offset: float
    single_precision: bool

    def inputs(self, matrix: FloatArray) -> FloatArray:
        """The values that the trees compare.

        `matrix`, float64 [rows, features], rounded to float32 where they were grown on it.
        """
        if not self.single_precision:
            return matrix
        # A value beyond float32 becomes infinite, which is on the same side of every threshold.
        with np.errstate(over="ignore"):
            return matrix.astype(np.float32).astype(np.float64)


def check_trees(trees: Trees) -> None:
    """Raise `ValueError` for arrays that are no trees.

    That is: nodes out of range, circular, shared or without a parent, and values that are not finite.

    A file of trusted types may still hold indices that point outside of the arrays; nothing is scored before this
    check.
    """
    count = len(trees.feature)
    own = np.arange(count, dtype=np.int32)
    leaf = trees.left == own
    inner = ~leaf
    if not np.array_equal(leaf, trees.right == own):
        raise ValueError("a node has only one child")
    for children in (trees.left[inner], trees.right[inner]):
        if not np.all((children > own[inner]) & (children < count)):
            raise ValueError("a child node is out of range")
    parents = np.bincount(np.concatenate([trees.left[inner], trees.right[inner], trees.roots]), minlength=count)
    if not np.all(parents == 1):
        raise ValueError("a node has no parent or several")
    if not np.all((trees.feature[inner] >= 0) & (trees.feature[inner] < trees.feature_count)):
        raise ValueError("a node splits on a feature that does not exist")
    if (
        np.isnan(trees.threshold[inner]).any()
        or not np.isfinite(trees.value[leaf]).all()
        or not np.isfinite(trees.offset)
    ):
        raise ValueError("a threshold or a leaf value is not a number")
    if not np.all(np.isfinite(trees.cover) & (trees.cover > 0)):
        raise ValueError("a node has no training rows")


def leaf_counts(trees: Trees) -> npt.NDArray[np.int64]:
    """Leaves of each tree, int64 [trees]."""
    leaf = trees.left == np.arange(len(trees.left), dtype=np.int32)
    return np.add.reduceat(leaf.astype(np.int64), trees.roots)


def _raw_scores(trees: Trees, matrix: FloatArray, find: Callable[[FloatArray, FloatArray], None]) -> FloatArray:
    """Sum of the leaf values and the offset for each row, float64 [rows].

    `find` takes a block of rows and fills an array, float64 [rows, trees], with the values of the leaves they reach.
    """
    scores = np.empty(len(matrix))
    for start in range(0, len(matrix), BLOCK_ROWS):
        block = np.ascontiguousarray(trees.inputs(matrix[start : start + BLOCK_ROWS]))
        reached = np.empty((len(block), len(trees.roots)))
        find(block, reached)
        scores[start : start + BLOCK_ROWS] = reached.sum(axis=1)
    return scores + trees.offset


class MaskScorer:
    """Scores by bit masks over leaves, without walking a tree (QuickScorer: Lucchese et al., SIGIR 2015).

    A false condition removes the leaves below its true side. For each feature the thresholds of all trees are sorted
    together, and for each interval between them the AND of all masks is tabulated, one mask for each tree. A row costs
    one binary search, one table row and one AND for each feature; the lowest leaf left over in each tree is the one
    reached.
    """

    def __init__(self, trees: Trees) -> None:
        width = max(8, 1 << (int(leaf_counts(trees).max()) - 1).bit_length())
        self._trees = trees
        self._word: np.dtype[Any] = np.dtype(f"uint{width}")
        self._tree_count = len(trees.roots)
        conditions, leaves = _conditions(trees, width)
        values = np.zeros((self._tree_count, width))
        for tree, nodes in enumerate(leaves):
            values[tree, : len(nodes)] = trees.value[nodes]
        self._values = values
        self._every_leaf = self._word.type(np.iinfo(self._word).max)
        features = sorted(conditions)
        tables = [_mask_table(conditions[feature], self._tree_count, self._word) for feature in features]
        self._features = np.array(features, dtype=np.int64)
        # The bounds of all features one after the other, and where those of each start.
        self._starts = np.cumsum([0, *(len(bounds) for bounds, _ in tables)])
        self._bounds = np.concatenate([np.empty(0), *(bounds for bounds, _ in tables)])
        self._table = np.concatenate([np.empty((0, self._tree_count), self._word), *(table for _, table in tables)])

    def raw_scores(self, matrix: FloatArray) -> FloatArray:
        """Sum of the leaf values and the offset for `matrix`, float64 [rows, features]; float64 [rows]."""
        return _raw_scores(self._trees, matrix, self._find)

    def _find(self, block: FloatArray, reached: FloatArray) -> None:
        _find_reached(
            block, self._features, self._starts, self._bounds, self._table, self._every_leaf, self._values, reached
        )


@compiled
def _find_reached(
    block: FloatArray,
    features: Integers,
    starts: Integers,
    bounds: FloatArray,
    table: npt.NDArray[Any],
    every_leaf: int,
    values: FloatArray,
    reached: FloatArray,
) -> None:
    """Fill `reached`, float64 [rows, trees], with the value of the leaf that each row of a block reaches."""
    masks = np.empty(table.shape[1], table.dtype)
    for row in range(len(block)):
        masks[:] = every_leaf
        for number in range(len(features)):
            value = block[row, features[number]]
            # The last two bounds are infinity, for all above the thresholds, and the missing value. Halving without a
            # branch: which way it goes cannot be foreseen, and a wrong guess costs more than the comparison.
            place, left = starts[number], starts[number + 1] - 1 - starts[number]
            while left > 1:
                half = left // 2
                place += half * (bounds[place + half - 1] < value)
                left -= half
            if np.isnan(value):
                place = starts[number + 1] - 1
            for tree in range(len(masks)):
                masks[tree] &= table[place, tree]
        for tree in range(len(masks)):
            reached[row, tree] = values[tree, trailing_zeros(masks[tree])]


@dataclass(frozen=True)
class _Condition:
    threshold: float
    tree: int
    mask_left: int
    mask_right: int
    missing_goes_left: bool


def _conditions(trees: Trees, width: int) -> tuple[dict[int, list[_Condition]], list[list[int]]]:
    """For each feature its conditions with their masks, and the leaf nodes of each tree from left to right."""
    every_leaf = (1 << width) - 1
    conditions: dict[int, list[_Condition]] = {}
    leaves_by_tree: list[list[int]] = []
    bounds = [*trees.roots.tolist(), len(trees.feature)]
    left, right = trees.left.tolist(), trees.right.tolist()
    for tree, (root, end) in enumerate(pairwise(bounds)):
        leaves = _leaves_in_order(root, left, right)
        positions = {node: position for position, node in enumerate(leaves)}
        below = dict.fromkeys(range(root, end), 0)
        # Children have greater indices than their parents, so backwards every child is done before its parent.
        for node in range(end - 1, root - 1, -1):
            if left[node] == node:
                below[node] = 1 << positions[node]
                continue
            below[node] = below[left[node]] | below[right[node]]
            conditions.setdefault(int(trees.feature[node]), []).append(
                _Condition(
                    threshold=float(trees.threshold[node]),
                    tree=tree,
                    mask_left=every_leaf & ~below[right[node]],
                    mask_right=every_leaf & ~below[left[node]],
                    missing_goes_left=bool(trees.missing_goes_left[node]),
                )
            )
        leaves_by_tree.append(leaves)
    return conditions, leaves_by_tree


def _leaves_in_order(root: int, left: list[int], right: list[int]) -> list[int]:
    leaves: list[int] = []
    pending = [root]
    while pending:
        node = pending.pop()
        if left[node] == node:
            leaves.append(node)
        else:
            pending += (right[node], left[node])
    return leaves


def _mask_table(
    conditions: list[_Condition], tree_count: int, word: np.dtype[Any]
) -> tuple[FloatArray, npt.NDArray[Any]]:
    """Sorted bounds, and for each interval between them (the last one is the missing value) a mask for each tree."""
    thresholds = np.unique([condition.threshold for condition in conditions])
    # Infinity stands for everything above the last threshold, and NaN for NaN.
    bounds = np.concatenate([thresholds, [np.inf, np.nan]])
    table = np.full((len(bounds), tree_count), np.iinfo(word).max, dtype=word)
    for condition in conditions:
        position = int(np.searchsorted(thresholds, condition.threshold))
        missing = condition.mask_left if condition.missing_goes_left else condition.mask_right
        table[: position + 1, condition.tree] &= word.type(condition.mask_left)
        table[position + 1 : -1, condition.tree] &= word.type(condition.mask_right)
        table[-1, condition.tree] &= word.type(missing)
    return bounds, table


class WalkScorer:
    """Scores by walking the trees from their roots: for those with too many leaves for masks."""

    def __init__(self, trees: Trees) -> None:
        self._trees = trees

    def raw_scores(self, matrix: FloatArray) -> FloatArray:
        """Sum of the leaf values and the offset for `matrix`, float64 [rows, features]; float64 [rows]."""
        return _raw_scores(self._trees, matrix, self._find)

    def _find(self, block: FloatArray, reached: FloatArray) -> None:
        trees = self._trees
        nodes, numbers = (trees.feature, trees.left, trees.right), (trees.threshold, trees.value)
        _walk(block, trees.roots, nodes, numbers, trees.missing_goes_left, reached)


@compiled
def _walk(
    block: FloatArray,
    roots: IndexArray,
    nodes: tuple[IndexArray, IndexArray, IndexArray],
    numbers: tuple[FloatArray, FloatArray],
    missing_goes_left: BoolArray,
    reached: FloatArray,
) -> None:
    """Fill `reached`, float64 [rows, trees], as `_find_reached` does."""
    feature, left, right = nodes
    threshold, leaf_value = numbers
    for row in range(len(block)):
        for tree in range(len(roots)):
            node = roots[tree]
            while left[node] != node:
                value = block[row, feature[node]]
                goes_left = value <= threshold[node] or (np.isnan(value) and missing_goes_left[node])
                node = left[node] if goes_left else right[node]
            reached[row, tree] = leaf_value[node]


def tree_scorer(trees: Trees) -> MaskScorer | WalkScorer:
    """The faster way to score these trees: masks where they fit in words and cache, else walking."""
    most_leaves = int(leaf_counts(trees).max())
    if most_leaves > MASK_MAX_LEAVES:
        return WalkScorer(trees)
    split_count = int((trees.left != np.arange(len(trees.left))).sum())
    word_bytes = max(8, 1 << (most_leaves - 1).bit_length()) // 8
    if (split_count + 2 * trees.feature_count) * len(trees.roots) * word_bytes > MASK_TABLE_MAX_BYTES:
        return WalkScorer(trees)
    return MaskScorer(trees)
