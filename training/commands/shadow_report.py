"""`fraud-train shadow-report`: models in shadow beside the champion, by what history holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fraud.option_kinds import Days, Moment
from training.commands.options import refusals_for_people

if TYPE_CHECKING:
    from training.shadow import ShadowComparison


@click.command("shadow-report", short_help="Compare models in shadow with the one that decided.")
@click.option("--feature-set", "feature_set_name", default="default", show_default=True, help="Features of the models.")
@click.option(
    "--maturity-days",
    type=Days(),
    default=7.0,
    show_default=True,
    help="Age at which a row without a fraud label counts as legitimate.",
)
@click.option("--from", "from_ms", type=Moment(), metavar="TIME", help="First row.")
@click.option("--to", "to_ms", type=Moment(), metavar="TIME", help="End, exclusive.")
@click.option("--as-of", "as_of_ms", type=Moment(), metavar="TIME", help="Labels as known at this time; now.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the bootstrap.")
@click.option("--draws", type=click.IntRange(min=1), default=1_000, show_default=True, help="Draws of the bootstrap.")
def shadow_report(
    *,
    feature_set_name: str,
    maturity_days: float,
    from_ms: int | None,
    to_ms: int | None,
    as_of_ms: int | None,
    seed: int,
    draws: int,
) -> None:
    """Compare models in shadow with the one that decided, on the transactions that both have scored.

    Differences are paired, with intervals by bootstrap over customers. Decisions made without a part of the service
    are left out, and so is what is not known yet. What the champion blocked has no outcome of its own; where a control
    group let some of it through, that stands for all of it.
    """
    import math
    from time import time_ns

    from fraud.money import CURRENCY_EXPONENTS
    from fraud.settings import load_settings
    from fraud.transaction import timestamp_to_text
    from training.commands.from_history import HistoryRequest, read_history, rows_as_known
    from training.evaluation import EvaluationOptions
    from training.metrics.cost import CostModel
    from training.shadow import CHAMPION, compare_shadows

    known_by_ms = time_ns() // 1_000_000 if as_of_ms is None else as_of_ms
    wanted = HistoryRequest(
        feature_set_name,
        -math.inf if from_ms is None else from_ms,
        math.inf if to_ms is None else to_ms,
        known_by_ms,
        maturity_days,
    )
    with refusals_for_people():
        settings = load_settings()
        history, labels = read_history(settings, wanted)
        known = rows_as_known(history, labels, wanted)
        minor_units = 10 ** CURRENCY_EXPONENTS[settings.base_currency]
        options = EvaluationOptions(minor_units, CostModel(), None, seed, (CHAMPION,), draws)
        compared = compare_shadows(known, options)
    click.echo(f"labels as known at {timestamp_to_text(known_by_ms)}, {history.degraded:,} degraded decisions left out")
    if not compared:
        click.echo("no model has scored in shadow in this period: fraud-train models shadow NAME puts one there")
    for comparison in compared:
        click.echo(comparison_text(comparison))


def comparison_text(comparison: ShadowComparison) -> str:
    """One model in shadow, for a terminal."""
    from training.commands.judging import metrics_text

    deciding = ", ".join(comparison.champions)
    lines = [
        f"\nmodel {comparison.shadow_name} in shadow of {deciding}: {comparison.rows:,} rows scored by both, "
        f"{comparison.unknown:,} not known yet, {comparison.blocked:,} blocked without an outcome; "
        f"its scores are {comparison.mean_difference:+.6f} higher on average"
    ]
    if comparison.evaluation is None:
        lines.append("what is known has not both frauds and legitimate payments yet: come back when labels have come")
    else:
        lines.append(metrics_text(comparison.evaluation))
    return "\n".join(lines)
