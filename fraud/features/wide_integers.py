"""Quotients of integers above 64 bits, rounded once: what Python's `/` gives of the same integers."""

from __future__ import annotations

from math import ldexp
from typing import Any, Final

import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy import uint64

from fraud.features.compiled import compiled

_ONE = uint64(1)
_ZERO = uint64(0)
_TOP = uint64(63)
# Above the 53 bits of a float64 one for rounding and one that says whether anything follows.
_QUOTIENT_BITS: Final = 55
# The largest integers that a float64 holds exactly.
_EXACT = 1 << 53


@intrinsic  # type: ignore[untyped-decorator]
def _upper_product(_typing_context: Any, _one: Any, _other: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        wide = cgutils.ir.IntType(128)
        one, other = (builder.zext(argument, wide) for argument in arguments)
        return builder.trunc(builder.lshr(builder.mul(one, other), wide(64)), cgutils.ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


@compiled
def product(one: uint64, other: uint64) -> tuple[uint64, uint64]:
    """The upper and lower 64 bits of a product."""
    return _upper_product(one, other), one * other


@compiled
def _quotient(high: uint64, low: uint64, divisor: uint64) -> float:
    """`(high 2^64 + low) / divisor`, rounded half-even; the divisor is below 2^63."""
    if high == _ZERO and low == _ZERO:
        return 0.0
    quotient, remainder, bits, bit = _ZERO, _ZERO, 0, 128
    rest_high, rest_low = high, low
    # Long division, bit by bit from the top, until the quotient has enough bits; below the lowest bit zeros follow.
    while bits < _QUOTIENT_BITS and (bit > 0 or remainder != _ZERO):
        remainder = (remainder << _ONE) | (rest_high >> _TOP)
        rest_high = (rest_high << _ONE) | (rest_low >> _TOP)
        rest_low = rest_low << _ONE
        bit -= 1
        quotient = quotient << _ONE
        if remainder >= divisor:
            remainder -= divisor
            quotient |= _ONE
        if quotient != _ZERO:
            bits += 1
    if remainder != _ZERO or rest_high != _ZERO or rest_low != _ZERO:
        quotient |= _ONE
    return ldexp(float(np.int64(quotient)), bit)


@compiled
def ratio(dividend: int, divisor: int) -> float:
    """`dividend / divisor`; neither of them negative, the divisor not zero."""
    if dividend <= _EXACT and divisor <= _EXACT:
        return dividend / divisor
    return _quotient(_ZERO, uint64(dividend), uint64(divisor))


@compiled
def product_over(one: int, other: int, divisor: int) -> float:
    """`one * other / divisor`; none of them negative, the divisor not zero."""
    if one == 0 or (other <= _EXACT // one and divisor <= _EXACT):
        return (one * other) / divisor
    high, low = product(uint64(one), uint64(other))
    return _quotient(high, low, uint64(divisor))


@compiled
def variance(count: int, total: int, squares_high: int, squares_low: int) -> float:
    """The variance of `count` integers, from their total and their sum of squares in limbs of 62 bits.

    (count * squares - total * total) / (count * count): in integers until the division, so there is no cancellation.
    """
    if squares_high == 0 and squares_low < _EXACT // count and count < 1 << 26:
        return (count * squares_low - total * total) / (count * count)
    times = uint64(count)
    low_limb = uint64(squares_low) | (uint64(squares_high) << uint64(62))
    high_limb = uint64(squares_high) >> uint64(2)
    high, low = product(times, low_limb)
    high += times * high_limb
    taken_high, taken_low = product(uint64(total), uint64(total))
    high -= taken_high
    if low < taken_low:
        high -= _ONE
    low -= taken_low
    return _quotient(high, low, times * times)
