"""Money as integers: minor units of each currency, and conversion to the base currency by a dated rate table."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise, repeat
from math import isfinite
from pathlib import Path

import numpy as np

from fraud.transaction import EPOCH, InvalidTransactionError

# ISO 4217 list one, active codes of currencies (funds, metals and testing codes have no payments).
_CURRENCIES = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLF
CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF
IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK
MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR
SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYI UYU UYW UZS
VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
"""
_NO_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE_DECIMALS = "BHD IQD JOD KWD LYD OMR TND"
_FOUR_DECIMALS = "CLF UYW"


def _exponent(code: str) -> int:
    for exponent, codes in ((0, _NO_DECIMALS), (3, _THREE_DECIMALS), (4, _FOUR_DECIMALS)):
        if code in codes:
            return exponent
    return 2


CURRENCY_EXPONENTS: dict[str, int] = {code: _exponent(code) for code in _CURRENCIES.split()}

# A billion euros. Sums over a customer's windows stay far below 2^63, and a double still holds every amount exactly.
AMOUNT_MAX_MINOR = 10**11
# In base currency. Totals have 64 bits, which nine thousand such payments of a customer, or at a merchant, would pass.
BASE_AMOUNT_MAX_MINOR = 10**15

_DECIMAL = re.compile(r"([+-]?)(\d{1,40})(?:\.(\d{1,40}))?")
_POWERS_OF_TEN = (1, 10, 100, 1_000, 10_000)
_SCALES = {code: float(_POWERS_OF_TEN[exponent]) for code, exponent in CURRENCY_EXPONENTS.items()}


def amount_to_minor(amount: float | str, currency: str, smallest_minor: int = 1) -> int:
    """Minor units of `currency` (ISO 4217) for an `amount` in major units, at least `smallest_minor` (1, or 0).

    A number is accepted when it is the double nearest to a decimal with no more digits than the currency has. Raises
    `InvalidTransactionError` naming `amount` or `currency`.
    """
    exponent = CURRENCY_EXPONENTS.get(currency)
    if exponent is None:
        raise InvalidTransactionError(
            "unknown_currency", "currency", "is not an active ISO 4217 currency code (three capital letters)", currency
        )
    if isinstance(amount, str):
        minor = _decimal_text_to_minor(amount, exponent, currency)
    else:
        scale = _POWERS_OF_TEN[exponent]
        if not isfinite(amount):
            raise InvalidTransactionError("amount_not_finite", "amount", "must be a finite number", repr(amount))
        # Beyond any amount; a product with the scale could overflow.
        minor = round(max(-1e16, min(amount, 1e16)) * scale)
        if minor / scale != amount and abs(minor) <= AMOUNT_MAX_MINOR:
            raise _too_many_decimals(repr(amount), exponent, currency)
    if minor < smallest_minor:
        code, reason = ("amount_zero", "must be above zero") if minor == 0 else ("amount_negative", "must be positive")
        raise InvalidTransactionError(code, "amount", f"{reason}; a refund or reversal is an event_type", str(amount))
    if minor > AMOUNT_MAX_MINOR:
        raise InvalidTransactionError(
            "amount_too_large", "amount", f"must be at most {AMOUNT_MAX_MINOR} minor units", str(amount)
        )
    return minor


def amounts_to_minor(amounts: Sequence[float | str], currencies: Sequence[str], smallest_minor: int = 1) -> list[int]:
    """As `amount_to_minor`, of each amount; raises the `InvalidTransactionError` of the first that is refused."""
    if set(map(type, amounts)) == {float} and CURRENCY_EXPONENTS.keys() >= set(currencies):
        numbers = np.array(amounts)
        scales = np.array([_SCALES[currency] for currency in currencies])
        # Beyond any amount; a product with the scale could overflow.
        minor = np.rint(np.clip(numbers, -1e16, 1e16) * scales)
        if np.all((minor / scales == numbers) & (minor >= smallest_minor) & (minor <= AMOUNT_MAX_MINOR)):
            exact: list[int] = minor.astype(np.int64).tolist()
            return exact
    return list(map(amount_to_minor, amounts, currencies, repeat(smallest_minor)))


def _decimal_text_to_minor(text: str, exponent: int, currency: str) -> int:
    match = _DECIMAL.fullmatch(text.strip()) if len(text) <= 60 and text.isascii() else None
    if match is None:
        raise InvalidTransactionError(
            "amount_not_decimal", "amount", "must be a plain decimal number such as 12.50", text
        )
    sign, whole, fraction = match.groups(default="")
    digits = fraction.rstrip("0")
    if len(digits) > exponent:
        raise _too_many_decimals(text, exponent, currency)
    minor = int(whole) * _POWERS_OF_TEN[exponent] + int(digits.ljust(exponent, "0") or "0")
    return -minor if sign == "-" else minor


def _too_many_decimals(text: str, exponent: int, currency: str) -> InvalidTransactionError:
    reason = f"has more than the {exponent} decimals of {currency}"
    return InvalidTransactionError("too_many_decimals", "amount", reason, text)


class RatesError(Exception):
    """A rate file that cannot be used; the message names file, line, column and what to do."""


@dataclass(frozen=True)
class _Period:
    first_day: int
    last_day: int
    rate: Fraction


def _epoch_day(day: date) -> int:
    return (day - EPOCH.date()).days


