"""The service speaks TLS and proves who it is to a real Kafka; who is not let in is told why in one line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import Finished
from live_worker import WorkerProcess, worker_environment
from live_worker import fraud as command
from secured_kafka import PASSWORD, USER, Authority, SecuredKafka, Signed

from fraud.stack import Stack

COUNT = 40


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "ours")


@pytest.fixture(scope="module")
def kafka(stack: Stack, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """Beside the stack, which has brought the jars."""
    del stack
    server = SecuredKafka(tmp_path_factory.mktemp("kafka"), authority)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def own(authority: Authority) -> Signed:
    """The service's own certificate."""
    return authority.sign("service")


def at(port: int) -> str:
    return f"127.0.0.1:{port}"


def ways(kafka: SecuredKafka, authority: Authority, own: Signed) -> dict[str, dict[str, str]]:
    """Every way in that the settings know, beside the one without TLS and password."""
    trusted = {"kafka_ssl_ca_file": str(authority.file)}
    known = {"kafka_sasl_username": USER, "kafka_sasl_password": PASSWORD}
    secured = {
        "kafka_security_protocol": "SASL_SSL",
        "kafka_bootstrap_servers": at(kafka.ports.tls_with_password),
        **known,
    }
    certificate = {"kafka_ssl_certificate_file": str(own.certificate), "kafka_ssl_key_file": str(own.key)}
    return {
        "TLS": {"kafka_security_protocol": "SSL", "kafka_bootstrap_servers": at(kafka.ports.tls), **trusted},
        "a certificate of its own": {
            "kafka_security_protocol": "SSL",
            "kafka_bootstrap_servers": at(kafka.ports.tls_with_certificate),
            **trusted,
            **certificate,
        },
        "PLAIN over TLS": {**secured, **trusted, "kafka_sasl_mechanism": "PLAIN"},
        "SCRAM-SHA-256 over TLS": {**secured, **trusted, "kafka_sasl_mechanism": "SCRAM-SHA-256"},
        "SCRAM-SHA-512 over TLS": {**secured, **trusted, "kafka_sasl_mechanism": "SCRAM-SHA-512"},
        "SCRAM without TLS": {
            "kafka_security_protocol": "SASL_PLAINTEXT",
            "kafka_bootstrap_servers": at(kafka.ports.password),
            "kafka_sasl_mechanism": "SCRAM-SHA-256",
            **known,
        },
    }


NAMES = (
    "TLS",
    "a certificate of its own",
    "PLAIN over TLS",
    "SCRAM-SHA-256 over TLS",
    "SCRAM-SHA-512 over TLS",
    "SCRAM without TLS",
)


def payments(file: Path) -> Path:
    lines = (
        {
            "transaction_id": f"t{number}",
            "user_id": f"u{number % 7}",
            "timestamp": f"2026-03-02T12:{number:02}:00Z",
            "amount": 12.5,
            "currency": "EUR",
        }
        for number in range(COUNT)
    )
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return file


@pytest.mark.parametrize("name", NAMES)
def test_payments_are_decided_over(
    name: str, stack: Stack, kafka: SecuredKafka, authority: Authority, own: Signed, tmp_path: Path
) -> None:
    topics = f"security-{NAMES.index(name)}"
    environment = worker_environment(stack, topics, **ways(kafka, authority, own)[name])
    command(environment, "init")
    worker = WorkerProcess(environment, tmp_path / "worker.log")
    worker.start()
    try:
        worker.wait_until_ready()
        command(environment, "produce", payments(tmp_path / "payments.jsonl"), "--speed", "max")
        shown = command(environment, "tail", "decisions", "--from-start", "--limit", str(COUNT))
        assert len(shown.splitlines()) == COUNT
        assert worker.stop() == 0
    finally:
        worker.end()
    assert PASSWORD not in worker.log.read_text()


