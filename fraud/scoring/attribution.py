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

import numpy as np

from fraud.scoring.integral import integrand_factors, leaf_contributions
from fraud.scoring.paths import LeafBlock, base_value, leaf_blocks, leaf_paths
from fraud.scoring.patterns import PatternTables, tabulated_blocks
from fraud.scoring.trees import FloatArray, Trees

# Rows integrated at a time, see `fraud.scoring.paths.BLOCK_LEAVES`.
BLOCK_ROWS = 8


class TreeAttribution:
    """Contributions of features to the raw score: `base_value` plus a row's contributions is its raw score.

    Leaves with short paths are looked up in tables of the integral, the others are integrated for each row.
    """

    def __init__(self, trees: Trees) -> None:
        self._trees = trees
        paths = leaf_paths(trees)
        self.base_value = base_value(trees, paths)
        blocks = leaf_blocks(paths)
        tabulated = tabulated_blocks(blocks)
        self._tables = PatternTables(tabulated, trees.feature_count)
        self._integrated = blocks[len(tabulated) :]

    def contributions(self, matrix: FloatArray) -> FloatArray:
        """Shapley values for `matrix`, float64 [rows, features] with NaN as missing; float64 [rows, features]."""
        inputs = self._trees.inputs(matrix)
        result = self._tables.contributions(inputs)
        for block in self._integrated:
            result += _integrated_contributions(block, inputs)
        return result


def _integrated_contributions(block: LeafBlock, inputs: FloatArray) -> FloatArray:
    factors = integrand_factors(block)
    result = np.empty(inputs.shape)
    targets = block.feature.ravel()
    for start in range(0, len(inputs), BLOCK_ROWS):
        contributions = leaf_contributions(factors, block.fulfilled(inputs[start : start + BLOCK_ROWS]))
        for row, of_row in enumerate(contributions, start):
            result[row] = np.bincount(targets, weights=of_row.ravel(), minlength=inputs.shape[1])
    return result
