"""Numbers as JSON has them, written by compiled code: real numbers with the fewest digits that read back as the same.

The digits are found by Schubfach (Raffaello Giulietti, "The Schubfach way to render doubles", 2020; names as there):
among the decimals between a number's neighbours the shortest, of these the nearest. The form is that of msgspec, whose
encoder writes all the rest of a decision: 53.27, 1e-6, 1.5e16, with an exponent below 1e-5 and from 1e16 on.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy import uint64

from fraud.features.compiled import Octets, compiled, inlined
from fraud.features.wide_integers import product

# The longest number, -1.2345678901234567e-308, and the longest integer of 64 bits.
LONGEST_NUMBER: Final = 24

_SIGNIFICAND_BITS: Final = 52
_EXPONENT_BITS: Final = 11
_HIDDEN_BIT = uint64(1 << _SIGNIFICAND_BITS)
_SIGNIFICAND_MASK = uint64((1 << _SIGNIFICAND_BITS) - 1)
# Of the exponent of a significand that is an integer.
_BIAS: Final = 1_023 + _SIGNIFICAND_BITS
_ONE = uint64(1)
_TWO = uint64(2)
_FOUR = uint64(4)
_TEN = uint64(10)
_HUNDRED = uint64(100)
_THOUSAND = uint64(1_000)
_TEN_THOUSAND = uint64(10_000)
_ZERO = uint64(0)
# The powers of ten that a float64 asks for.
_LOWEST_POWER: Final = -292
_HIGHEST_POWER: Final = 324
_POWER_BITS: Final = 128
# Numbers from 10 to the power of the first on to that of the second have no exponent.
_FIXED_FROM: Final = -5
_FIXED_UNTIL: Final = 16
_MINUS: Final = ord("-")
_POINT: Final = ord(".")
_DIGIT: Final = ord("0")
_EXPONENT: Final = ord("e")
_MILLION: Final = 1e6
# Any two decimals of 15 digits are different numbers.
_FEW_DIGITS: Final = 1e15
# The digits of the numbers below 100.
_PAIRS = np.array([[_DIGIT + number // 10, _DIGIT + number % 10] for number in range(100)], np.uint8)


def _powers_of_ten() -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
    """The upper 128 bits of each power of ten, rounded up, in two words."""
    powers = []
    for exponent in range(_LOWEST_POWER, _HIGHEST_POWER + 1):
        if exponent >= 0:
            shift = (10**exponent).bit_length() - _POWER_BITS
            power = -(-(10**exponent) >> shift) if shift > 0 else 10**exponent << -shift
        else:
            divisor = 10**-exponent
            power = -(-(1 << (_POWER_BITS - 1 + divisor.bit_length())) // divisor)
        powers.append((power >> 64, power & ((1 << 64) - 1)))
    return np.array(powers, np.uint64)


_POWERS = _powers_of_ten()


@compiled
def _rounded_to_odd(power: int, significand: uint64) -> uint64:
    """The upper bits of a product with a power of ten; the lowest one is set if any bit below is."""
    high, low = _POWERS[power - _LOWEST_POWER, 0], _POWERS[power - _LOWEST_POWER, 1]
    below, _ = product(low, significand)
    result, middle = product(high, significand)
    middle += below
    if middle < below:
        result += _ONE
    return result | (_ONE if middle > _ONE else _ZERO)


@compiled
def _shortest(bits: uint64) -> tuple[uint64, int]:
    """Digits and exponent of ten of a number above zero, by its bits."""
    fraction = bits & _SIGNIFICAND_MASK
    biased = int(bits >> uint64(_SIGNIFICAND_BITS)) & ((1 << _EXPONENT_BITS) - 1)
    significand = fraction | _HIDDEN_BIT if biased else fraction
    exponent = (biased if biased else 1) - _BIAS
    if biased and -_SIGNIFICAND_BITS <= exponent <= 0:
        integer = significand >> uint64(-exponent)
        if integer << uint64(-exponent) == significand:
            return integer, 0
    is_odd = significand & _ONE
    below_is_closer = fraction == _ZERO and biased > 1
    power = (exponent * 1_262_611 - (524_031 if below_is_closer else 0)) >> 22
    shift = uint64(exponent + ((-power * 1_741_647) >> 19) + 1)
    lower = _rounded_to_odd(-power, (_FOUR * significand - (_ONE if below_is_closer else _TWO)) << shift) + is_odd
    middle = _rounded_to_odd(-power, (_FOUR * significand) << shift)
    upper = _rounded_to_odd(-power, (_FOUR * significand + _TWO) << shift) - is_odd
    digits = middle // _FOUR
    if digits >= _TEN:
        fewer = digits // _TEN
        down_fits, up_fits = lower <= uint64(40) * fewer, uint64(40) * (fewer + _ONE) <= upper
        if down_fits != up_fits:
            return fewer + (_ONE if up_fits else _ZERO), power + 1
    down_fits, up_fits = lower <= _FOUR * digits, _FOUR * (digits + _ONE) <= upper
    if down_fits != up_fits:
        return digits + (_ONE if up_fits else _ZERO), power
    half = _FOUR * digits + _TWO
    goes_up = middle > half or (middle == half and digits & _ONE != _ZERO)
    return digits + (_ONE if goes_up else _ZERO), power


@inlined
def _digits(value: float, bits: uint64) -> tuple[uint64, int]:
    """Digits and exponent of ten of a finite number above zero."""
    if value < _FEW_DIGITS and value == np.floor(value):
        return uint64(value), 0
    # Amounts, scores and shares of these: what reads back from so few digits has no other decimal as short as this.
    millionths = np.rint(value * _MILLION)
    if 0 < millionths < _FEW_DIGITS and millionths / _MILLION == value:
        return uint64(millionths), -6
    return _shortest(bits)


@inlined
def _write_digits(digits: uint64, text: Octets, end: int) -> None:
    """Write digits that end before `end`: two at once, since each step waits for the one before."""
    at = end
    while digits >= _HUNDRED:
        rest = digits // _HUNDRED
        pair = int(digits - rest * _HUNDRED)
        at -= 2
        text[at], text[at + 1] = _PAIRS[pair, 0], _PAIRS[pair, 1]
        digits = rest
    pair = int(digits)
    text[at - 1] = _PAIRS[pair, 1]
    if digits >= _TEN:
        text[at - 2] = _PAIRS[pair, 0]


@inlined
def _digit_count(digits: uint64) -> int:
    count = 1
    while digits >= _TEN_THOUSAND:
        digits //= _TEN_THOUSAND
        count += 4
    return count + int(digits >= _TEN) + int(digits >= _HUNDRED) + int(digits >= _THOUSAND)


@inlined
def write_integer(value: int, text: Octets, at: int) -> int:
    """Write an integer; where it ends."""
    if value < 0:
        text[at] = _MINUS
        at += 1
    digits = uint64(abs(value))
    end = at + _digit_count(digits)
    _write_digits(digits, text, end)
    return end


@inlined
def write_real(value: float, bits: uint64, text: Octets, at: int) -> int:
    """Write a finite number, also given by its bits; where it ends."""
    if bits >> uint64(63):
        text[at] = _MINUS
        at += 1
    bits &= uint64((1 << 63) - 1)
    if bits == _ZERO:
        text[at], text[at + 1], text[at + 2] = _DIGIT, _POINT, _DIGIT
        return at + 3
    digits, exponent = _digits(abs(value), bits)
    while digits % _TEN == _ZERO:
        digits //= _TEN
        exponent += 1
    count = _digit_count(digits)
    # Where the point stands, counted from the first digit.
    point = count + exponent
    if _FIXED_FROM < point <= _FIXED_UNTIL:
        return _write_fixed(digits, count, point, text, at)
    return _write_scientific(digits, count, point, text, at)


@inlined
def _write_fixed(digits: uint64, count: int, point: int, text: Octets, at: int) -> int:
    if point <= 0:
        text[at], text[at + 1] = _DIGIT, _POINT
        end = at + 2 - point + count
        for place in range(at + 2, end - count):
            text[place] = _DIGIT
        _write_digits(digits, text, end)
        return end
    if point >= count:
        _write_digits(digits, text, at + count)
        for place in range(at + count, at + point):
            text[place] = _DIGIT
        text[at + point], text[at + point + 1] = _POINT, _DIGIT
        return at + point + 2
    _write_digits(digits, text, at + count + 1)
    for place in range(at, at + point):
        text[place] = text[place + 1]
    text[at + point] = _POINT
    return at + count + 1


@inlined
def _write_scientific(digits: uint64, count: int, point: int, text: Octets, at: int) -> int:
    _write_digits(digits, text, at + count + 1)
    text[at] = text[at + 1]
    end = at + 1
    if count > 1:
        text[at + 1] = _POINT
        end = at + count + 1
    text[end] = _EXPONENT
    return write_integer(point - 1, text, end + 1)
