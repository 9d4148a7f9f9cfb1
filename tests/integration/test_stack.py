"""The local servers start, are watched, survive restarts and end, and touch nothing that they did not start."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from aiobotocore.session import get_session
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from fraud.stack import SERVER_NAMES, Stack, StackError, StackPorts
from fraud.stack.processes import ServerProcess


def _health(stack: Stack) -> dict[str, str]:
    return {state.name: state.health for state in stack.states()}


def _dynamodb(stack: Stack) -> Any:
    return get_session().create_client(
        "dynamodb",
        endpoint_url=stack.environment["FRAUD_DYNAMODB_ENDPOINT_URL"],
        region_name="eu-central-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106 DynamoDB Local takes any
    )


def test_a_started_stack_is_healthy_and_starting_it_again_starts_nothing(stack: Stack) -> None:
    pids = [state.pid for state in stack.states()]
    assert _health(stack) == dict.fromkeys(SERVER_NAMES, "healthy")
    assert stack.up() == []
    assert [state.pid for state in stack.states()] == pids


# As /proc/net/tcp and tcp6 write 127.0.0.1; the latter for sockets of either family, see RFC 4291, 2.5.5.2.
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}
LISTENING = "0A"


def _listening_addresses(pid: int | None) -> list[str]:
    """The addresses that a process listens on."""
    sockets = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        # It may be closed in the meantime.
        with contextlib.suppress(FileNotFoundError):
            sockets.add(str(entry.readlink()))
    lines = [
        line.split() for family in ("tcp", "tcp6") for line in Path(f"/proc/net/{family}").read_text().splitlines()[1:]
    ]
    return [
        fields[1].partition(":")[0] for fields in lines if fields[3] == LISTENING and f"socket:[{fields[9]}]" in sockets
    ]


@pytest.mark.parametrize(("name", "listeners"), [("kafka", 2), ("dynamodb", 1), ("redis", 1)])
def test_a_server_listens_on_loopback_alone(stack: Stack, name: str, listeners: int) -> None:
    addresses = _listening_addresses(stack.pid(name))
    assert len(addresses) == listeners
    assert set(addresses) <= LOOPBACK


def test_a_server_inherits_no_environment_that_may_hold_secrets(stack: Stack) -> None:
    for name in SERVER_NAMES:
        variables = Path(f"/proc/{stack.pid(name)}/environ").read_bytes().split(b"\0")
        assert {variable.partition(b"=")[0] for variable in variables if variable} <= {b"PATH", b"LANG"}


def test_what_kafka_was_told_is_there_after_a_restart(stack: Stack) -> None:
    servers = stack.environment["FRAUD_KAFKA_BOOTSTRAP_SERVERS"]

    async def write() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=servers)
        await admin.start()
        await admin.create_topics([NewTopic("kept", 1, 1)])
        await admin.close()
        async with AIOKafkaProducer(bootstrap_servers=servers, acks="all") as producer:
            await producer.send_and_wait("kept", b"told before")

    async def read() -> bytes | None:
        async with AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest") as consumer:
            consumer.assign([TopicPartition("kept", 0)])
            message = await asyncio.wait_for(consumer.getone(), 30)
            return bytes(message.value) if message.value else None

    asyncio.run(write())
    stack.restart("kafka")
    assert asyncio.run(read()) == b"told before"


def test_what_dynamodb_was_told_is_there_after_it_was_killed(stack: Stack) -> None:
    async def write() -> None:
        async with _dynamodb(stack) as client:
            await client.create_table(
                TableName="kept",
                KeySchema=[{"AttributeName": "user_id", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "user_id", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
            await client.put_item(TableName="kept", Item={"user_id": {"S": "told before"}})

    async def read() -> bool:
        async with _dynamodb(stack) as client:
            return "Item" in await client.get_item(TableName="kept", Key={"user_id": {"S": "told before"}})

    asyncio.run(write())
    stack.kill("dynamodb")
    assert _health(stack)["dynamodb"] == "stopped"
    stack.start("dynamodb")
    assert asyncio.run(read())


def test_redis_keeps_its_data_when_it_is_restarted(stack: Stack) -> None:
    with redis.Redis(port=stack.ports.redis) as client:
        client.set("kept", "told before")
    stack.restart("redis")
    with redis.Redis(port=stack.ports.redis) as client:
        assert client.get("kept") == b"told before"


def test_a_server_that_hangs_is_told_from_one_that_works(stack: Stack) -> None:
    pid = stack.pid("redis")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        assert _health(stack)["redis"] == "not answering"
    finally:
        os.kill(pid, signal.SIGCONT)
    assert _health(stack)["redis"] == "healthy"


@pytest.fixture
def listening() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_port_of_another_program_is_told_and_nothing_is_started_on_it(tmp_path: Path, listening: int) -> None:
    second = Stack(tmp_path, StackPorts(redis=listening))
    assert _health(second)["redis"] == "port taken by another program"
    with pytest.raises(StackError, match=f"another program listens on 127.0.0.1:{listening}"):
        second.start("redis")
    assert second.pid("redis") is None


def test_a_server_that_ends_at_once_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    broken = Stack(tmp_path, StackPorts.free())
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "data").write_text("a file where the folder should be")
    with contextlib.suppress(FileExistsError), pytest.raises(StackError, match="redis has ended"):
        broken.start("redis")


def test_a_process_number_that_another_program_has_by_now_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        record = tmp_path / "process.json"
        record.write_text(json.dumps({"pid": other.pid, "started": "long ago"}))
        process = ServerProcess(record)
        assert process.pid is None
        assert not process.stop()
        assert other.poll() is None
        other.kill()


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"pid": "x", "started": 1}'])
def test_a_record_that_cannot_be_read_is_no_process(tmp_path: Path, content: str) -> None:
    record = tmp_path / "process.json"
    record.write_text(content)
    assert ServerProcess(record).pid is None


def test_a_server_and_its_data_end_with_a_caller_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from fraud.stack import Stack, StackPorts;"
        "s = Stack(Path(sys.argv[1]), StackPorts.free(), ends_with_caller=True); s.start('redis');"
        "print(s.pid('redis'), flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline().strip().isdigit()
        process = ServerProcess(tmp_path / "redis" / "process.json")
        assert process.pid is not None
        caller.kill()
        caller.wait()
    for _ in range(600):
        if process.pid is None and not (tmp_path / "redis" / "data").exists():
            break
        time.sleep(0.05)
    assert process.pid is None
    assert not (tmp_path / "redis" / "data").exists()


@pytest.fixture
def ports_of_a_second_stack(monkeypatch: pytest.MonkeyPatch) -> StackPorts:
    """Ports in the environment of the command; Kafka's own is the next one."""
    ports = StackPorts.free()
    monkeypatch.setenv("FRAUD_KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{ports.kafka}")
    monkeypatch.setenv("FRAUD_DYNAMODB_ENDPOINT_URL", f"http://127.0.0.1:{ports.dynamodb}")
    monkeypatch.setenv("FRAUD_REDIS_URL", f"redis://127.0.0.1:{ports.redis}/0")
    return ports


