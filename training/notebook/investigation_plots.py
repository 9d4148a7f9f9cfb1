"""One alert in pictures: what its customer paid before, and what moved its score."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.ticker import FuncFormatter, MaxNLocator

from fraud.report.drawing import (
    FRAUD,
    INK,
    LEGITIMATE,
    UNKNOWN,
    Plot,
    axes_of,
    drawing_style,
    figure,
    legend_above,
    svg,
)
from fraud.report.formats import shortened
from training.notebook.investigation import Alert, Event, Explanation

_DAY_MS = 86_400_000
# The longest windows of the default features look back as far.
_DAYS_SHOWN = 30
_REASONS_SHOWN = 12


def history_plot(history: Sequence[Event], alert: Alert, days: int = _DAYS_SHOWN) -> Plot:
    """The customer's payments of the `days` before the alert, and the alert."""
    title = f"{days} days of {alert.decision['user_id']}"
    own = alert.decision["transaction_id"]
    shown = [
        event
        for event in history
        if alert.timestamp_ms - days * _DAY_MS <= event.timestamp_ms <= alert.timestamp_ms and event.amount > 0
    ]
    if not shown:
        return Plot("history", title, "", None, "The customer paid nothing in these days.")
    with drawing_style():
        drawn = figure(240)
        axes = axes_of(drawn)
        for is_fraud, colour, name in (
            (False, LEGITIMATE, "legitimate"),
            (True, FRAUD, "fraud, as known in the end"),
            (None, UNKNOWN, "nothing known"),
        ):
            of_kind = [event for event in shown if event.is_fraud is is_fraud]
            if of_kind:
                axes.plot(
                    [(event.timestamp_ms - alert.timestamp_ms) / _DAY_MS for event in of_kind],
                    [event.amount for event in of_kind],
                    linestyle="none",
                    marker="o",
                    markersize=5,
                    alpha=0.8,
                    color=colour,
                    label=name,
                )
        ours = [event.amount for event in shown if event.transaction_id == own]
        axes.plot(
            [0] * len(ours),
            ours,
            linestyle="none",
            marker="o",
            markersize=13,
            fillstyle="none",
            color=INK,
            label="this alert",
        )
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axes.set_xlim(-days - 0.5, 1)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel("days before the alert")
        axes.set_ylabel(" or ".join(sorted({event.currency for event in shown})))
        legend_above(axes, columns=2)
        reading = (
            "Is this payment like the others, in amount and in rhythm? Bursts close to zero are what the counts see."
        )
        return Plot("history", title, reading, svg(drawn, "history", title))


def reasons_plot(found: Explanation) -> Plot:
    """The largest contributions to the score, and the rest in one bar."""
    title = "What moved the score"
    bars = [(name, moved) for name, moved, _ in found.contributions[:_REASONS_SHOWN]]
    bars.append(("all others", sum(moved for _, moved, _ in found.contributions[_REASONS_SHOWN:])))
    with drawing_style():
        drawn = figure(60 + 18 * len(bars))
        axes = axes_of(drawn)
        colours = [FRAUD if moved > 0 else LEGITIMATE for _, moved in bars]
        axes.barh(range(len(bars)), [moved for _, moved in bars], height=0.7, color=colours)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(range(len(bars)), [shortened(name, 32) for name, _ in bars], fontsize=8)
        axes.invert_yaxis()
        axes.set_xlabel(f"{found.unit}, from {found.base_value:.2f} on")
        axes.grid(visible=False, axis="y")
        reading = f"To the right speaks for fraud. With the start they add up to the score, {found.score:.6f}."
        return Plot("reasons", title, reading, svg(drawn, "reasons", title))