class RateTable:
    """Dated rates to one base currency, immutable, identified by the hash of its content.

    A rate is how many units of the base currency one unit of the other is worth on each day from `first_day` to
    `last_day`, both included (UTC days).
    """

    def __init__(self, name: str, base_currency: str, periods: dict[str, list[_Period]], content_hash: str) -> None:
        self.name = name
        self.base_currency = base_currency
        self.content_hash = content_hash
        self.base_exponent = CURRENCY_EXPONENTS[base_currency]
        self._periods = periods
        self._first_days = {currency: [period.first_day for period in rows] for currency, rows in periods.items()}
        # Rates repeat for all transactions of a day and currency; the table is immutable, so this can't go stale. It
        # is bounded by currencies x days.
        self._ratios: dict[tuple[str, int], tuple[int, int]] = {}

    def to_base_minor(self, amount_minor: int, currency: str, timestamp_ms: int) -> int:
        """`amount_minor` of `currency` in minor units of the base currency, rounded half to even.

        Raises `InvalidTransactionError`: `no_rate` when the table has no rate for that day, `amount_too_large`.
        """
        if currency == self.base_currency:
            return amount_minor
        key = (currency, timestamp_ms // 86_400_000)
        ratio = self._ratios.get(key)
        if ratio is None:
            ratio = self._ratios[key] = self._ratio(*key)
        numerator, denominator = ratio
        quotient, remainder = divmod(amount_minor * numerator, denominator)
        twice = 2 * remainder
        if twice > denominator or (twice == denominator and quotient & 1):
            quotient += 1
        if quotient > BASE_AMOUNT_MAX_MINOR:
            raise InvalidTransactionError(
                "amount_too_large",
                "amount",
                f"comes to {quotient} minor units of {self.base_currency}, must be at most {BASE_AMOUNT_MAX_MINOR}",
                str(amount_minor),
            )
        return quotient

    def _ratio(self, currency: str, epoch_day: int) -> tuple[int, int]:
        index = bisect_right(self._first_days.get(currency, []), epoch_day) - 1
        period = self._periods[currency][index] if index >= 0 else None
        if period is None or period.last_day < epoch_day:
            day = EPOCH.date() + timedelta(days=epoch_day)
            raise InvalidTransactionError(
                "no_rate",
                "currency",
                f"no rate from {currency} to {self.base_currency} for {day} in rate table {self.name}",
                currency,
            )
        scale = Fraction(10) ** (self.base_exponent - CURRENCY_EXPONENTS[currency])
        ratio = period.rate * scale
        return ratio.numerator, ratio.denominator


def load_rates(path: Path, base_currency: str) -> RateTable:
    """Read a rate table: CSV with the columns `currency,first_day,last_day,rate`.

    Raises `RatesError` for a file that is missing, malformed, empty, of overlapping periods, or for a wrong base
    currency.
    """
    try:
        content = path.read_bytes()
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise RatesError(f"{path}: cannot read the rate table: {reason}") from error
    return parse_rates(text, path.stem, base_currency, str(path))


def parse_rates(text: str, name: str, base_currency: str, file_name: str) -> RateTable:
    """As `load_rates`, from text. The hash is over the parsed rows, so line endings and order do not change it."""
    if base_currency not in CURRENCY_EXPONENTS:
        raise RatesError(f"base currency {base_currency!r} is not an active ISO 4217 code")
    reader = csv.DictReader(io.StringIO(text))
    expected = ["currency", "first_day", "last_day", "rate"]
    if reader.fieldnames != expected:
        raise RatesError(f"{file_name}:1: the columns must be {','.join(expected)}, found {reader.fieldnames}")
    periods: dict[str, list[_Period]] = {}
    canonical = [base_currency]
    for row in reader:
        currency, period = _parse_period(row, base_currency, f"{file_name}:{reader.line_num}")
        periods.setdefault(currency, []).append(period)
        canonical.append(f"{currency} {period.first_day} {period.last_day} {period.rate}")
    for currency, rows in periods.items():
        rows.sort(key=lambda period: period.first_day)
        for earlier, later in pairwise(rows):
            if later.first_day <= earlier.last_day:
                day = EPOCH.date() + timedelta(days=later.first_day)
                raise RatesError(f"{file_name}: {currency} has two rates for {day}; let one period end the day before")
    digest = hashlib.sha256("\n".join(sorted(canonical)).encode()).hexdigest()
    return RateTable(name, base_currency, periods, digest)


def _parse_period(row: dict[str, str | None], base_currency: str, where: str) -> tuple[str, _Period]:
    currency = row["currency"] or ""
    if currency not in CURRENCY_EXPONENTS:
        raise RatesError(f"{where}: currency {currency!r} is not an active ISO 4217 code")
    if currency == base_currency:
        raise RatesError(
            f"{where}: has rates from {currency}, which is the base currency: name a table of rates to {currency} "
            "(FRAUD_RATES_FILE), or another base currency (FRAUD_BASE_CURRENCY)"
        )
    try:
        first_day = _epoch_day(date.fromisoformat(row["first_day"] or ""))
        last_day = _epoch_day(date.fromisoformat(row["last_day"] or ""))
    except ValueError as error:
        raise RatesError(f"{where}: days are written YYYY-MM-DD: {error}") from error
    rate_text = row["rate"] or ""
    if not re.fullmatch(r"\d{1,9}(\.\d{1,12})?", rate_text) or Fraction(rate_text) == 0:
        raise RatesError(f"{where}: rate {rate_text!r} must be a positive decimal number")
    if last_day < first_day:
        raise RatesError(f"{where}: last_day is before first_day")
    return currency, _Period(first_day, last_day, Fraction(rate_text))
