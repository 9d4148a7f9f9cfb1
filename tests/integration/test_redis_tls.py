"""Entity windows over TLS, on a real Redis; whose certificate is not trusted is told in one line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from command_line import Finished
from live_worker import TopicReader, WorkerProcess, worker_environment
from live_worker import fraud as command
from redis_server import free_port, running_redis
from secured_kafka import Authority
from undisturbed import replay, simulated_lines, wait_for_all, write_lines

from fraud.stack import Stack

USER, PASSWORD = "default", "correct-horse-battery"
TRANSACTIONS = 100
CERTIFICATE_WANTED = (
    "; does it want a certificate of the service, one that it trusts (FRAUD_REDIS_SSL_CERTIFICATE_FILE)?"
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "ours")


@pytest.fixture(scope="module")
def ports(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The TLS ports of three servers: one with a certificate for this address, one that asks for the client's, too, and
    one with a certificate for another address.
    """
    folder = tmp_path_factory.mktemp("redis")
    ports = {"ours": free_port(), "both show one": free_port(), "another name": free_port()}
    with (
        running_redis(folder, _tls(ports["ours"], authority, "127.0.0.1")),
        running_redis(folder, _tls(ports["both show one"], authority, "127.0.0.1", of_clients="yes")),
        running_redis(folder, _tls(ports["another name"], authority, "redis.example.com")),
    ):
        yield ports


@pytest.fixture(scope="module")
def own(authority: Authority) -> dict[str, str]:
    """The service's own certificate, as settings."""
    signed = authority.sign("service")
    return {"redis_ssl_certificate_file": str(signed.certificate), "redis_ssl_key_file": str(signed.key)}


def _tls(port: int, authority: Authority, name: str, of_clients: str = "no") -> list[str]:
    signed = authority.sign(f"redis-{name}-{of_clients}", name)
    files = ("--tls-cert-file", signed.certificate, "--tls-key-file", signed.key, "--tls-ca-cert-file", authority.file)
    return ["--tls-port", str(port), "--tls-auth-clients", of_clients, *map(str, files)]


def settings(port: int, authority: Authority | None, database: int = 0) -> dict[str, str]:
    known = {"redis_url": f"rediss://{USER}:{PASSWORD}@127.0.0.1:{port}/{database}"}
    return known if authority is None else {**known, "redis_ssl_ca_file": str(authority.file)}


def test_decisions_over_tls_are_those_of_a_replay(
    stack: Stack, ports: dict[str, int], authority: Authority, own: dict[str, str], tmp_path: Path
) -> None:
    environment = worker_environment(stack, "redis-tls", **settings(ports["both show one"], authority), **own)
    file = write_lines(tmp_path / "transactions.jsonl", simulated_lines(environment, tmp_path, TRANSACTIONS))
    expected = replay(environment, file, tmp_path / "replayed")
    command(environment, "init")
    command(environment, "produce", file, "--speed", "max")
    worker = WorkerProcess(environment, tmp_path / "worker.log")
    worker.start()
    try:
        worker.wait_until_ready()
        with closing(TopicReader(environment, "decisions")) as decisions:
            found = expected.compare(wait_for_all(decisions, expected.decisions, 1.0, worker))
        assert (found.wrong, found.degraded) == ({}, frozenset())
        assert "entities from" in command(environment, "rebuild", "entities")
        assert worker.stop() == 0
    finally:
        worker.end()
    assert PASSWORD not in worker.log.read_text()


@pytest.fixture
def refused(stack: Stack, fraud_process: Callable[..., Finished]) -> Callable[..., str]:
    """`refused(settings)`: the one line that `fraud init` leaves behind."""

    def run(chosen: dict[str, str]) -> str:
        environment = worker_environment(stack, "redis-tls-refused", **chosen)
        finished = fraud_process("init", **{k: v for k, v in environment.items() if os.environ.get(k) != v})
        (line,) = finished.stderr.splitlines()
        assert finished.exit_code == 2
        assert PASSWORD not in line
        return line

    return run


def test_a_certificate_by_somebody_else_is_told_in_one_line(
    refused: Callable[..., str], ports: dict[str, int], tmp_path: Path
) -> None:
    for authority in (Authority(tmp_path, "stranger"), None):
        line = refused(settings(ports["ours"], authority))
        assert line.startswith(f"Entity windows at rediss://{USER}:***@127.0.0.1:{ports['ours']}/0 (FRAUD_REDIS_URL): ")
        assert "its certificate is not trusted: " in line
        assert line.endswith("FRAUD_REDIS_SSL_CA_FILE names who has to have signed it")


def test_a_certificate_for_another_name_is_told_in_one_line(
    refused: Callable[..., str], ports: dict[str, int], authority: Authority
) -> None:
    line = refused(settings(ports["another name"], authority))
    assert "certificate is not valid for '127.0.0.1': name the server as its certificate does" in line


def test_a_file_of_signers_that_cannot_be_used_is_named(
    refused: Callable[..., str], ports: dict[str, int], authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "empty.pem").write_text("")
    for name, reason in (("empty.pem", "holds no certificates in PEM"), ("missing.pem", "cannot be read")):
        chosen = {**settings(ports["ours"], authority), "redis_ssl_ca_file": str(tmp_path / name)}
        assert f"FRAUD_REDIS_SSL_CA_FILE: {tmp_path / name} {reason}" in refused(chosen)


def test_a_service_without_the_certificate_that_is_wanted_is_told_in_one_line(
    refused: Callable[..., str], ports: dict[str, int], authority: Authority, tmp_path: Path
) -> None:
    line = refused(settings(ports["both show one"], authority))
    assert line.endswith(CERTIFICATE_WANTED)
    foreign = Authority(tmp_path, "stranger").sign("service")
    shown = {"redis_ssl_certificate_file": str(foreign.certificate), "redis_ssl_key_file": str(foreign.key)}
    line = refused({**settings(ports["both show one"], authority), **shown})
    assert line.endswith(CERTIFICATE_WANTED)


def test_a_certificate_without_its_key_is_refused(
    refused: Callable[..., str], ports: dict[str, int], authority: Authority, own: dict[str, str], tmp_path: Path
) -> None:
    chosen = {**settings(ports["both show one"], authority), **own}
    line = refused({name: value for name, value in chosen.items() if name != "redis_ssl_key_file"})
    assert line == "FRAUD_REDIS_SSL_CERTIFICATE_FILE and FRAUD_REDIS_SSL_KEY_FILE go together"
    other = Authority(tmp_path, "other").sign("service")
    line = refused({**chosen, "redis_ssl_key_file": str(other.key)})
    assert "are no certificate and its key, unlocked, in PEM" in line


def test_signers_are_not_named_in_vain(refused: Callable[..., str], authority: Authority) -> None:
    line = refused({"redis_url": "redis://127.0.0.1:6379/0", "redis_ssl_ca_file": str(authority.file)})
    assert line == "FRAUD_REDIS_SSL_CA_FILE is set, but FRAUD_REDIS_URL is without TLS; rediss:// has it"