def test_the_command_starts_shows_and_ends_a_second_stack(
    fraud_process: Callable[..., Any], tmp_path: Path, ports_of_a_second_stack: StackPorts, stack: Stack
) -> None:
    fraud = fraud_process
    command = ("stack", "--directory", tmp_path)
    assert fraud(*command, "status").exit_code == 1
    try:
        started = fraud(*command, "up")
        assert (started.exit_code, started.stderr) == (0, "")
        assert "started: kafka, dynamodb, redis" in started.stdout
        assert "nothing, everything ran already" in fraud(*command, "up").stdout

        shown = fraud(*command, "status")
        assert shown.exit_code == 0
        assert shown.stdout.count("healthy") == 3
        assert f"127.0.0.1:{ports_of_a_second_stack.redis}" in shown.stdout

        assert "Ready to accept connections" in fraud(*command, "logs", "redis").stdout
        assert "kafka     " in fraud(*command, "logs", "--lines", "1").stdout
    finally:
        ended = fraud(*command, "down", "--forget")
    assert "ended: kafka, dynamodb, redis" in ended.stdout
    assert not (tmp_path / "kafka").exists()
    assert "stopped" in fraud(*command, "status").stdout
    assert _health(stack) == dict.fromkeys(SERVER_NAMES, "healthy")


def test_following_a_log_shows_what_is_added_until_interrupted(
    program: tuple[str, ...], tmp_path: Path, stack: Stack
) -> None:
    (tmp_path / "redis").mkdir()
    log = tmp_path / "redis" / "server.log"
    log.write_text("first\nsecond\n")
    command = [*program, "stack", "--directory", str(tmp_path), "logs", "redis", "-f", "-n", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "second\n"
        with log.open("a") as file:
            file.write("third\n")
        assert following.stdout.readline() == "third\n"
        following.send_signal(signal.SIGINT)
        assert following.wait(30) == 0


def test_after_a_restart_of_the_machine_the_stack_begins_anew(tmp_path: Path) -> None:
    stack = Stack(tmp_path, StackPorts.free())
    assert not stack.has_lost_memory
    (tmp_path / "kafka" / "data").mkdir(parents=True)
    assert stack.has_lost_memory


def test_servers_elsewhere_are_not_for_a_local_stack(
    fraud: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAUD_REDIS_URL", "redis://user:hidden@cache.example:6379/0")
    finished = fraud("stack", "--directory", tmp_path, "up")
    assert finished.exit_code == 2
    assert finished.stderr.startswith(
        "FRAUD_REDIS_URL names cache.example, but `fraud stack` starts servers on 127.0.0.1"
    )
    assert "hidden" not in finished.stderr


def test_what_is_missing_is_named_with_the_command_that_installs_it(
    fraud: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ports_of_a_second_stack: StackPorts
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    finished = fraud("stack", "--directory", tmp_path, "up")
    assert finished.exit_code == 2
    assert "java is not installed (17 or newer, Kafka 4 needs it)" in finished.stderr
    assert "redis-server is not installed (7 or newer, entity windows use its functions)" in finished.stderr
    assert "apt-get install default-jre-headless" in finished.stderr
    assert "redis-server" in finished.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("said", "complaint"),
    [('openjdk version "11.0.2" 2019-01-15', "java 17 or newer is needed"), ("install Java first", "does not run")],
)
def test_a_program_that_is_too_old_or_only_a_stub_is_told(
    fraud: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ports_of_a_second_stack: StackPorts,
    said: str,
    complaint: str,
) -> None:
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\necho '{said}' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    finished = fraud("stack", "--directory", tmp_path, "up")
    assert finished.exit_code == 2
    assert complaint in finished.stderr
    assert "apt-get install default-jre-headless" in finished.stderr
