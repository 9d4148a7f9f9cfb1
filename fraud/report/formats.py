"""Numbers as people read them, the same on the page, in the plots and in the terminal."""

from __future__ import annotations

NOTHING = "\N{EN DASH}"


def count(number: float | None) -> str:
    """Return a whole number with thousands separated, `1,234,567`; a dash for None."""
    return NOTHING if number is None else f"{number:,.0f}"


def decimal(number: float | None, digits: int = 1) -> str:
    """Return a number with `digits` decimals; a dash for None."""
    return NOTHING if number is None else f"{number:,.{digits}f}"


def percent(share: float | None) -> str:
    """Return a share as a percentage, with more digits the nearer it is to none: `93.2%`, `0.85%`, `0.012%`."""
    if share is None:
        return NOTHING
    hundredths = 100 * share
    if hundredths == 0 or hundredths >= 1:
        return f"{hundredths:.1f}%"
    return f"{hundredths:.2f}%" if hundredths >= 0.1 else f"{hundredths:.3f}%"


def money(amount_minor: int | None, currency: str, exponent: int) -> str:
    """Return an amount of minor units in whole units of its currency: `1,234 EUR`; cents only under 100 units."""
    if amount_minor is None:
        return NOTHING
    amount = amount_minor / 10**exponent
    digits = exponent if 0 < abs(amount) < 100 else 0
    return f"{amount:,.{digits}f} {currency}"


def short_money(amount_minor: int, exponent: int) -> str:
    """Return an amount in as few characters as a plot has room for: `950`, `12.3k`, `4.5M`, `1.2bn`."""
    amount = amount_minor / 10**exponent
    for limit, suffix in ((1e9, "bn"), (1e6, "M"), (1e3, "k")):
        if abs(amount) >= limit:
            return f"{amount / limit:.1f}{suffix}"
    return f"{amount:.0f}"


def shortened(text: str, length: int) -> str:
    """Return `text`, its end replaced by an ellipsis if it is longer than `length` characters."""
    return text if len(text) <= length else text[: length - 1] + "…"
