"""The three servers: how each is set up, started, and asked for its health. They listen on loopback alone."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
import uuid
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fraud.stack.jars import PACKAGE, StackError, jar_folder
from fraud.stack.prerequisites import JAVA, REDIS, Prerequisite

HOST = "127.0.0.1"
SERVER_NAMES = ("kafka", "dynamodb", "redis")
# An answer that takes longer is none: whoever waits for the server asks again.
_ANSWER_TIMEOUT_S = 3.0
# One broker that is its own controller: what is kept three times by default is kept once. Topics are made by
# `fraud init` alone, so that a mistyped name is an error and not a new topic. docker-compose.yml has the same.
KAFKA_PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # With no other member to wait for, the three seconds by default would be added to every start of a worker.
    "group.initial.rebalance.delay.ms": "0",
    "auto.create.topics.enable": "false",
}
# A collector without threads of its own: on cores that workers share, the default one's take processor time from them,
# and answers come later. Half a gigabyte is what a broker with a few partitions needs, and one what DynamoDB Local
# does; by default each would take a quarter of the machine.
_COLLECTOR = "-XX:+UseSerialGC"
# The second compiler took as much processor time from the workers as the broker itself, for code that a few thousand
# messages a second do not need; DynamoDB Local is a third slower without it.
KAFKA_JVM = ("-Xmx512m", _COLLECTOR, "-XX:TieredStopAtLevel=1")
DYNAMODB_JVM = ("-Xmx1g", _COLLECTOR)
# noeviction: a server that runs full refuses, and the service says so; one that forgets changes values in silence.
REDIS_OPTIONS = {"appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory-policy": "noeviction"}


@dataclass(frozen=True)
class StackPorts:
    """The ports on 127.0.0.1 that a stack listens on; `controller` is Kafka's own."""

    kafka: int = 9092
    controller: int = 9093
    dynamodb: int = 8000
    redis: int = 6379

    @classmethod
    def free(cls) -> StackPorts:
        """Ports that nobody listens on at this moment."""
        sockets = [socket.socket() for _ in range(4)]
        try:
            for one in sockets:
                one.bind((HOST, 0))
            return cls(*(int(one.getsockname()[1]) for one in sockets))
        finally:
            for one in sockets:
                one.close()


@dataclass(frozen=True)
class Server(ABC):
    """One server; it runs in `folder`, keeps what must survive its end in `data`, and has its jars below `jars`."""

    folder: Path
    data: Path
    jars: Path
    ports: StackPorts

    name: ClassVar[str]
    needs: ClassVar[tuple[Prerequisite, ...]]

    @property
    @abstractmethod
    def port(self) -> int:
        """The port that clients connect to."""

    @abstractmethod
    def prepare(self) -> None:
        """Write what the server reads at its start. Raises `StackError`."""

    @abstractmethod
    def command(self) -> list[str]:
        """What starts it."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it does its work, asked by a client's request."""

    @property
    def java(self) -> str:
        """The path of Java."""
        return _program(JAVA)

    @property
    def class_path(self) -> str:
        """Every jar of this server."""
        return f"{jar_folder(self.name, self.jars)}/*"