@pytest.fixture
def refused(stack: Stack, fraud_process: Callable[..., Finished]) -> Callable[..., list[str]]:
    """`refused(COMMAND..., settings)`: the lines that a command leaves behind which ends with code 2."""

    def run(*words: str, settings: dict[str, str]) -> list[str]:
        environment = worker_environment(stack, "security-refused", **settings)
        finished = fraud_process(*words, **{k: v for k, v in environment.items() if os.environ.get(k) != v})
        assert (finished.exit_code, finished.stdout) == (2, "")
        return finished.stderr.splitlines()

    return run


def refusals(
    kafka: SecuredKafka, authority: Authority, own: Signed, folder: Path
) -> dict[str, tuple[dict[str, str], str]]:
    """What is wrong: the settings, and what the line says."""
    known = ways(kafka, authority, own)
    stranger = Authority(folder, "stranger")
    foreign = stranger.sign("service")
    scram, tls = known["SCRAM-SHA-256 over TLS"], known["TLS"]
    return {
        "password": (
            {**scram, "kafka_sasl_password": "wrong"},
            f"it refuses the user '{USER}': Authentication failed",
        ),
        "password of PLAIN": (
            {**known["PLAIN over TLS"], "kafka_sasl_password": "wrong"},
            f"it refuses the user '{USER}': Authentication failed",
        ),
        "mechanism": (
            {**known["SCRAM without TLS"], "kafka_sasl_mechanism": "SCRAM-SHA-512"},
            "it does not take SCRAM-SHA-512: look at FRAUD_KAFKA_SASL_MECHANISM",
        ),
        "signer": ({**tls, "kafka_ssl_ca_file": str(stranger.file)}, "its certificate is not trusted"),
        "no signer": (
            {name: value for name, value in tls.items() if name != "kafka_ssl_ca_file"},
            "FRAUD_KAFKA_SSL_CA_FILE names who has to have signed it",
        ),
        "name": (
            {**tls, "kafka_bootstrap_servers": at(kafka.ports.wrong_name)},
            "certificate is not valid for '127.0.0.1': name the broker as its certificate does",
        ),
        "no certificate": (
            {**tls, "kafka_bootstrap_servers": at(kafka.ports.tls_with_certificate)},
            "does it want a certificate of the service (FRAUD_KAFKA_SSL_CERTIFICATE_FILE)?",
        ),
        "certificate of a stranger": (
            {
                **known["a certificate of its own"],
                "kafka_ssl_certificate_file": str(foreign.certificate),
                "kafka_ssl_key_file": str(foreign.key),
            },
            "it ends the connection",
        ),
        "TLS where there is none": (
            {**tls, "kafka_bootstrap_servers": at(kafka.ports.plain)},
            "does it speak SSL there (FRAUD_KAFKA_SECURITY_PROTOCOL)",
        ),
        "no TLS where it is wanted": (
            {"kafka_bootstrap_servers": at(kafka.ports.tls)},
            "does it speak PLAINTEXT there (FRAUD_KAFKA_SECURITY_PROTOCOL)",
        ),
        "host": ({"kafka_bootstrap_servers": "no-such-host.invalid:9092"}, "there is no host of that name"),
    }


WRONG = (
    "password",
    "password of PLAIN",
    "mechanism",
    "signer",
    "no signer",
    "name",
    "no certificate",
    "certificate of a stranger",
    "TLS where there is none",
    "no TLS where it is wanted",
    "host",
)


@pytest.mark.parametrize("wrong", WRONG)
def test_who_is_not_let_in_is_told_why(
    wrong: str,
    kafka: SecuredKafka,
    authority: Authority,
    own: Signed,
    refused: Callable[..., list[str]],
    tmp_path: Path,
) -> None:
    settings, said = refusals(kafka, authority, own, tmp_path)[wrong]
    (line,) = refused("init", settings=settings)
    assert line.startswith(f"Kafka at {settings['kafka_bootstrap_servers']} (FRAUD_KAFKA_BOOTSTRAP_SERVERS): ")
    assert said in line
    assert "wrong" not in line
