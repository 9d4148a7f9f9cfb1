"""Whether the brokers let the service in, and if not, why: one line that names the setting to look at.

The client library logs what went wrong with a connection and raises only that there is none, so that a wrong password
and a broker that is away look alike. This connects as it does, and keeps the reason.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterable
from typing import NamedTuple

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from fraud.certificates import certificate_refusal
from fraud.live.kafka import Connection

# A broker on the other side of the world answers within a second, and whoever started the command waits for this.
_ANSWER_TIMEOUT_MS = 10_000
_FAILURES = (KafkaError, OSError, EOFError, ValueError)

# The first that fits: some of them are kinds of others.
_REASONS: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    (
        (SaslAuthenticationFailed, AuthenticationFailedError),
        "it refuses the user {to.sasl_username!r}: {said}; look at FRAUD_KAFKA_SASL_USERNAME, "
        "FRAUD_KAFKA_SASL_PASSWORD and FRAUD_KAFKA_SASL_MECHANISM",
    ),
    ((UnsupportedSaslMechanismError,), "it does not take {to.sasl_mechanism}: look at FRAUD_KAFKA_SASL_MECHANISM"),
    ((IllegalSaslStateError,), "it asks nobody who they are: look at FRAUD_KAFKA_SECURITY_PROTOCOL"),
    ((ConnectionRefusedError,), "nobody listens there; is it started (on one machine: fraud stack up)?"),
    ((socket.gaierror,), "there is no host of that name"),
    ((TimeoutError,), f"no answer within {_ANSWER_TIMEOUT_MS // 1_000} seconds"),
    (
        (KafkaError, ConnectionError, EOFError, ssl.SSLError),
        "it ends the connection ({said}): does it speak {to.security_protocol} there "
        "(FRAUD_KAFKA_SECURITY_PROTOCOL){certificate}?",
    ),
)


class BrokersUnreachableError(Exception):
    """No broker lets the service in; the message names each, says why, and which setting to look at."""


class _Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


async def check_brokers(to: Connection) -> None:
    """Connect as every client of `to` does: to a broker that the settings name, then to one that it names.

    Raises `BrokersUnreachableError`.
    """
    asked = [_address(server) for server in to.bootstrap_servers.split(",")]
    named = await _first_answer(to, asked)
    try:
        await _first_answer(to, named)
    except BrokersUnreachableError as error:
        if set(named) <= set(asked):
            raise
        raise BrokersUnreachableError(
            f"{error}; it is named by the brokers themselves, as their advertised.listeners"
        ) from error


async def _first_answer(to: Connection, addresses: Iterable[_Address]) -> list[_Address]:
    """What the first of the brokers that answers says where all of them are."""
    reasons = []
    for address in addresses:
        try:
            return await _brokers_named_by(to, address)
        except _FAILURES as error:
            reasons.append(f"Kafka at {address} (FRAUD_KAFKA_BOOTSTRAP_SERVERS): {_reason(error, to)}")
    raise BrokersUnreachableError("; ".join(reasons) or "Kafka names no broker: has it just been started?")


async def _brokers_named_by(to: Connection, address: _Address) -> list[_Address]:
    connection: AIOKafkaConnection = await create_conn(
        address.host,
        address.port,
        request_timeout_ms=_ANSWER_TIMEOUT_MS,
        ssl_context=to.ssl_context,
        security_protocol=to.security_protocol,
        sasl_mechanism=to.sasl_mechanism,
        sasl_plain_username=to.sasl_username,
        sasl_plain_password=to.sasl_password,
    )
    try:
        answer = await connection.send(MetadataRequest([]))
    finally:
        connection.close()
    return [_Address(host, port) for _, host, port, *_ in answer.brokers]


def _address(server: str) -> _Address:
    host, _, port = server.rpartition(":")
    return _Address(host.strip("[]"), int(port))


def _reason(error: Exception, to: Connection) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return certificate_refusal(error, "the broker", "FRAUD_KAFKA_SSL_CA_FILE")
    for kinds, reason in _REASONS:
        if isinstance(error, kinds):
            return reason.format(said=_said(error), to=to, certificate=_certificate_hint(to))
    return _said(error)


def _certificate_hint(to: Connection) -> str:
    missing = to.ssl_context is not None and not to.has_certificate
    return ", or does it want a certificate of the service (FRAUD_KAFKA_SSL_CERTIFICATE_FILE)" if missing else ""


def _said(error: Exception) -> str:
    # The library's errors begin with a number and their own name.
    return re.sub(r"^(\[Error \d+\] )?([A-Z]\w+: )?", "", str(error)) or type(error).__name__
