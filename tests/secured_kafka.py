"""A real Kafka that speaks TLS and asks who its clients are, and the certificates for it."""

from __future__ import annotations

import ipaddress
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fraud.stack.jars import JARS
from fraud.stack.servers import HOST, KAFKA_PROPERTIES, KafkaServer, StackPorts

USER, PASSWORD = "fraud", "correct horse battery"
# A slow machine needs a minute at most; only a broker that cannot start takes longer.
_PATIENCE_S = 240
# Whatever the machine's clock says.
_VALID_FROM, _VALID_UNTIL = datetime(2020, 1, 1, tzinfo=UTC), datetime(2049, 1, 1, tzinfo=UTC)
_LOGIN = "org.apache.kafka.common.security"


class Signed(NamedTuple):
    """A certificate and its key, as files in PEM."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates, as a company's own authority does."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _named(name)
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        unsigned = self._unsigned(self._subject, self._key.public_key()).add_extension(constraints, critical=True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(_pem(unsigned.sign(self._key, hashes.SHA256())))

    def sign(self, name: str, *addresses: str) -> Signed:
        """A certificate for `addresses`: IP addresses and host names."""
        key = ec.generate_private_key(ec.SECP256R1())
        unsigned = self._unsigned(_named(name), key.public_key())
        if addresses:
            names = x509.SubjectAlternativeName([_general_name(address) for address in addresses])
            unsigned = unsigned.add_extension(names, critical=False)
        signed = Signed(self._folder / f"{self._name}-{name}.pem", self._folder / f"{self._name}-{name}.key")
        signed.certificate.write_bytes(_pem(unsigned.sign(self._key, hashes.SHA256())))
        signed.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return signed

    def _unsigned(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return x509.CertificateBuilder(
            issuer_name=self._subject,
            subject_name=subject,
            public_key=key,
            serial_number=x509.random_serial_number(),
            not_valid_before=_VALID_FROM,
            not_valid_after=_VALID_UNTIL,
        )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True)
class Listeners:
    """The ports of 127.0.0.1 that each way to speak to the broker has."""

    plain: int
    tls: int
    tls_with_certificate: int
    tls_with_password: int
    password: int
    wrong_name: int
    controller: int

    @classmethod
    def free(cls) -> Listeners:
        one, two = StackPorts.free(), StackPorts.free()
        return cls(one.kafka, one.controller, one.dynamodb, one.redis, two.kafka, two.controller, two.dynamodb)


class SecuredKafka:
    """One broker; every listener leads to the same topics."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.ports = Listeners.free()
        self._folder = folder
        self._authority = authority
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "server.log"

    def start(self) -> None:
        """Start it and wait until it answers."""
        ports = self.ports
        server = KafkaServer(
            self._folder,
            self._folder / "data",
            JARS,
            StackPorts(kafka=ports.plain, controller=ports.controller),
        )
        server.data.mkdir(parents=True)
        properties = self._folder / "server.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in self._properties(server.data).items()))
        users = [
            argument
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for argument in ("--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]")
        ]
        java = server.command()[:-2]
        tool = [*java, "kafka.tools.StorageTool", "format", "--cluster-id=4L6g3nShT-eMCtK--X86sw"]
        subprocess.run([*tool, "-c", str(properties), *users], check=True, capture_output=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(server.command(), stdout=log, stderr=log)
        end = time.monotonic() + _PATIENCE_S
        while not server.answers():
            assert self._process.poll() is None, self._log.read_text()[-3000:]
            assert time.monotonic() < end, self._log.read_text()[-3000:]
            time.sleep(0.2)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_PATIENCE_S)

    def _properties(self, data: Path) -> dict[str, str]:
        ports = self.ports
        broker = self._store("broker", HOST)
        other = self._store("other", "kafka.example.com")
        listeners = {
            "PLAIN": ("PLAINTEXT", ports.plain),
            "TLS": ("SSL", ports.tls),
            "MUTUAL": ("SSL", ports.tls_with_certificate),
            "SECURED": ("SASL_SSL", ports.tls_with_password),
            "PASSWORD": ("SASL_PLAINTEXT", ports.password),
            "OTHER": ("SSL", ports.wrong_name),
        }
        addresses = {name: f"{name}://{HOST}:{port}" for name, (_, port) in listeners.items()}
        protocols = {name: protocol for name, (protocol, _) in listeners.items()}
        logins = {
            "plain": f'{_LOGIN}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
            "scram-sha-256": f"{_LOGIN}.scram.ScramLoginModule required;",
            "scram-sha-512": f"{_LOGIN}.scram.ScramLoginModule required;",
        }
        return {
            **KAFKA_PROPERTIES,
            "listeners": ",".join([*addresses.values(), f"CONTROLLER://{HOST}:{ports.controller}"]),
            "advertised.listeners": ",".join(addresses.values()),
            "listener.security.protocol.map": ",".join(
                f"{name}:{protocol}" for name, protocol in {**protocols, "CONTROLLER": "PLAINTEXT"}.items()
            ),
            "inter.broker.listener.name": "PLAIN",
            "controller.quorum.voters": f"1@{HOST}:{ports.controller}",
            "log.dirs": str(data),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(broker),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self._authority.file),
            "listener.name.other.ssl.keystore.type": "PEM",
            "listener.name.other.ssl.keystore.location": str(other),
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.secured.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            "listener.name.password.sasl.enabled.mechanisms": "SCRAM-SHA-256",
            "listener.name.password.scram-sha-256.sasl.jaas.config": logins["scram-sha-256"],
            **{f"listener.name.secured.{name}.sasl.jaas.config": login for name, login in logins.items()},
        }

    def _store(self, name: str, address: str) -> Path:
        signed = self._authority.sign(name, address)
        store = self._folder / f"{name}-store.pem"
        store.write_bytes(signed.key.read_bytes() + signed.certificate.read_bytes())
        return store
