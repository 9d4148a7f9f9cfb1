"""The stack of containers is the native stack: the same versions, ports, options, settings and commands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import pytest
from container_files import ROOT, compose, dockerfile, locked

from fraud import cli as command_line
from fraud.settings import Settings, load_settings
from fraud.stack.command import LOCAL_FILE, stack_ports
from fraud.stack.jars import pinned_version
from fraud.stack.prerequisites import REDIS
from fraud.stack.servers import DYNAMODB_JVM, KAFKA_JVM, KAFKA_PROPERTIES, REDIS_OPTIONS

SERVICES: dict[str, dict[str, Any]] = compose()["services"]
OURS = ("init", "worker", "replayer")
# What a single node needs to be named in a network of containers, and on loopback is said by the native stack itself.
ADDRESSES_OF_KAFKA = {
    "listeners",
    "advertised.listeners",
    "listener.security.protocol.map",
    "inter.broker.listener.name",
    "controller.quorum.voters",
    "log.dirs",
}


@pytest.fixture(scope="module")
def local() -> Settings:
    """The settings file that both stacks read."""
    return load_settings({}, LOCAL_FILE)


def test_a_compose_implementation_reads_the_file(tmp_path: Path) -> None:
    # podman-compose asks podman for its version before anything else, and for nothing more to read a file.
    podman = tmp_path / "podman"
    podman.write_text("#!/bin/sh\necho podman version 5.0.0\n")
    podman.chmod(0o755)
    finished = subprocess.run(
        [Path(sys.executable).with_name("podman-compose"), "config"],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "replayer:" in finished.stdout


def test_every_part_of_the_service_is_there() -> None:
    assert list(SERVICES) == ["kafka", "dynamodb", "redis", *OURS]


@pytest.mark.parametrize("name", SERVICES)
def test_a_port_is_open_on_loopback_alone(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))
    assert "network_mode" not in SERVICES[name]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_only_for_what_can_say_that_it_is_ready(name: str) -> None:
    for other, wanted in SERVICES[name].get("depends_on", {}).items():
        condition = wanted["condition"]
        assert condition == "service_completed_successfully" or "healthcheck" in SERVICES[other]


def test_data_are_in_named_volumes() -> None:
    used = {volume.split(":")[0] for name in ("kafka", "dynamodb", "redis") for volume in SERVICES[name]["volumes"]}
    assert used == set(compose()["volumes"])


def test_versions_are_those_of_the_native_stack() -> None:
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{pinned_version('kafka')}"
    assert SERVICES["dynamodb"]["image"] == f"amazon/dynamodb-local:{pinned_version('dynamodb')}"
    redis = re.fullmatch(r"redis:(\d+)\.\d+\.\d+-\w+", SERVICES["redis"]["image"])
    assert redis is not None
    assert int(redis[1]) == REDIS.oldest


def test_ports_are_those_of_the_native_stack(local: Settings) -> None:
    ports = stack_ports(local)
    published = {name: SERVICES[name]["ports"][0].split(":")[1] for name in ("kafka", "dynamodb", "redis")}
    assert published == {"kafka": str(ports.kafka), "dynamodb": str(ports.dynamodb), "redis": str(ports.redis)}
    assert f"HOST://127.0.0.1:{ports.kafka}" in SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    for name in ("worker",):
        assert SERVICES[name]["ports"] == [f"127.0.0.1::{local.metrics_port}"]
        assert f":{local.metrics_port}/health/ready" in SERVICES[name]["healthcheck"]["test"][-1]


def test_kafka_is_told_the_same() -> None:
    environment = dict(SERVICES["kafka"]["environment"])
    options = f"{environment.pop('KAFKA_HEAP_OPTS')} {environment.pop('KAFKA_JVM_PERFORMANCE_OPTS')}"
    assert tuple(options.split()) == KAFKA_JVM
    told = {name.removeprefix("KAFKA_").lower().replace("_", "."): str(value) for name, value in environment.items()}
    assert {name: value for name, value in told.items() if name not in ADDRESSES_OF_KAFKA} == KAFKA_PROPERTIES


def test_redis_is_told_the_same() -> None:
    words = shlex.split(SERVICES["redis"]["command"])
    assert words[0] == "redis-server"
    assert dict(zip((word.removeprefix("--") for word in words[1::2]), words[2::2], strict=True)) == REDIS_OPTIONS


def test_dynamodb_keeps_its_data_and_reports_to_nobody() -> None:
    words = shlex.split(SERVICES["dynamodb"]["command"])
    assert tuple(words[: words.index("-jar")]) == DYNAMODB_JVM
    assert {"-sharedDb", "-disableTelemetry", "-dbPath"} <= set(words)
    assert f"{words[words.index('-dbPath') + 1]}" == SERVICES["dynamodb"]["volumes"][0].split(":")[1]


@pytest.mark.parametrize("name", OURS)
def test_the_service_reads_the_same_settings_file_and_only_addresses_differ(name: str, local: Settings) -> None:
    service = SERVICES[name]
    environment = dict(service["environment"])
    mounted = dict(volume.removesuffix(":ro").split(":") for volume in service["volumes"])
    assert mounted == {f"./{LOCAL_FILE.name}": environment.pop("FRAUD_SETTINGS_FILE")}
    settings = load_settings(environment, LOCAL_FILE)
    differing = {name for name in vars(local) if getattr(settings, name) != getattr(local, name)}
    assert differing == {"kafka_bootstrap_servers", "dynamodb_endpoint_url", "redis_url", "metrics_host"}
    assert {f"FRAUD_{name.upper()}" for name in differing} == set(environment)


def test_the_settings_file_is_for_one_broker_and_servers_on_this_machine(local: Settings) -> None:
    assert local.topic_replication == 1
    assert stack_ports(local).controller == 9093


def _commands(service: dict[str, Any]) -> list[list[str]]:
    """The `fraud` commands of a service, in order."""
    if "entrypoint" not in service:
        return [shlex.split(service["command"])]
    script = service["command"][0]
    return [shlex.split(part.strip()) for part in re.findall(r"python -m fraud ([^;]+)", script)]


@pytest.mark.parametrize("name", OURS)
def test_what_a_service_runs_is_a_command_with_options_that_it_has(name: str) -> None:
    command_line._add_commands()
    commands = _commands(SERVICES[name])
    assert commands
    for words in commands:
        command = command_line.cli.get_command(click.Context(command_line.cli), words[0])
        assert command is not None
        with command.make_context(words[0], words[1:]) as context:
            assert context.command is command


def test_a_service_has_no_rights_that_it_does_not_need() -> None:
    for name in OURS:
        assert SERVICES[name]["read_only"] is True
        assert SERVICES[name]["cap_drop"] == ["ALL"]


def test_the_image_has_a_pinned_base_and_no_root() -> None:
    base = next(entry.text for entry in dockerfile() if entry.name == "ARG")
    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.\d+\.\d+-slim-bookworm", base)
    assert {entry.text.split()[0] for entry in dockerfile() if entry.name == "FROM"} == {"${PYTHON_IMAGE}"}
    users = [entry.text for entry in dockerfile() if entry.name == "USER"]
    assert users
    assert not users[-1].startswith(("0", "root"))


def test_the_image_runs_the_command() -> None:
    assert [entry.text for entry in dockerfile() if entry.name == "ENTRYPOINT"] == ['["python", "-m", "fraud"]']
    assert find_spec("fraud.__main__") is not None


def test_the_image_is_built_from_what_the_ignore_file_lets_through() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        word
        for entry in dockerfile()
        if entry.name == "COPY" and "--from" not in entry.text
        for word in entry.text.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


def test_the_lock_of_the_service_is_a_part_of_the_whole_lock() -> None:
    service, whole = locked("requirements-service.lock"), locked("requirements.lock")
    assert {name: hashes for name, hashes in service.items() if whole.get(name) != hashes} == {}


def test_the_lock_of_the_service_has_what_the_service_declares_and_no_tool_of_its_developers() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {name.partition("==")[0] for name in locked("requirements-service.lock")}

    def declared(requirements: list[str]) -> set[str]:
        return {re.split(r"[\[<>=;~! ]", requirement)[0].lower().replace("_", "-") for requirement in requirements}

    assert declared(project["dependencies"]) <= names
    tools = declared(project["optional-dependencies"]["dev"]) - declared(project["dependencies"])
    assert tools & names == set()
