"""The integral of a leaf's game at the nodes of Gauss and Legendre; `fraud.scoring.attribution` derives it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fraud.features.compiled import compiled
from fraud.scoring.paths import LeafBlock
from fraud.scoring.trees import BoolArray, FloatArray


@dataclass(frozen=True)
class IntegrandFactors:
    """The integrand of a block's leaves at each node t: what does not depend on the row.

    `fulfilled` z (1 - t) + t, `not_fulfilled` z (1 - t) and `share` (1 - z) / fulfilled are [m, nodes, leaves];
    `weighted`, the leaf's value times the node's weight, is [nodes, leaves].
    """

    remainder: FloatArray
    weighted: FloatArray
    fulfilled: FloatArray
    not_fulfilled: FloatArray
    share: FloatArray


def integrand_factors(block: LeafBlock) -> IntegrandFactors:
    """The factors of a block of leaves at as many nodes as make the integral exact."""
    nodes, weights = _legendre_nodes(len(block.feature))
    remainder = (1.0 - nodes)[:, None]
    ratio = block.cover_ratio[:, None, :]
    fulfilled = ratio + nodes[:, None] * (1.0 - ratio)
    return IntegrandFactors(
        remainder=remainder,
        weighted=block.value * weights[:, None],
        fulfilled=fulfilled,
        not_fulfilled=ratio * remainder,
        share=(1.0 - ratio) / fulfilled,
    )


def leaf_contributions(factors: IntegrandFactors, fulfilled: BoolArray) -> FloatArray:
    """Shapley values of each leaf's own game, float64 [rows, m, leaves]; `fulfilled` is bool of the same shape."""
    contributions = np.empty(fulfilled.shape)
    _integrate(
        factors.remainder.ravel(),
        factors.weighted,
        factors.fulfilled,
        factors.not_fulfilled,
        factors.share,
        # One type of array, whether it was computed or is a view of a table: each type is compiled by itself.
        np.ascontiguousarray(fulfilled),
        contributions,
    )
    return contributions


@compiled
def _integrate(
    remainder: FloatArray,
    weighted: FloatArray,
    fulfilled_factors: FloatArray,
    other_factors: FloatArray,
    share: FloatArray,
    fulfilled: BoolArray,
    contributions: FloatArray,
) -> None:
    """Fill `contributions`; the other arrays are those of `IntegrandFactors` and of `leaf_contributions`."""
    row_count, path_length, leaf_count = fulfilled.shape
    node_count = len(remainder)
    product = np.empty(node_count)
    for row in range(row_count):
        for leaf in range(leaf_count):
            # The whole product is divided by one factor later: all are positive as z > 0 and 0 < t < 1.
            for node in range(node_count):
                product[node] = weighted[node, leaf]
                for k in range(path_length):
                    factors = fulfilled_factors if fulfilled[row, k, leaf] else other_factors
                    product[node] *= factors[k, node, leaf]
            # (o - z) / factor is -1 / (1 - t) for every feature that is not fulfilled, whatever its z.
            not_fulfilled = 0.0
            for node in range(node_count):
                not_fulfilled -= product[node] / remainder[node]
            for k in range(path_length):
                contribution = not_fulfilled
                if fulfilled[row, k, leaf]:
                    contribution = 0.0
                    for node in range(node_count):
                        contribution += product[node] * share[k, node, leaf]
                contributions[row, k, leaf] = contribution


@lru_cache
def _legendre_nodes(path_length: int) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights on (0, 1) that integrate polynomials of degree `path_length` - 1 exactly.

    q Gauss-Legendre nodes are exact up to degree 2q - 1.
    """
    nodes, weights = np.polynomial.legendre.leggauss((path_length + 1) // 2)
    return (nodes + 1.0) / 2.0, weights / 2.0
