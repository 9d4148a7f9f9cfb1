"""`fraud worker`, `fraud produce` and `fraud tail`."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click

from fraud.option_kinds import Days
from fraud.progress import progress_bar
from fraud.settings import Settings
from fraud.settings_command import command_settings


@click.command("worker", short_help="Decide what arrives on the topics.")
def worker_command() -> None:
    """Decide what arrives on the topics, until it is told to stop. Several workers share the partitions."""
    # Until the running app handles it: nothing has been taken yet, so there is nothing to finish.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    from fraud.bootstrap import load_artefacts
    from fraud.live.brokers import check_brokers
    from fraud.live.dynamodb_client import check_tables
    from fraud.live.kafka import connection
    from fraud.live.logs import configure_logs
    from fraud.live.reload import check_artefacts
    from fraud.live.worker import run_worker

    settings = command_settings()
    artefacts = load_artefacts(
        settings, settings.feature_set, {}, policy_file=settings.policy_file, model_folder=settings.model_folder
    )
    asyncio.run(check_artefacts(settings, artefacts))
    asyncio.run(check_brokers(connection(settings)))
    asyncio.run(check_tables(settings))
    configure_logs(settings.log_level)
    run_worker(settings, artefacts)


class _Speed(click.ParamType):
    """`1x`, `60x`, `max`; becomes event time over real time, 0 for max."""

    name = "speed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        if value == "max":
            return 0.0
        number = re.fullmatch(r"(\d+(?:\.\d+)?)x", str(value))
        if number is None or not float(number[1]):
            self.fail(f"{value!r} is no speed such as 1x (as it was), 60x (an hour a minute) or max", param, ctx)
        return float(number[1])


@click.command("produce", short_help="Send transaction files to the topics.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--mapping", "mapping_name", default="native", show_default=True, metavar="NAME|FILE.yaml")
@click.option("--speed", type=_Speed(), default="1x", show_default=True, help="1x, 60x, ... or max.")
@click.option("--label-delay-days", type=Days(), default=7.0, show_default=True)
def produce_command(files: tuple[Path, ...], mapping_name: str, speed: float, label_delay_days: float) -> None:
    """Send transaction files to the topics, and their labels when they become known."""
    from fraud.live.produce import FileProducer, Produced
    from fraud.sources.mapping import load_mapping
    from fraud.sources.reader import TransactionFiles

    settings = command_settings()
    source = TransactionFiles(files, load_mapping(mapping_name))

    async def send_all() -> Produced:
        producer = await _started_producer(settings)

        async def send(topic: str, key: bytes, value: bytes, _moment_ms: int) -> Any:
            return await producer.send(topic, value, key=key)

        sender = FileProducer(
            send,
            settings.transactions_topic,
            settings.labels_topic,
            speed=speed,
            label_delay_days=label_delay_days,
            clock=time.monotonic,
        )
        try:
            with progress_bar(source.total_bytes) as advance:
                return await sender.run(source, advance)
        finally:
            await producer.stop()

    produced = asyncio.run(send_all())
    click.echo(f"{produced.transactions:,} transactions and {produced.labels:,} labels sent")
    if produced.labels_to_come:
        click.echo(f"{produced.labels_to_come:,} labels become known only after the last transaction: not sent")
    if produced.rejected:
        click.echo(f"{produced.rejected:,} records refused, the first: {produced.first_rejected}", err=True)


async def _started_producer(settings: Settings) -> Any:
    from fraud.live.brokers import check_brokers
    from fraud.live.kafka import connection

    to = connection(settings)
    await check_brokers(to)
    # Half a batch's time: filling requests counts here, not latency.
    producer = to.producer(linger_ms=5)
    await producer.start()
    return producer


@click.command("tail")
@click.argument("what", type=click.Choice(["decisions", "alerts"]))
@click.option("--from-start", is_flag=True, help="From the oldest message that the topic still has.")
@click.option("--limit", type=click.IntRange(min=1), help="Stop after so many.")
@click.option("--user", "user_id", help="Only this customer.")
@click.option("--action", type=click.Choice(["allow", "challenge", "review", "block"]), help="Only this action.")
@click.option("--json", "as_json", is_flag=True, help="The whole messages.")
def tail_command(
    what: str, *, from_start: bool, limit: int | None, user_id: str | None, action: str | None, as_json: bool
) -> None:
    """Show decisions or alerts as they come out, a line each."""
    from fraud.live.tail import TailFilter, tail

    settings = command_settings()
    topic = settings.decisions_topic if what == "decisions" else settings.alerts_topic
    asyncio.run(tail(settings, topic, TailFilter(user_id, action), click.echo, from_start, limit, as_json))
