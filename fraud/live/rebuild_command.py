"""`fraud rebuild entities`."""

from __future__ import annotations

import asyncio
import sys
import time

import click

from fraud.settings_command import command_settings

EXIT_USAGE = 2


@click.group("rebuild")
def rebuild_command() -> None:
    """Make state again from what is its source of truth."""


@rebuild_command.command("entities")
def entities_command() -> None:
    """Fill Redis with the entity windows from history and labels, while workers go on.

    They use what is there until the new windows take its place at once. Stopped in the middle, it leaves everything as
    it was; it can be run again at any time.
    """
    from aiokafka.errors import KafkaError
    from botocore.exceptions import BotoCoreError, ClientError
    from tqdm import tqdm

    from fraud.bootstrap import load_artefacts
    from fraud.live.rebuild_entities import rebuild_entities
    from fraud.ports import EntityStoreUnavailableError, StoreUnavailableError
    from fraud.progress import SHOWN_AFTER_SECONDS
    from fraud.stores.entity_windows.rebuild import RebuildError

    settings = command_settings()
    artefacts = load_artefacts(settings, settings.feature_set, {}, policy_file=settings.policy_file, model_folder=None)
    with tqdm(unit=" events", unit_scale=True, delay=SHOWN_AFTER_SECONDS, disable=None) as bar:
        try:
            report = asyncio.run(
                rebuild_entities(
                    settings,
                    artefacts,
                    now_ms=time.time_ns() // 1_000_000,
                    on_progress=lambda events: bar.update(events - bar.n),
                )
            )
        except (RebuildError, EntityStoreUnavailableError, StoreUnavailableError, OSError) as error:
            _give_up(f"the windows stay as they were: {error}")
        except (KafkaError, BotoCoreError, ClientError) as error:
            _give_up(f"the windows stay as they were: {error}; do Kafka and DynamoDB run?")
    click.echo(
        f"{report.entities:,} entities from {report.events:,} events and {report.marks:,} frauds; "
        f"{report.left_to_workers:,} events are left to workers; {report.dropped_keys:,} former keys dropped"
    )


def _give_up(message: str) -> None:
    click.echo(message, err=True)
    sys.exit(EXIT_USAGE)
