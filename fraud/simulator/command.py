"""`fraud simulate`: write a simulated transaction file and say what is in it."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fraud.simulator.options import NUMBER_LIMITS, SCENARIOS, WHOLE_LIMITS, InvalidOptionError, SimulationOptions

if TYPE_CHECKING:
    from fraud.simulator.writing import SimulationSummary

_DEFAULT = SimulationOptions()
FORMAT_NAMES = ("native", "handbook", "sparkov", "paysim")


def _whole(name: str) -> click.IntRange:
    return click.IntRange(*WHOLE_LIMITS[name])


def _number(name: str) -> click.FloatRange:
    return click.FloatRange(*NUMBER_LIMITS[name])


def _shares(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    """`NAME=SHARE` as a mapping."""
    shares = {}
    for value in values:
        name, separator, share = value.partition("=")
        try:
            shares[name.strip()] = float(share)
        except ValueError:
            separator = ""
        if not separator:
            raise click.BadParameter(f"{value!r} is not NAME=SHARE, such as card_testing=0.3", context, parameter)
    return shares


@click.command(
    "simulate", context_settings={"show_default": True}, short_help="Write simulated transactions with known fraud."
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write: .csv, .jsonl (both also with .gz or .zst) or .parquet.",
)
@click.option("--format", "file_format", type=click.Choice(FORMAT_NAMES), default="native", help="Columns and units.")
@click.option("--seed", type=_whole("seed"), default=_DEFAULT.seed, help="The same seed gives the same bytes.")
@click.option("--days", type=_whole("days"), default=_DEFAULT.days, help="How many days to simulate.")
@click.option("--start", type=click.DateTime(["%Y-%m-%d"]), default=f"{_DEFAULT.start}", help="The first day, in UTC.")
@click.option("--customers", type=_whole("customers"), default=_DEFAULT.customers, help="How many customers there are.")
@click.option("--merchants", type=_whole("merchants"), default=_DEFAULT.merchants, help="How many merchants there are.")
@click.option(
    "--terminals-per-merchant",
    type=_whole("terminals_per_merchant"),
    default=_DEFAULT.terminals_per_merchant,
    help="Tills of each.",
)
@click.option(
    "--transactions-per-day",
    type=_number("transactions_per_customer_per_day"),
    default=_DEFAULT.transactions_per_customer_per_day,
    help="Legitimate payments of a customer on an average day.",
)
@click.option(
    "--fraud-rate",
    type=_number("fraud_rate"),
    default=_DEFAULT.fraud_rate,
    help="Share of fraud in all authorisations.",
)
@click.option(
    "--scenario-share",
    "scenario_shares",
    multiple=True,
    callback=_shares,
    metavar="NAME=SHARE",
    help=f"Relative share of a scenario; if any is given, the others have none. Names: {', '.join(SCENARIOS)}.",
)
@click.option(
    "--travel-rate",
    type=_number("travel_rate"),
    default=_DEFAULT.travel_rate,
    help="Share of days that a customer is away.",
)
@click.option(
    "--unreported-share",
    type=_number("unreported_share"),
    default=_DEFAULT.unreported_share,
    help="Share of frauds that nobody ever reports.",
)
@click.option(
    "--dispute-rate",
    type=_number("dispute_rate"),
    default=_DEFAULT.dispute_rate,
    help="Share of legitimate payments that their own customer disputes.",
)
@click.option(
    "--label-delay-factor",
    type=_number("label_delay_factor"),
    default=_DEFAULT.label_delay_factor,
    help="Multiplies the delay of every label.",
)
def simulate_command(
    *,
    out: Path,
    file_format: str,
    seed: int,
    days: int,
    start: datetime,
    customers: int,
    merchants: int,
    terminals_per_merchant: int,
    transactions_per_day: float,
    fraud_rate: float,
    scenario_shares: dict[str, float],
    travel_rate: float,
    unreported_share: float,
    dispute_rate: float,
    label_delay_factor: float,
) -> None:
    """Write simulated transactions with known fraud: customers with habits, merchants, and eight kinds of fraud."""
    try:
        options = SimulationOptions(
            seed=seed,
            days=days,
            start=date(start.year, start.month, start.day),
            customers=customers,
            merchants=merchants,
            terminals_per_merchant=terminals_per_merchant,
            transactions_per_customer_per_day=transactions_per_day,
            fraud_rate=fraud_rate,
            scenario_shares=scenario_shares or _DEFAULT.scenario_shares,
            travel_rate=travel_rate,
            unreported_share=unreported_share,
            dispute_rate=dispute_rate,
            label_delay_factor=label_delay_factor,
        )
        summary = _write(options, out, file_format)
    except InvalidOptionError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.UsageError(f"cannot write {out}: {error.strerror or error}") from error
    _say(options, out, summary)


def _write(options: SimulationOptions, out: Path, file_format: str) -> SimulationSummary:
    from tqdm import tqdm

    from fraud.simulator.writing import write_simulation

    # Expected, not exact: sprees, retries, refunds and fraud come on top.
    total = int(options.customers * options.days * options.transactions_per_customer_per_day * 1.1)
    with tqdm(total=total, unit=" transactions", unit_scale=True, delay=2, disable=None) as bar:
        return write_simulation(options, out, file_format=file_format, progress=bar.update)


def _say(options: SimulationOptions, out: Path, summary: SimulationSummary) -> None:
    click.echo(f"{out}: {options.days} days from {options.start}, {options.customers:,} customers, seed {options.seed}")
    click.echo(f"  transactions   {summary.rows:>12,}  of which authorisations {summary.authorisations:,}")
    click.echo(f"  volume         {summary.amount_euro:>12,.0f}  EUR")
    click.echo(
        f"  fraud          {summary.frauds:>12,}  {summary.fraud_rate:.3%}, {summary.fraud_amount_euro:,.0f} EUR"
    )
    for name, count in summary.scenarios.items():
        if count:
            click.echo(f"    {name:<22}{count:>8,}")
