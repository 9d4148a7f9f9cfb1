"""The quotient of integers, one of them a product that may pass 64 bits: what `/` gives of the same ones in Python."""

from __future__ import annotations

from math import ldexp
from typing import Final

import numpy as np

from fraud.features.compiled import compiled

# The largest integers that a float64 holds exactly.
_EXACT: Final = 1 << 53
# Above the 53 bits of a float64 one for rounding and one that says whether anything follows.
_QUOTIENT_BITS: Final = 55
_WORD_BITS: Final = 64
_HALF_BITS: Final = np.uint64(32)
_LOW_HALF: Final = np.uint64((1 << 32) - 1)
_ZERO: Final = np.uint64(0)
_ONE: Final = np.uint64(1)
_TOP_BIT: Final = np.uint64(63)


@compiled
def product_over(one: int, other: int, divisor: int) -> float:
    """`one * other / divisor`, rounded once; none of them negative, the divisor not zero."""
    if other == 0 or one == 0:
        return 0.0
    if one <= _EXACT // other and divisor <= _EXACT:
        return (one * other) / divisor
    return _long_division(np.uint64(one), np.uint64(other), np.uint64(divisor))


@compiled
def _long_division(one: np.uint64, other: np.uint64, divisor: np.uint64) -> float:
    """Bit by bit from the top, until the quotient has enough of them; what is left over decides the rounding."""
    one_high, one_low, other_high, other_low = (
        one >> _HALF_BITS,
        one & _LOW_HALF,
        other >> _HALF_BITS,
        other & _LOW_HALF,
    )
    lowest = one_low * other_low
    middle = one_high * other_low + (lowest >> _HALF_BITS)
    carried = one_low * other_high + (middle & _LOW_HALF)
    high = one_high * other_high + (middle >> _HALF_BITS) + (carried >> _HALF_BITS)
    low = (carried << _HALF_BITS) | (lowest & _LOW_HALF)
    quotient, remainder, bits, exponent = _ZERO, _ZERO, 0, 2 * _WORD_BITS
    while bits < _QUOTIENT_BITS:
        remainder = (remainder << _ONE) | (high >> _TOP_BIT)
        high = (high << _ONE) | (low >> _TOP_BIT)
        low = low << _ONE
        exponent -= 1
        quotient = quotient << _ONE
        if remainder >= divisor:
            remainder -= divisor
            quotient |= _ONE
        if quotient != _ZERO:
            bits += 1
    if remainder != _ZERO or high != _ZERO or low != _ZERO:
        quotient |= _ONE
    return ldexp(float(np.int64(quotient)), exponent)
