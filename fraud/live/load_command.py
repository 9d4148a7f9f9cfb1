"""`fraud load`."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import click

from fraud.option_kinds import Days
from fraud.settings_command import command_settings

EXIT_USAGE = 2


@click.command("load", short_help="Fill the stores from past transactions.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--mapping", "mapping_name", default="native", show_default=True, metavar="NAME|FILE.yaml")
@click.option("--label-delay-days", type=Days(), default=7.0, show_default=True)
@click.option("--rejected", type=click.Path(path_type=Path), help="Write what was refused there, a line of JSON each.")
def load_command(files: tuple[Path, ...], mapping_name: str, label_delay_days: float, rejected: Path | None) -> None:
    """Fill history, profiles and entity windows from past transactions, before the first worker starts.

    Nothing is published. What is there afterwards equals having processed the files live. Stopped in the middle, the
    same command goes on; run again, it changes nothing.
    """
    from aiokafka.errors import KafkaError
    from botocore.exceptions import BotoCoreError, ClientError

    from fraud.bootstrap import load_artefacts
    from fraud.live.load import files_digest, load, working_members
    from fraud.live.logs import configure_logs
    from fraud.live.rejected_file import RejectedFile
    from fraud.ports import EntityStoreUnavailableError, StoreUnavailableError
    from fraud.progress import progress_bar
    from fraud.sources.mapping import load_mapping
    from fraud.sources.reader import TransactionFiles

    settings = command_settings()
    source = TransactionFiles(files, load_mapping(mapping_name))
    artefacts = load_artefacts(
        settings, settings.feature_set, {}, policy_file=settings.policy_file, model_folder=settings.model_folder
    )
    configure_logs(settings.log_level)
    try:
        members = asyncio.run(working_members(settings))
        if members:
            _give_up(
                f"{members} workers of the group {settings.consumer_group!r} are at work: stop them first, else past "
                f"and present of a customer would be mixed"
            )
        with RejectedFile(rejected) as refusals, progress_bar(source.total_bytes) as advance:
            loaded = asyncio.run(
                load(
                    settings,
                    artefacts,
                    source,
                    digest=files_digest(files, mapping_name),
                    label_delay_days=label_delay_days,
                    loaded_ms=time.time_ns() // 1_000_000,
                    advance=advance,
                    reject=refusals.record,
                    refuse=refusals.dead_letter,
                )
            )
    except (EntityStoreUnavailableError, StoreUnavailableError, OSError) as error:
        _give_up(f"{error}; run the same command again to go on")
    except (KafkaError, BotoCoreError, ClientError) as error:
        _give_up(f"{error}; do Kafka and DynamoDB run, and is `fraud init` run?")
    read = loaded.read
    click.echo(f"{read.transactions:,} transactions and {read.labels:,} labels loaded, nothing published")
    if read.labels_to_come:
        click.echo(f"{read.labels_to_come:,} labels become known only after the last transaction: not loaded")
    refused = read.rejected + loaded.refused
    if refused:
        where = f"see {rejected}" if rejected else "name a file by --rejected to see them"
        click.echo(f"{refused:,} records refused; {where}", err=True)


def _give_up(message: str) -> None:
    click.echo(message, err=True)
    sys.exit(EXIT_USAGE)
