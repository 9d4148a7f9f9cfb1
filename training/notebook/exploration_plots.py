"""The plots of the first notebook: when, how much, where, and how late labels come."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from fraud.report.drawing import FRAUD, INK, LEGITIMATE, SERIES, Plot, axes_of, drawing_style, figure, legend_above, svg
from fraud.report.formats import count, percent, shortened
from fraud.transaction import timestamp_to_text
from training.notebook.transactions import Explored

_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
_NO_LABELS = "The source has no labels."
# More bars than this do not fit on a screen; the rest are the rare values.
_VALUES_SHOWN = 12
# A share of fewer payments than this says nothing: one fraud more would double it.
_PAYMENTS_LEAST = 100


def by_day(explored: Explored) -> Plot:
    """Payments and the share of fraud of each day (UTC)."""
    title = "Payments and fraud by day"
    days = explored.values("timestamp") // _DAY_MS
    first = int(days.min())
    payments = np.bincount(days - first)
    frauds = np.bincount(days - first, weights=explored.values("is_fraud") == 1, minlength=len(payments))
    with drawing_style():
        drawn = figure(270)
        upper, lower = drawn.subplots(2, 1, sharex=True)
        places = np.arange(len(payments))
        upper.bar(places, payments, color=LEGITIMATE, width=0.8)
        upper.set_ylabel("payments")
        lower.bar(places, np.divide(frauds, payments, out=np.zeros(len(payments)), where=payments > 0), color=FRAUD)
        lower.set_ylabel("share of fraud")
        lower.yaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
        upper.yaxis.set_major_formatter(FuncFormatter(lambda value, _: count(int(value))))
        for axes in (upper, lower):
            axes.yaxis.set_major_locator(MaxNLocator(4))
        shown = np.unique(np.linspace(0, len(payments) - 1, 6).round().astype(int))
        lower.set_xticks(shown, [timestamp_to_text(int(first + day) * _DAY_MS)[5:10] for day in shown])
        reading = (
            "Fraud comes in waves: a test period must be longer than one. A day that sticks out is a feed that broke."
        )
        return _finished(drawn, "by_day", title, reading)


def by_hour(explored: Explored) -> Plot:
    """How payments of both kinds spread over the hours of the day (UTC)."""
    title = "Hour of the day"
    if not explored.is_labelled:
        return Plot("by_hour", title, "", None, _NO_LABELS)
    hours = explored.values("timestamp") // _HOUR_MS % 24
    fraud = explored.values("is_fraud")
    with drawing_style():
        drawn = figure()
        axes = axes_of(drawn)
        for label, colour, name in ((0, LEGITIMATE, "legitimate"), (1, FRAUD, "fraud")):
            of_kind = np.bincount(hours[fraud == label], minlength=24)
            axes.stairs(of_kind / max(of_kind.sum(), 1), range(25), color=colour, label=name, linewidth=1.6)
        axes.set_xticks(range(0, 25, 4))
        axes.set_xlabel("hour (UTC)")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
        legend_above(axes)
        return _finished(
            drawn, "by_hour", title, "Each line sums to 100%. Where orange lies above blue, the hour tells."
        )


def by_amount(explored: Explored) -> Plot:
    """How amounts of both kinds spread."""
    title = "Amounts"
    if not explored.is_labelled:
        return Plot("by_amount", title, "", None, _NO_LABELS)
    amounts, fraud = explored.values("base_amount"), explored.values("is_fraud")
    positive = amounts > 0
    # Below and above there is next to nothing, which would press everything else together.
    low, high = np.quantile(amounts[positive], [0.0005, 0.9995])
    edges = np.geomspace(max(low, 0.01), max(high, low * 10, 0.1), 40)
    with drawing_style():
        drawn = figure()
        axes = axes_of(drawn)
        for label, colour, name in ((0, LEGITIMATE, "legitimate"), (1, FRAUD, "fraud")):
            of_kind = np.histogram(amounts[positive & (fraud == label)], edges)[0]
            axes.stairs(of_kind / max(of_kind.sum(), 1), edges, color=colour, label=name, linewidth=1.6)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axes.set_xlabel(f"{explored.base_currency}, each step the same factor")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
        legend_above(axes)
        reading = "Small frauds try whether a card works, large ones take the money: no single amount tells them apart."
        return _finished(drawn, "by_amount", title, reading)


def fraud_share_by(explored: Explored, field: str) -> Plot:
    """The share of fraud for each value of a field, the most frequent values, with 95% intervals (Wilson 1927)."""
    title = f"Share of fraud by {field.replace('_', ' ')}"
    name = f"by_{field}"
    if not explored.is_labelled:
        return Plot(name, title, "", None, _NO_LABELS)
    rows = _shares(explored.values(field), explored.values("is_fraud"))
    if not rows:
        return Plot(name, title, "", None, f"No value of {field} has {_PAYMENTS_LEAST} labelled payments.")
    overall = float(np.nanmean(explored.values("is_fraud")))
    with drawing_style():
        drawn = figure(60 + 20 * len(rows))
        axes = axes_of(drawn)
        for place, (_, share, low, high, _) in enumerate(rows):
            axes.plot([low, high], [place, place], color=FRAUD, linewidth=2.2)
            axes.plot([share], [place], marker="o", markersize=5, color=FRAUD)
        axes.axvline(overall, color=INK, linewidth=0.8, linestyle=(0, (3, 2)))
        axes.set_yticks(range(len(rows)), [f"{shortened(row[0], 16)} ({count(row[4])})" for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
        axes.grid(visible=False, axis="y")
        return _finished(drawn, name, title, "With 95% intervals; dashed: all payments. In brackets how many payments.")


def _shares(values: npt.NDArray[Any], fraud: npt.NDArray[np.float64]) -> list[tuple[str, float, float, float, int]]:
    """Value, share of fraud, both ends of its interval, and payments, of the most frequent values, most fraud first."""
    found = []
    labelled = ~np.isnan(fraud)
    texts = np.array([_text(value) for value in values[labelled]], dtype=object)
    names, codes = np.unique(texts, return_inverse=True)
    payments, frauds = np.bincount(codes), np.bincount(codes, weights=fraud[labelled])
    for place in np.argsort(-payments, kind="stable")[:_VALUES_SHOWN].tolist():
        rows, caught = int(payments[place]), float(frauds[place])
        if rows >= _PAYMENTS_LEAST:
            found.append((str(names[place]), caught / rows, *_wilson(caught, rows), rows))
    return sorted(found, key=lambda row: -row[1])


def _text(value: object) -> str:
    if value is None or value != value:  # noqa: PLR0124 NaN alone differs from itself
        return "(missing)"
    return {1.0: "yes", 0.0: "no"}[value] if isinstance(value, float) else str(value)


def _wilson(hits: float, rows: int) -> tuple[float, float]:
    """Both ends of the 95% interval of a share."""
    z = 1.96
    share = hits / rows
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * float(np.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows)))
    return max(centre - half, 0.0), centre + half


def label_delays(explored: Explored) -> Plot:
    """The share of frauds that is known so many days after the payment, by who found out."""
    title = "How late frauds become known"
    fraud = explored.values("is_fraud") == 1
    known_at_ms = explored.values("label_known_at")
    fraud &= known_at_ms >= 0
    if not fraud.any():
        return Plot("label_delays", title, "", None, "The source does not say when a label became known.")
    delays = (known_at_ms[fraud] - explored.values("timestamp")[fraud]) / _DAY_MS
    sources = explored.values("label_source")[fraud]
    days = np.linspace(0, min(float(delays.max()) + 1, 90), 200)
    with drawing_style():
        drawn = figure(265)
        axes = axes_of(drawn)
        axes.plot(days, [(delays <= day).mean() for day in days], color=INK, linewidth=2.2, label="all")
        for number, name in enumerate(sorted({name for name in sources if name is not None})):
            of_source = delays[sources == name]
            label = f"{name.replace('_', ' ')} ({count(len(of_source))})"
            axes.plot(
                days, [(of_source <= day).mean() for day in days], color=SERIES[number % len(SERIES)], label=label
            )
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("days after the payment")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
        legend_above(axes, columns=2)
        reading = "What is not known yet looks legitimate: rows younger than this must not be learned from as such."
        return _finished(drawn, "label_delays", title, reading)


def _finished(drawn: Figure, name: str, title: str, reading: str) -> Plot:
    return Plot(name, title, reading, svg(drawn, name, title))