@dataclass(frozen=True)
class KafkaServer(Server):
    """Kafka, one node in KRaft mode."""

    name = "kafka"
    needs = (JAVA,)

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return self.ports.kafka

    def prepare(self) -> None:
        """Write server.properties and, once, the format of the log folder. Raises `StackError`."""
        properties = KAFKA_PROPERTIES | {
            "listeners": f"PLAINTEXT://{HOST}:{self.ports.kafka},CONTROLLER://{HOST}:{self.ports.controller}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.quorum.voters": f"1@{HOST}:{self.ports.controller}",
            "log.dirs": str(self.data),
        }
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        if (self.data / "meta.properties").exists():
            return
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # The = keeps an identifier that begins with a dash from being read as an option.
        arguments = ["format", f"--cluster-id={cluster}", "-c", str(self._properties)]
        command = [*self._java_command, "kafka.tools.StorageTool", *arguments]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 all of it is ours
        if finished.returncode:
            raise StackError(f"Kafka cannot format {self.data}: {(finished.stderr or finished.stdout).strip()}")

    def command(self) -> list[str]:
        """What starts it."""
        return [*self._java_command, "kafka.Kafka", str(self._properties)]

    def answers(self) -> bool:
        """Whether a client finds a broker that takes part."""
        from aiokafka.client import AIOKafkaClient
        from aiokafka.errors import KafkaError

        async def ask() -> bool:
            client = AIOKafkaClient(bootstrap_servers=f"{HOST}:{self.port}")
            try:
                await asyncio.wait_for(client.bootstrap(), _ANSWER_TIMEOUT_S)
                return bool(client.cluster.brokers())
            except (KafkaError, TimeoutError, OSError):
                return False
            finally:
                await client.close()

        # The client logs an error for a refused connection, which is what is to be expected while Kafka starts.
        if not is_taken(self.port):
            return False
        # In a thread, since whoever asks may be in an event loop of its own.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, ask()).result()

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    @property
    def _java_command(self) -> list[str]:
        log = f"-Dlog4j2.configurationFile={PACKAGE / 'log4j2.properties'}"
        return [self.java, *KAFKA_JVM, "-cp", self.class_path, log]


@dataclass(frozen=True)
class DynamoDbServer(Server):
    """DynamoDB Local."""

    name = "dynamodb"
    needs = (JAVA,)

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return self.ports.dynamodb

    def prepare(self) -> None:
        """Nothing to write: dynamodb.xml takes its values from the command."""

    def command(self) -> list[str]:
        """What starts it: Jetty, from dynamodb.xml."""
        libraries = jar_folder(self.name, self.jars)
        java = [self.java, *DYNAMODB_JVM, f"-Djava.library.path={libraries}", "-cp", self.class_path]
        values = [f"port={self.port}", f"data.folder={self.data}"]
        return [*java, "org.eclipse.jetty.xml.XmlConfiguration", *values, str(PACKAGE / "dynamodb.xml")]

    def answers(self) -> bool:
        """Whether it lists its tables."""
        # Signed by nobody: DynamoDB Local looks at the form only, and its health needs no client library.
        credential = "Credential=local/20260101/eu-central-1/dynamodb/aws4_request"
        request = urllib.request.Request(
            f"http://{HOST}:{self.port}/",
            data=b"{}",
            headers={
                "Authorization": f"AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0",
                "Content-Type": "application/x-amz-json-1.0",
                "X-Amz-Target": "DynamoDB_20120810.ListTables",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_TIMEOUT_S) as response:  # noqa: S310 always http
                return "TableNames" in json.load(response)
        except (urllib.error.URLError, OSError, ValueError):
            return False


@dataclass(frozen=True)
class RedisServer(Server):
    """Redis, of the system."""

    name = "redis"
    needs = (REDIS,)

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return self.ports.redis

    def prepare(self) -> None:
        """Write redis.conf."""
        options = REDIS_OPTIONS | {"bind": HOST, "port": str(self.port), "dir": str(self.data)}
        lines = (f'{name} "{value}"\n' for name, value in options.items())
        (self.folder / "redis.conf").write_text("".join(lines))

    def command(self) -> list[str]:
        """What starts it."""
        return [_program(REDIS), str(self.folder / "redis.conf")]

    def answers(self) -> bool:
        """Whether it has read its data and answers."""
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        once = Retry(NoBackoff(), 0)
        with redis.Redis(host=HOST, port=self.port, socket_timeout=_ANSWER_TIMEOUT_S, retry=once) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


SERVERS: dict[str, type[Server]] = {"kafka": KafkaServer, "dynamodb": DynamoDbServer, "redis": RedisServer}


def is_taken(port: int) -> bool:
    """Whether somebody listens on `port` of 127.0.0.1."""
    with socket.socket() as one:
        one.settimeout(_ANSWER_TIMEOUT_S)
        return one.connect_ex((HOST, port)) == 0


def _program(wanted: Prerequisite) -> str:
    path = shutil.which(wanted.program)
    if path is None:
        raise StackError(f"{wanted.program} is not installed: apt-get install {wanted.package}")
    return path
