"""`fraud init`: topics and tables."""

from __future__ import annotations

import asyncio
import logging
import sys

import click

from fraud.settings_command import command_settings

EXIT_USAGE = 2


@click.command("init", short_help="Create topics, tables and entity windows.")
def init_command() -> None:
    """Create what is missing of topics, tables and entity windows; safe to repeat, what is there is not changed."""
    from fraud.live.setup import SetupError, set_up_tables, set_up_topics, set_up_windows

    settings = command_settings()
    # What it would log about a connection that fails is in the error.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    for set_up in (set_up_topics, set_up_tables, set_up_windows):
        try:
            outcomes = asyncio.run(set_up(settings))
        except SetupError as error:
            click.echo(str(error), err=True)
            sys.exit(EXIT_USAGE)
        for outcome in outcomes:
            state = "made" if outcome.made else "differs" if outcome.differences else "found"
            click.echo(f"{outcome.kind:<8}  {state:<8}  {outcome.name}")
            for difference in outcome.differences:
                click.echo(f"                    {difference}")
