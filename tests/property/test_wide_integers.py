"""Quotients of amounts are rounded once, however large they are: what Python's integers give."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from fraud.features.customer_words import LIMB_BITS, LIMB_MASK
from fraud.features.wide_integers import product_over, variance

# Minor units of base currency; the largest payment has 10^11 in its own.
AMOUNTS = st.one_of(st.integers(0, 10**4), st.integers(0, 10**11), st.integers(0, 10**13))


@given(st.lists(AMOUNTS, min_size=1, max_size=8), st.integers(1, 200_000))
@example([1], 1)
@example([10**13, 0], 200_000)
@example([94_906_265, 94_906_266, 94_906_267], 1)
def test_a_variance_is_the_quotient_of_the_exact_integers(amounts: list[int], times: int) -> None:
    count, total = times * len(amounts), times * sum(amounts)
    squares = times * sum(amount * amount for amount in amounts)
    expected = (count * squares - total * total) / (count * count)
    assert variance(count, total, squares >> LIMB_BITS, squares & LIMB_MASK) == expected


@given(
    one=st.one_of(st.integers(0, 10**12), st.integers(0, (1 << 62) - 1)),
    other=st.one_of(st.integers(0, 10**6), st.integers(0, (1 << 62) - 1)),
    divisor=st.one_of(st.integers(1, 10**9), st.integers(1, (1 << 62) - 1)),
)
def test_a_product_over_a_divisor_is_that_of_the_exact_integers(one: int, other: int, divisor: int) -> None:
    assert product_over(one, other, divisor) == one * other / divisor
