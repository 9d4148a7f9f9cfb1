"""`fraud stack`: the local servers at the addresses that the settings name."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from fraud.settings import HOME, Settings
from fraud.settings_command import command_settings, has_settings_file

if TYPE_CHECKING:
    from fraud.stack import Stack, StackPorts

EXIT_NOT_HEALTHY = 1
# The settings of a service beside a local stack; docker-compose.yml uses them, too.
LOCAL_FILE = HOME / "local.yaml"
_LOOPBACK = frozenset(("127.0.0.1", "localhost"))
_DYNAMODB_PORT = 8000
_REDIS_PORT = 6379
_FOLLOW_POLL_S = 0.3


@click.group("stack", short_help="Kafka, DynamoDB Local and Redis on this machine.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=HOME / "build" / "stack",
    help="Where the servers keep their configuration, data and logs.  [default: build/stack]",
)
@click.pass_context
def stack_command(context: click.Context, directory: Path) -> None:
    """Kafka, DynamoDB Local and Redis on this machine, without Docker.

    They listen on 127.0.0.1 alone, on the ports that the settings name; where none are named, those of local.yaml.
    """
    context.obj = directory


@stack_command.command(short_help="Start what does not run.")
@click.pass_obj
def up(directory: Path) -> None:
    """Start what does not run and wait until everything is healthy; safe to repeat."""
    stack = _stack(directory)
    if stack.has_lost_memory:
        click.echo("the machine was restarted, which took DynamoDB's data; the stack begins anew: fraud init")
    if not stack.has_jars:
        click.echo("copying 90 MB of jars with Maven, this once", err=True)
    started = stack.up()
    _show(stack)
    click.echo(f"started: {', '.join(started) or 'nothing, everything ran already'}")
    if not has_settings_file():
        click.echo(f"for the other commands: export FRAUD_SETTINGS_FILE={LOCAL_FILE}")


@stack_command.command(short_help="Show the servers and their health.")
@click.pass_obj
def status(directory: Path) -> None:
    """Show the servers, their health, process and log; exit with 1 unless all are healthy."""
    if not _show(_stack(directory)):
        sys.exit(EXIT_NOT_HEALTHY)


@stack_command.command()
@click.argument("server", required=False, type=click.Choice(["kafka", "dynamodb", "redis"]))
@click.option("-f", "--follow", is_flag=True, help="Go on showing what is added, until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=50, show_default=True, help="Lines of the past.")
@click.pass_obj
def logs(directory: Path, server: str | None, follow: bool, lines: int) -> None:
    """Show the end of a server's log, or of all of them."""
    from fraud.stack import SERVER_NAMES

    stack = _stack(directory)
    names = [server] if server else list(SERVER_NAMES)
    tails = [_Tail(stack.log(name), "" if server else f"{name:<8}  ") for name in names]
    for tail in tails:
        past = tail.added()
        for line in past[len(past) - lines :] if lines < len(past) else past:
            click.echo(line)
    with suppress(KeyboardInterrupt):
        while follow:
            for line in [line for tail in tails for line in tail.added()]:
                click.echo(line)
            time.sleep(_FOLLOW_POLL_S)


@stack_command.command(short_help="End the servers that `up` started.")
@click.option("--forget", is_flag=True, help="Remove their data and logs, too.")
@click.pass_obj
def down(directory: Path, forget: bool) -> None:
    """End the servers that `up` started, and nothing else; their data stay."""
    stack = _stack(directory)
    ended = stack.down()
    click.echo(f"ended: {', '.join(ended) or 'nothing, nothing ran'}")
    if forget:
        stack.forget()
        click.echo(f"removed: what they had kept below {stack.directory}")


def stack_ports(settings: Settings) -> StackPorts:
    """The ports of the addresses that the settings name. Raises `StackError` where one is not on this machine."""
    from fraud.stack import StackError, StackPorts

    addresses = {
        "FRAUD_KAFKA_BOOTSTRAP_SERVERS": (f"kafka://{settings.kafka_bootstrap_servers}", None),
        "FRAUD_DYNAMODB_ENDPOINT_URL": (settings.dynamodb_endpoint_url or "", _DYNAMODB_PORT),
        "FRAUD_REDIS_URL": (settings.redis_url, _REDIS_PORT),
    }
    ports = []
    for variable, (address, usual_port) in addresses.items():
        parts = urlsplit(address) if "," not in address else urlsplit("")
        port = parts.port or usual_port
        if parts.hostname not in _LOOPBACK or port is None:
            shown = "AWS" if not address else parts.hostname or address.partition("//")[2]
            raise StackError(
                f"{variable} names {shown}, but `fraud stack` starts servers on 127.0.0.1 alone; "
                f"{LOCAL_FILE} has addresses for it"
            )
        ports.append(port)
    kafka, dynamodb, redis = ports
    return StackPorts(kafka=kafka, controller=kafka + 1, dynamodb=dynamodb, redis=redis)


def _stack(directory: Path) -> Stack:
    from fraud.stack import Stack

    return Stack(directory, stack_ports(command_settings(LOCAL_FILE)))


def _show(stack: Stack) -> bool:
    """Print a line a server; whether all are healthy."""
    from fraud.stack.jars import pinned_version

    states = stack.states()
    for state in states:
        version = "of the system" if state.name == "redis" else pinned_version(state.name)
        process = f"process {state.pid}" if state.pid else ""
        click.echo(f"{state.name:<8}  {state.health:<12}  {state.address:<16}  {version:<13}  {process}")
    return all(state.health == "healthy" for state in states)


@dataclass
class _Tail:
    """A log that grows; `start` stands before each line."""

    log: Path
    start: str
    end: int = 0

    def added(self) -> list[str]:
        """The complete lines that are there and have not been returned yet."""
        size = self.log.stat().st_size if self.log.exists() else 0
        # A log that is shorter than it was has begun anew.
        self.end = min(self.end, size)
        if size == self.end:
            return []
        with self.log.open("rb") as file:
            file.seek(self.end)
            complete, newline, _ = file.read().rpartition(b"\n")
        self.end += len(complete) + len(newline)
        return [self.start + line for line in complete.decode(errors="replace").splitlines()]
