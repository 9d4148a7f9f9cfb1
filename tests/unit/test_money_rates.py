"""Amounts become integer minor units, exactly or not at all; rates convert them with one rounding, half to even."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraud.money import (
    AMOUNT_MAX_MINOR,
    CURRENCY_EXPONENTS,
    RatesError,
    RateTable,
    amount_to_minor,
    amounts_to_minor,
    load_rates,
    parse_rates,
)
from fraud.settings import Settings
from fraud.transaction import InvalidTransactionError

HEADER = "currency,first_day,last_day,rate\n"
DAY_MS = 86_400_000
CURRENCIES = st.sampled_from(["EUR", "JPY", "KWD", "CLF", "USD"])


def ms(day: str) -> int:
    return (date.fromisoformat(day) - date(1970, 1, 1)).days * DAY_MS


def table(*rows: str, base: str = "EUR") -> RateTable:
    return parse_rates(HEADER + "\n".join(rows), "test", base, "rates.csv")


def refusal(amount: float | str, currency: str = "EUR") -> tuple[str, str]:
    with pytest.raises(InvalidTransactionError) as caught:
        amount_to_minor(amount, currency)
    assert caught.value.reason
    return caught.value.code, caught.value.field


def minor_or_none(amount: float | str, currency: str, smallest_minor: int = 1) -> int | None:
    """None for an amount that is refused; any other exception is a defect."""
    try:
        return amount_to_minor(amount, currency, smallest_minor)
    except InvalidTransactionError:
        return None


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        (12.34, "EUR", 1_234),
        (0.1, "EUR", 10),
        (1_000_000.07, "EUR", 100_000_007),
        (500, "JPY", 500),
        ("500", "JPY", 500),
        ("500.00", "JPY", 500),
        (1.234, "KWD", 1_234),
        ("1.234", "KWD", 1_234),
        ("12.5", "EUR", 1_250),
        ("12.50000", "EUR", 1_250),
        ("+12.50", "EUR", 1_250),
        (" 12.50 ", "EUR", 1_250),
        ("007", "EUR", 700),
        ("0.01", "EUR", 1),
        (1e9, "EUR", AMOUNT_MAX_MINOR),
    ],
)
def test_an_amount_in_minor_units(amount: float | str, currency: str, minor: int) -> None:
    assert amount_to_minor(amount, currency) == minor


@pytest.mark.parametrize(
    ("amount", "currency", "code"),
    [
        (12.345, "EUR", "too_many_decimals"),
        ("12.345", "EUR", "too_many_decimals"),
        (0.1 + 0.2, "EUR", "too_many_decimals"),
        (1.5, "JPY", "too_many_decimals"),
        ("1.2345", "KWD", "too_many_decimals"),
        (0.0, "EUR", "amount_zero"),
        ("0.00", "EUR", "amount_zero"),
        (-0.0, "EUR", "amount_zero"),
        (-1.0, "EUR", "amount_negative"),
        ("-1", "EUR", "amount_negative"),
        (float("nan"), "EUR", "amount_not_finite"),
        (float("inf"), "EUR", "amount_not_finite"),
        (float("-inf"), "EUR", "amount_not_finite"),
        (1e300, "EUR", "amount_too_large"),
        (1_000_000_000.01, "EUR", "amount_too_large"),
        ("999999999999999", "EUR", "amount_too_large"),
        ("", "EUR", "amount_not_decimal"),
        ("abc", "EUR", "amount_not_decimal"),
        ("NaN", "EUR", "amount_not_decimal"),
        ("Infinity", "EUR", "amount_not_decimal"),
        ("1e3", "EUR", "amount_not_decimal"),
        ("1,234.50", "EUR", "amount_not_decimal"),
        ("12.", "EUR", "amount_not_decimal"),
        (".5", "EUR", "amount_not_decimal"),
        ("1_000", "EUR", "amount_not_decimal"),
        ("0x10", "EUR", "amount_not_decimal"),
        ("\u0661\u0662", "EUR", "amount_not_decimal"),
        ("9" * 1_000, "EUR", "amount_not_decimal"),
    ],
)
def test_an_amount_is_refused_by_name(amount: float | str, currency: str, code: str) -> None:
    assert refusal(amount, currency) == (code, "amount")


@pytest.mark.parametrize("currency", ["XXX", "eur", "EU", "", "BTC", "DEM"])
def test_an_unknown_currency_is_refused_by_name(currency: str) -> None:
    assert refusal(1.0, currency) == ("unknown_currency", "currency")


def test_account_verifications_are_accepted_only_where_they_are_expected() -> None:
    assert amount_to_minor(0.0, "EUR", 0) == 0
    with pytest.raises(InvalidTransactionError):
        amount_to_minor(-0.01, "EUR", 0)


def test_exponents_are_those_of_iso_4217() -> None:
    assert {code: CURRENCY_EXPONENTS[code] for code in ("EUR", "JPY", "KRW", "KWD", "BHD", "CLF")} == {
        "EUR": 2,
        "JPY": 0,
        "KRW": 0,
        "KWD": 3,
        "BHD": 3,
        "CLF": 4,
    }


@given(minor=st.integers(1, AMOUNT_MAX_MINOR), currency=CURRENCIES)
def test_every_amount_comes_back_from_its_text_and_from_its_number(minor: int, currency: str) -> None:
    exact = Decimal(minor).scaleb(-CURRENCY_EXPONENTS[currency])
    assert amount_to_minor(f"{exact:f}", currency) == minor
    assert amount_to_minor(float(exact), currency) == minor


@given(
    st.lists(
        st.tuples(
            st.one_of(
                st.integers(-1, 2 * AMOUNT_MAX_MINOR).map(lambda minor: minor / 100),
                st.sampled_from((0.0, -0.0, 0.1 + 0.2, 1e300, 1.7e308, float("inf"), float("nan"), "12.50", "twelve")),
            ),
            st.sampled_from(["EUR", "EUR", "JPY", "KWD", "XXX"]),
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from((0, 1)),
)
def test_amounts_together_are_converted_as_one_by_one(rows: list[tuple[float | str, str]], smallest: int) -> None:
    amounts, currencies = [amount for amount, _ in rows], [currency for _, currency in rows]
    expected = [minor_or_none(amount, currency, smallest) for amount, currency in rows]
    if None in expected:
        with pytest.raises(InvalidTransactionError):
            amounts_to_minor(amounts, currencies, smallest)
    else:
        converted = amounts_to_minor(amounts, currencies, smallest)
        assert converted == expected
        assert set(map(type, converted)) == {int}


@given(amount=st.floats(allow_nan=True, allow_infinity=True), currency=CURRENCIES)
def test_any_number_is_converted_exactly_or_refused(amount: float, currency: str) -> None:
    minor = minor_or_none(amount, currency)
    if minor is not None:
        assert 1 <= minor <= AMOUNT_MAX_MINOR
        assert float(Fraction(minor, 10 ** CURRENCY_EXPONENTS[currency])) == amount


@given(text=st.text(max_size=30), currency=CURRENCIES)
def test_any_text_is_converted_exactly_or_refused(text: str, currency: str) -> None:
    minor = minor_or_none(text, currency)
    if minor is not None:
        assert Fraction(text) * 10 ** CURRENCY_EXPONENTS[currency] == minor


@pytest.mark.parametrize(
    ("currency", "rate", "minor", "base_minor"),
    [
        ("USD", "0.5", 1, 0),
        ("USD", "0.5", 3, 2),
        ("USD", "0.5", 5, 2),
        ("USD", "0.9", 1_000, 900),
        ("JPY", "0.006", 1_000, 600),
        ("JPY", "0.005", 1, 0),
        ("JPY", "0.015", 1, 2),
        ("KWD", "3", 1_000, 300),
        ("KWD", "3", 5, 2),
    ],
)
def test_conversion_rounds_half_to_even(currency: str, rate: str, minor: int, base_minor: int) -> None:
    rates = table(f"{currency},2026-01-01,2026-12-31,{rate}")
    assert rates.to_base_minor(minor, currency, ms("2026-03-01")) == base_minor


def test_the_base_may_have_no_decimals_or_three() -> None:
    for base, base_minor in (("JPY", 160), ("KWD", 160_000)):
        rates = table("EUR,2026-01-01,2026-12-31,160", base=base)
        assert rates.to_base_minor(100, "EUR", ms("2026-03-01")) == base_minor


def test_the_base_currency_needs_no_rate() -> None:
    assert table().to_base_minor(1_234, "EUR", ms("1999-01-01")) == 1_234


def test_each_day_has_its_own_rate_both_ends_included() -> None:
    rates = table("USD,2026-02-01,2026-02-28,2", "USD,2026-01-01,2026-01-31,1", "USD,2026-03-05,2026-03-05,3")
    converted = {
        day: rates.to_base_minor(100, "USD", ms(day) + offset)
        for day in ("2026-01-01", "2026-01-31", "2026-02-01", "2026-02-28", "2026-03-05")
        for offset in (0, DAY_MS - 1)
    }
    assert list(converted.values()) == [100, 100, 200, 200, 300]


@pytest.mark.parametrize("day", ["2025-12-31", "2026-03-01", "2026-03-06"])
def test_a_day_without_a_rate_is_refused_by_name(day: str) -> None:
    rates = table("USD,2026-01-01,2026-02-28,2", "USD,2026-03-05,2026-03-05,3")
    with pytest.raises(
        InvalidTransactionError, match=f"no rate from USD to EUR for {day} in rate table test"
    ) as caught:
        rates.to_base_minor(100, "USD", ms(day))
    assert (caught.value.code, caught.value.field, caught.value.value) == ("no_rate", "currency", "USD")


def test_a_currency_without_any_rate_is_refused_by_name() -> None:
    with pytest.raises(InvalidTransactionError, match="no rate from GBP"):
        table("USD,2026-01-01,2026-02-28,2").to_base_minor(100, "GBP", ms("2026-01-01"))


@given(
    amounts=st.lists(st.integers(0, AMOUNT_MAX_MINOR), min_size=1, max_size=10),
    currency=st.sampled_from(["USD", "JPY", "KWD", "CLF"]),
    base=st.sampled_from(["EUR", "KRW", "BHD"]),
    rate=st.decimals("0.000001", "99999", places=6),
)
def test_conversion_is_exact_rounded_once_and_keeps_order(
    amounts: list[int], currency: str, base: str, rate: Decimal
) -> None:
    rates = table(f"{currency},2026-01-01,2026-12-31,{rate:f}", base=base)
    converted = [rates.to_base_minor(amount, currency, ms("2026-06-01")) for amount in sorted(amounts)]
    scale = Fraction(10) ** (CURRENCY_EXPONENTS[base] - CURRENCY_EXPONENTS[currency])
    assert converted == [round(amount * Fraction(rate) * scale) for amount in sorted(amounts)]
    assert converted == sorted(converted)


def test_the_hash_is_over_what_the_table_says() -> None:
    one, other = "USD,2026-01-01,2026-01-31,0.9", "GBP,2026-01-01,2026-01-31,1.2"
    original = table(one, other)
    assert table(other, "USD,2026-01-01,2026-01-31,0.90").content_hash == original.content_hash
    windows = parse_rates((HEADER + one + "\n" + other + "\n").replace("\n", "\r\n"), "test", "EUR", "rates.csv")
    assert windows.content_hash == original.content_hash
    for changed in (
        table(one),
        table("USD,2026-01-01,2026-01-31,0.91", other),
        table("USD,2026-01-02,2026-01-31,0.9", other),
        table("USD,2026-01-01,2026-01-30,0.9", other),
        table(one, other, base="CHF"),
    ):
        assert changed.content_hash != original.content_hash


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", r"rates.csv:1: the columns must be currency,first_day,last_day,rate"),
        ("currency,rate\n", r"rates.csv:1: the columns must be"),
        (HEADER + "EUR,2026-01-01,2026-01-31,1\n", r"rates.csv:2: has rates from EUR, which is the base currency"),
        (HEADER + "ABC,2026-01-01,2026-01-31,1\n", r"rates.csv:2: currency 'ABC'"),
        (HEADER + "USD,01.02.2026,2026-01-31,1\n", r"rates.csv:2: days are written YYYY-MM-DD"),
        (HEADER + "USD,2026-01-01,,1\n", r"rates.csv:2: days are written YYYY-MM-DD"),
        (HEADER + "USD,2026-01-01,2026-01-31\n", r"rates.csv:2: rate '' must be a positive decimal"),
        (HEADER + "USD,2026-01-01,2026-01-31,0\n", r"rates.csv:2: rate '0' must be a positive decimal"),
        (HEADER + "USD,2026-01-01,2026-01-31,-1\n", r"rates.csv:2: rate '-1'"),
        (HEADER + "USD,2026-01-01,2026-01-31,1e3\n", r"rates.csv:2: rate '1e3'"),
        (HEADER + "USD,2026-01-01,2026-01-31,nan\n", r"rates.csv:2: rate 'nan'"),
        (HEADER + "USD,2026-02-01,2026-01-31,1\n", r"rates.csv:2: last_day is before first_day"),
        (
            HEADER + "USD,2026-01-01,2026-01-31,1\nUSD,2026-01-31,2026-02-28,1\n",
            r"rates.csv: USD has two rates for 2026-01-31",
        ),
    ],
)
def test_a_wrong_rate_table_is_refused_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(RatesError, match=problem):
        parse_rates(text, "test", "EUR", "rates.csv")


def test_a_wrong_base_currency_is_refused() -> None:
    with pytest.raises(RatesError, match="base currency 'eur'"):
        table(base="eur")


def test_a_missing_or_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RatesError, match=r"nowhere\.csv: cannot read the rate table: No such file or directory$"):
        load_rates(tmp_path / "nowhere.csv", "EUR")
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RatesError, match=r"binary\.csv: cannot read the rate table: it is not UTF-8 text$"):
        load_rates(binary, "EUR")


def test_the_shipped_table_can_be_used() -> None:
    settings = Settings()
    rates = load_rates(settings.rates_file, settings.base_currency)
    assert rates.to_base_minor(10_000, "USD", ms("2026-03-01")) > 0


@pytest.mark.parametrize("amount", ["10000000000000000", "9" * 30 + ".00", 1e12, 1e17, 1e308])
def test_an_absurd_amount_is_called_too_large(amount: float | str) -> None:
    with pytest.raises(InvalidTransactionError) as refused:
        amount_to_minor(amount, "EUR")
    assert refused.value.code == "amount_too_large"


def test_an_amount_that_cannot_be_added_up_in_base_currency_is_refused() -> None:
    """A thousand million pounds, where the books are kept in a currency of small units."""
    rates = table("GBP,2026-01-01,2026-12-31,20000", base="IDR")
    assert rates.to_base_minor(5 * 10**10, "GBP", ms("2026-03-01")) == 10**15
    with pytest.raises(InvalidTransactionError, match="at most 1000000000000000") as caught:
        rates.to_base_minor(5 * 10**10 + 1, "GBP", ms("2026-03-01"))
    assert (caught.value.code, caught.value.field) == ("amount_too_large", "amount")
