"""The JSON of feature values is that of Python's numbers, byte for byte, however it is written."""

from __future__ import annotations

import struct

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from payments import typed_rows

from fraud.features import FEATURE_SETS, feature_set
from fraud.features.json_rows import JsonRows, feature_parts, json_texts
from fraud.features.shortest_decimal import LONGEST_NUMBER, write_integer, write_real

FINITE = st.floats(allow_nan=False, allow_infinity=False)
# What features are: amounts, shares, ratios, hours.
USUAL = st.one_of(
    st.integers(0, 10**9).map(lambda minor: minor / 100),
    st.integers(0, 10**17).map(lambda millionths: millionths / 10**6),
    st.integers(0, 2**60).map(float),
    st.tuples(st.integers(0, 10**6), st.integers(1, 10**6)).map(lambda pair: pair[0] / pair[1]),
)


def real_text(value: float) -> bytes:
    text = np.zeros(LONGEST_NUMBER, np.uint8)
    (bits,) = struct.unpack("<Q", struct.pack("<d", value))
    return text[: write_real(value, np.uint64(bits), text, 0)].tobytes()


@given(st.one_of(FINITE, USUAL))
@example(0.0)
@example(-0.0)
@example(5e-324)
@example(2.2250738585072014e-308)
@example(1.7976931348623157e308)
@example(-1.2345678901234567e-308)
@example(9007199254740993.0)
@example(1e16)
@example(9999999999999998.0)
@example(1e-5)
@example(9.999e-5)
@example(1e23)
def test_a_real_number_has_the_fewest_digits_that_read_back(value: float) -> None:
    assert real_text(value) == msgspec.json.encode(value)


@pytest.mark.parametrize("exponent", range(-1074, 1024))
def test_powers_of_two_have_a_closer_neighbour_below(exponent: int) -> None:
    assert real_text(2.0**exponent) == msgspec.json.encode(2.0**exponent)


@given(st.integers(-(2**62), 2**63 - 1))
@example(0)
@example(9)
@example(10)
@example(10**18)
def test_an_integer_has_its_digits(value: int) -> None:
    text = np.zeros(LONGEST_NUMBER, np.uint8)
    assert text[: write_integer(value, text, 0)].tobytes() == str(value).encode()


@pytest.mark.parametrize("name", FEATURE_SETS)
@given(rows=st.integers(0, 300), data=st.data())
def test_it_is_the_object_of_the_values_in_a_decision(name: str, rows: int, data: st.DataObject) -> None:
    chosen = feature_set(name)
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    matrix = random.exponential(50, (rows, len(chosen.rows)))
    for column, row in enumerate(chosen.rows):
        if row.kind != "number":
            matrix[:, column] = random.integers(0, 2 if row.kind == "boolean" else 10**6, rows)
    matrix[random.random(matrix.shape) < 0.2] = np.nan
    order = sorted(range(len(chosen.names)), key=chosen.names.__getitem__)
    expected = [
        msgspec.json.encode({chosen.names[place]: row[place] for place in order}) for row in typed_rows(chosen, matrix)
    ]
    assert JsonRows(feature_parts(chosen)).of_each(matrix, json_texts(rows, [])) == expected
