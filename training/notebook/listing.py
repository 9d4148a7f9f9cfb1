"""Tables and plots as a notebook shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from fraud.report.drawing import FRAUD, LEGITIMATE, SERIES, UNKNOWN, Plot
from fraud.report.formats import NOTHING

# The page of a report brings light and dark values for these; a notebook has its own theme, whose colours are taken
# where it names them.
_COLOURS = {
    "--ink": "var(--jp-content-font-color1, #1f2328)",
    "--muted": "var(--jp-content-font-color2, #6a737d)",
    "--grid": "var(--jp-border-color2, #d8dee4)",
    "--fraud": FRAUD,
    "--legitimate": LEGITIMATE,
    "--unknown": UNKNOWN,
    **{f"--series-{number}": colour for number, colour in enumerate(SERIES)},
}
# Two of them stand side by side in JupyterLab beside its list of files, on a screen of 1280 pixels.
_PLOT_WIDTH = "24rem"


@dataclass(frozen=True)
class Listing:
    """A table for reading: `columns` are its heads, `rows` its cells as text. Cells that look like numbers stand right.

    Everything is shown as text, whatever a merchant or customer put into it.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def _repr_html_(self) -> str:
        right = [
            bool(self.rows) and all(_is_number(row[place]) for row in self.rows) for place in range(len(self.columns))
        ]
        head = "".join(_cell("th", text, right=right[place]) for place, text in enumerate(self.columns))
        body = "".join(
            "<tr>" + "".join(_cell("td", text, right=right[place]) for place, text in enumerate(row)) + "</tr>"
            for row in self.rows
        )
        return f'<table style="margin-left:0"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'

    def __repr__(self) -> str:
        """The table in plain text, for a terminal."""
        lines = [tuple(self.columns), *(tuple(row) for row in self.rows)]
        widths = [max(len(line[place]) for line in lines) for place in range(len(self.columns))]
        return "\n".join(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in lines
        )


def _is_number(text: str) -> bool:
    return not text or text[0] in "+-0123456789" or text in {NOTHING, "never"}


def _cell(kind: str, text: str, *, right: bool) -> str:
    return f'<{kind} style="text-align:{"right;white-space:nowrap" if right else "left"}">{escape(text)}</{kind}>'


@dataclass(frozen=True)
class Shown:
    """Plots in a notebook, each under its title and with how to read it."""

    plots: Sequence[Plot]

    def _repr_html_(self) -> str:
        variables = ";".join(f"{name}:{value}" for name, value in _COLOURS.items())
        figures = "".join(
            f'<figure style="margin:0;width:{_PLOT_WIDTH};max-width:100%">'
            f"<strong>{escape(plot.title)}</strong>{plot.svg or ''}"
            f'<figcaption style="color:var(--muted)">{escape(plot.reading if plot.svg else plot.absence)}</figcaption>'
            "</figure>"
            for plot in self.plots
        )
        return f'<div style="display:flex;flex-wrap:wrap;gap:1.5rem;{variables}">{figures}</div>'

    def __repr__(self) -> str:
        """The titles of the plots."""
        return ", ".join(plot.title for plot in self.plots)
