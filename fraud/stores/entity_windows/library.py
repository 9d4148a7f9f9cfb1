"""The function library in Redis: loaded where it is missing, called many times in one round trip."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import ResponseError

Client = Redis | RedisCluster
Argument = str | bytes | int
Command = Sequence[Argument]

_TEMPLATE = Path(__file__).with_name("functions.lua").read_text(encoding="utf-8")
# A changed library has other names: workers of two versions stand side by side without replacing each other's.
VERSION = hashlib.sha256(_TEMPLATE.encode()).hexdigest()[:12]
LIBRARY = _TEMPLATE.replace("@version@", VERSION)
DONE = b"done"


def call(function: str, keys: Sequence[str], arguments: Sequence[Argument]) -> list[Argument]:
    """The command that calls a function of the library."""
    return ["FCALL", f"{function}_{VERSION}", len(keys), *keys, *arguments]


async def load_library(client: Client) -> None:
    """Make the functions known to every primary. Safe to repeat."""
    try:
        await client.function_load(LIBRARY)
    except ResponseError as error:
        if "already exists" not in str(error):
            raise


async def round_trip(client: Client, commands: Sequence[Command]) -> list[object]:
    """The answers to `commands`, sent together. Functions that a restarted server has lost are loaded again."""
    answers = await _send(client, commands)
    lost = [place for place, answer in enumerate(answers) if isinstance(answer, ResponseError)]
    if lost and all("Function not found" in str(answers[place]) for place in lost):
        await load_library(client)
        for place, answer in zip(lost, await _send(client, [commands[place] for place in lost]), strict=True):
            answers[place] = answer
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


async def _send(client: Client, commands: Sequence[Command]) -> list[object]:
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    return list(await pipeline.execute(raise_on_error=False))
