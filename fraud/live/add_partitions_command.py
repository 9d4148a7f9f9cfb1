"""`fraud add-partitions`."""

from __future__ import annotations

import asyncio
import logging
import sys

import click

from fraud.settings_command import command_settings

EXIT_USAGE = 2


@click.command("add-partitions", short_help="Give topics more partitions.")
def add_partitions_command() -> None:
    """Give the topics as many partitions as FRAUD_TOPIC_PARTITIONS says, so that more workers can share them.

    Refused while workers are at work or have not caught up: docs/going-live.md has the whole procedure.
    """
    from fraud.live.add_partitions import add_partitions
    from fraud.live.setup import SetupError

    settings = command_settings()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        counts = asyncio.run(add_partitions(settings))
    except SetupError as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_USAGE)
    for name, (before, after) in counts.items():
        click.echo(f"{name:<24} {before} -> {after}" if after > before else f"{name:<24} {before}")
