"""`fraud dead-letters list|show|retry`: what the service refused."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from fraud.settings import Settings
from fraud.settings_command import command_settings

if TYPE_CHECKING:
    from fraud.live.dead_letter import DeadLetter
    from fraud.live.dead_letters import LetterFilter, LetterPlace
    from fraud.live.kafka import Connection

EXIT_USAGE = 2
# A terminal's line: what is longer is in `show`.
_SHOWN_CHARACTERS = 60


class _Place(click.ParamType):
    name = "place"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> LetterPlace:
        from fraud.live.dead_letters import PlaceError, parsed_place

        try:
            return parsed_place(str(value))
        except PlaceError as error:
            self.fail(str(error), param, ctx)


class _Since(click.ParamType):
    """A date (midnight UTC) or a time with zone, as the text that letters carry."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from fraud.transaction import timestamp_to_ms, timestamp_to_text

        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is neither a date like 2026-03-01 nor a time like 2026-03-01T12:00:00Z", param, ctx)
        return timestamp_to_text(timestamp_to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC)))


def _filtered(command: Any) -> Any:
    """The options that choose letters."""
    for option in (
        click.option("--code", help="Only this reason code, such as amount_not_positive."),
        click.option("--topic", help="Only what came from this topic."),
        click.option("--since", type=_Since(), help="Only what came then or later."),
    ):
        command = option(command)
    return command


@click.group("dead-letters", short_help="List, show and retry refused messages.")
def dead_letters_command() -> None:
    """List, show and retry the messages that could not be decided."""


@dead_letters_command.command("list", short_help="Every refused message, and why.")
@_filtered
@click.option("--json", "as_json", is_flag=True, help="The whole letters, a line each.")
def list_command(*, code: str | None, topic: str | None, since: str | None, as_json: bool) -> None:
    """Every refused message once: where it stands, when it came, and why it was refused."""
    from fraud.live.dead_letters import LetterFilter, place_of

    letters = _read(command_settings(), LetterFilter(None, code, topic, since))
    for letter in letters:
        if as_json:
            click.echo(msgspec.json.encode(letter).decode())
        else:
            about = " ".join(part for part in (letter.field, letter.reason) if part)
            shown = about if len(about) <= _SHOWN_CHARACTERS else f"{about[: _SHOWN_CHARACTERS - 1]}…"
            click.echo(f"{place_of(letter)!s:<28}  {letter.ingested_at}  {letter.code:<26}  {shown}")
    if not as_json:
        click.echo(f"{len(letters):,} dead letter{'' if len(letters) == 1 else 's'}", err=True)


@dead_letters_command.command("show")
@click.argument("place", type=_Place())
@click.option("--payload", is_flag=True, help="Decrypt the message as it came; it may hold card data.")
def show_command(*, place: LetterPlace, payload: bool) -> None:
    """One refused message, named as `list` names it."""
    from fraud.live.dead_letter import DeadLetterKeyError
    from fraud.live.dead_letters import LetterFilter

    settings = command_settings()
    letters = _found(settings, LetterFilter(frozenset((place,))))
    for letter in letters:
        for name in (
            "code",
            "field",
            "value",
            "reason",
            "topic",
            "partition",
            "offset",
            "key",
            "ingested_at",
            "key_id",
        ):
            click.echo(f"{name:<12} {getattr(letter, name)}")
        if payload:
            try:
                click.echo(_box(settings).open(letter).decode(errors="backslashreplace"))
            except DeadLetterKeyError as error:
                _give_up(str(error))


@dead_letters_command.command("retry", short_help="Send refused messages once more.")
@click.argument("places", nargs=-1, type=_Place())
@_filtered
@click.option("--all", "takes_all", is_flag=True, help="Every letter that the options choose.")
def retry_command(
    *, places: tuple[LetterPlace, ...], code: str | None, topic: str | None, since: str | None, takes_all: bool
) -> None:
    """Send refused messages once more to the topics that they came from, as they came.

    Name them by place, or choose them by --code, --topic or --since. To retry twice does no harm: what was decided
    meanwhile keeps its decision.
    """
    from fraud.live.dead_letter import DeadLetterKeyError
    from fraud.live.dead_letters import LetterFilter, send_again

    if not (places or code or topic or since or takes_all):
        raise click.UsageError("name places, choose by --code, --topic or --since, or say --all")
    settings = command_settings()
    letters = _found(settings, LetterFilter(frozenset(places) if places else None, code, topic, since))

    async def send_all() -> int:
        producer = await _started(lambda to: to.producer(linger_ms=5), settings)
        try:
            return await send_again(
                letters, _box(settings), lambda to, key, value: producer.send_and_wait(to, value, key=key)
            )
        finally:
            await producer.stop()

    try:
        sent = asyncio.run(send_all())
    except DeadLetterKeyError as error:
        _give_up(str(error))
    messages = "message" if sent == 1 else "messages"
    click.echo(f"{sent:,} {messages} sent again; what is refused again becomes a new dead letter")


def _found(settings: Settings, only: LetterFilter) -> list[DeadLetter]:
    letters = _read(settings, only)
    missing = (only.places or frozenset()) - {_place(letter) for letter in letters}
    if missing:
        _give_up(f"{settings.dead_letter_topic}: no letter of {', '.join(map(str, sorted(missing)))}")
    return letters


def _place(letter: DeadLetter) -> LetterPlace:
    from fraud.live.dead_letters import place_of

    return place_of(letter)


def _read(settings: Settings, only: LetterFilter) -> list[DeadLetter]:
    from fraud.live.dead_letters import letters_of, place_of

    async def read() -> list[DeadLetter]:
        topic = settings.dead_letter_topic
        consumer = await _started(lambda to: to.consumer(topic, from_start=True), settings)
        try:
            letters = [letter async for letter in letters_of(consumer, only)]
            return sorted(letters, key=lambda letter: (letter.ingested_at, place_of(letter)))
        finally:
            await consumer.stop()

    return asyncio.run(read())


async def _started(make: Callable[[Connection], Any], settings: Settings) -> Any:
    from fraud.live.brokers import check_brokers
    from fraud.live.kafka import connection

    to = connection(settings)
    await check_brokers(to)
    client = make(to)
    await client.start()
    return client


def _box(settings: Settings) -> Any:
    from fraud.live.dead_letter import DeadLetterBox

    return DeadLetterBox(settings.dead_letter_key, settings.dead_letter_key_id, os.urandom)


def _give_up(message: str) -> None:
    click.echo(message, err=True)
    sys.exit(EXIT_USAGE)
