"""How every plot of a report is drawn: size, colours and style, and a figure as SVG for a page."""

from __future__ import annotations

import io
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# 330 points wide: on a phone, within its margins, a point is a pixel, so that text of 10 points can be read there.
_WIDTH_POINTS = 330
HEIGHT_POINTS = 218
_POINTS_PER_INCH = 72

# Drawn in these colours and replaced by variables of the page's style, which has a light and a dark value for each.
# Blue and vermilion of the palette by Okabe and Ito: told apart with any colour vision, and by lightness in print.
INK, MUTED, GRID = "#1f2328", "#6a737d", "#d8dee4"
FRAUD, LEGITIMATE, UNKNOWN = "#d55e00", "#0072b2", "#8b949e"
# Lines of the things compared: the same palette without yellow, which no paper shows.
SERIES = ("#0072b1", "#d55e01", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    FRAUD: "var(--fraud)",
    LEGITIMATE: "var(--legitimate)",
    UNKNOWN: "var(--unknown)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(SERIES)},
}
_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": GRID,
    # The card behind the plot shows through, light or dark.
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9.5,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.size": 10,
    "savefig.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "legend.handlelength": 1.2,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",
    "text.color": INK,
    # A rule may be named `$x$`; it is not a formula.
    "text.parse_math": False,
    "xtick.color": GRID,
    "xtick.labelcolor": MUTED,
    "xtick.labelsize": 9,
    "ytick.color": GRID,
    "ytick.labelcolor": MUTED,
    "ytick.labelsize": 9,
}


@dataclass(frozen=True)
class Plot:
    """A drawn plot, or the reason why there is none.

    `svg` is inline SVG without a size of its own, None if the file or the run lacks what it needs: `absence` says what.
    """

    name: str
    title: str
    reading: str
    svg: str | None
    absence: str = ""


def drawing_style() -> AbstractContextManager[None]:
    """The style of every plot, to draw within: nothing of what a person has in a matplotlibrc, so that it cannot
    change a report.
    """
    return matplotlib.style.context(["default", _STYLE])


def figure(height_points: float = HEIGHT_POINTS) -> Figure:
    """Return an empty figure as wide as a phone."""
    size = (_WIDTH_POINTS / _POINTS_PER_INCH, height_points / _POINTS_PER_INCH)
    drawn = Figure(figsize=size, dpi=_POINTS_PER_INCH, layout="constrained")
    FigureCanvasSVG(drawn)
    return drawn


def svg(drawn: Figure, name: str, title: str) -> str:
    """Return the figure as an `<svg>` element for HTML: no header, no namespaces, no ids but those it uses."""
    buffer = io.StringIO()
    with matplotlib.style.context({"svg.hashsalt": name}):
        # Left to itself, saving draws everything once for the layout and once more for the file.
        layout = drawn.get_layout_engine()
        if layout is not None:
            layout.execute(drawn)
            drawn.set_layout_engine(None)
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        drawn.savefig(buffer, format="svg", metadata=metadata)
    text = buffer.getvalue()
    head, body = text[text.index("<svg") :].strip().split(">", 1)
    head = re.sub(r'\s(?:xmlns(?::xlink)?|version|width|height)="[^"]*"', "", head)
    text = f"{head}>{body}"
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    # Left out so that the page's own font applies.
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    return text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)


def axes_of(drawn: Figure) -> Axes:
    """Return the one pair of axes of a figure."""
    axes: Axes = drawn.add_subplot()
    return axes


def legend_above(axes: Axes, columns: int = 3) -> None:
    """Put the legend above the axes, where it covers nothing."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, borderaxespad=0.2, columnspacing=1.2)
