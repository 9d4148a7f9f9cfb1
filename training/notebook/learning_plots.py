"""Which features tell fraud apart: each alone, and together in a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fraud.features import feature_set
from fraud.report.drawing import FRAUD, LEGITIMATE, Plot, axes_of, drawing_style, figure, legend_above, svg
from fraud.report.formats import shortened
from fraud.scoring.model import Model
from training.dataset import Dataset, FloatArray
from training.metrics.ranking import Ranking
from training.notebook.listing import Listing

_SHOWN = 15
_NAME_LENGTH = 32
# A feature that fewer frauds have says more about these few than about fraud.
_FRAUDS_LEAST = 20
# Exact contributions cost a millisecond a row; the mean over so many moves by a percent from sample to sample.
_EXPLAINED_ROWS = 1_000


def areas_alone(rows: Dataset, feature_names: Sequence[str]) -> list[tuple[str, float, float]]:
    """Name, area under the ROC curve by this feature alone, and the share of rows that lack it; best first.

    Under 0.5: low values speak for fraud. Rows without the value are left out of its area.
    """
    found = []
    for place, name in enumerate(feature_names):
        values = rows.matrix[:, place]
        present = ~np.isnan(values)
        labels = rows.labels[present]
        if _FRAUDS_LEAST <= int(labels.sum()) < len(labels):
            area = Ranking(values[present], labels).auc_roc(np.ones(len(labels)))
            if area is not None:
                found.append((name, area, float(1 - present.mean())))
    return sorted(found, key=lambda row: -abs(row[1] - 0.5))


def alone_plot(areas: Sequence[tuple[str, float, float]]) -> Plot:
    """The best single features, by `areas_alone`."""
    title = "Features, each alone"
    shown = areas[:_SHOWN]
    if not shown:
        return Plot("alone", title, "", None, f"No feature has a value for {_FRAUDS_LEAST} frauds.")
    with drawing_style():
        drawn = figure(84 + 18 * len(shown))
        axes = axes_of(drawn)
        for place, (_, area, _) in enumerate(shown):
            colour = FRAUD if area > 0.5 else LEGITIMATE
            axes.barh([place], [abs(area - 0.5) + 0.5], left=0, height=0.7, color=colour)
        axes.barh([0], [0], color=FRAUD, label="high values are fraud")
        axes.barh([0], [0], color=LEGITIMATE, label="low values are fraud")
        axes.set_xlim(0.5, 1)
        axes.set_yticks(range(len(shown)), [shortened(name, _NAME_LENGTH) for name, _, _ in shown], fontsize=8)
        axes.invert_yaxis()
        axes.set_xlabel("area under the ROC curve")
        axes.grid(visible=False, axis="y")
        legend_above(axes, columns=1)
        reading = (
            "0.5 is chance. A feature that is almost 1 by itself has probably seen the label: look how it is made."
        )
        return Plot("alone", title, reading, svg(drawn, "alone", title))


def feature_listing(areas: Sequence[tuple[str, float, float]], feature_set_name: str) -> Listing:
    """What the best single features mean."""
    meanings = {row.name: row.meaning for row in feature_set(feature_set_name).rows}
    return Listing(
        ("feature", "area", "missing", "meaning"),
        [(name, f"{area:.3f}", f"{missing:.0%}", meanings.get(name, "")) for name, area, missing in areas[:_SHOWN]],
    )


def importance_plot(model: Model, matrix: FloatArray) -> Plot:
    """Mean size of the exact contributions to the highest scores of `matrix`, float64 [rows, features]."""
    title = f"What moves the scores of {model.name}"
    highest = np.argsort(-model.score(matrix), kind="stable")[:_EXPLAINED_ROWS]
    means = np.abs(model.explain(matrix[highest])).mean(axis=0)
    order = np.argsort(-means, kind="stable")[:_SHOWN].tolist()
    with drawing_style():
        drawn = figure(52 + 18 * len(order))
        axes = axes_of(drawn)
        axes.barh(range(len(order)), [means[place] for place in order], height=0.7, color=LEGITIMATE)
        names = [shortened(model.feature_names[place], _NAME_LENGTH) for place in order]
        axes.set_yticks(range(len(order)), names, fontsize=8)
        axes.invert_yaxis()
        axes.set_xlabel(f"mean size of the contribution, {model.raw_unit.replace('_', ' ')}")
        axes.grid(visible=False, axis="y")
        reading = f"Over the {len(highest):,} highest scores: what makes an alert, not what keeps the rest apart."
        return Plot("importance", title, reading, svg(drawn, "importance", title))
