"""Every setting of the service in one frozen object, and the only place that reads the environment."""

# `_setting` makes fields, as `dataclasses.field` does; the rule knows only that one.
# ruff: noqa: RUF009

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from fraud import setting_kinds as kinds
from fraud.setting_kinds import Parse, SecretRefusedError

HOME = Path(__file__).resolve().parent.parent
PREFIX = "FRAUD_"
# Names the settings file; it cannot stand in one.
FILE_VARIABLE = "FRAUD_SETTINGS_FILE"
# Known to everybody, hence only good for simulated data; its id stands in every token that it made.
DEVELOPMENT_KEY = "development-key-for-simulated-data-only"
DEVELOPMENT_KEY_ID = "dev"

Value = TypeVar("Value")

_KEY_ID = kinds.matching(r"[a-z0-9]{1,16}", "1 to 16 small letters and digits")
_TOPIC = kinds.matching(r"[A-Za-z0-9._-]{1,249}", "a topic name: up to 249 letters, digits, dots, dashes, underscores")


class SettingsError(Exception):
    """A setting that cannot be used; the message names it and what it may be. It never shows a secret."""


def _setting(default: Value, parse: Parse, meaning: str) -> Value:
    # An address may hold a password.
    hidden = parse in (kinds.key, kinds.secret) or (isinstance(default, str) and "://" in default)
    # To the decorator this is a field with a default, to everybody else the value.
    return field(default=default, repr=not hidden, metadata={"parse": parse, "meaning": meaning})


@dataclass(frozen=True)
class Settings:
    """Settings with their defaults; each is read from the environment as `FRAUD_` and its name in capitals, or from
    the settings file under its name. `fraud settings` lists them with their meaning.
    """

    base_currency: str = _setting("EUR", kinds.text, "currency that amounts are compared in")
    rates_file: Path = _setting(HOME / "rates" / "sample.csv", kinds.path, "exchange rates by day")
    token_key: str = _setting(DEVELOPMENT_KEY, kinds.key, "makes tokens of card numbers and addresses")
    token_key_id: str = _setting(DEVELOPMENT_KEY_ID, _KEY_ID, "stands in every token that the key made")
    token_previous_key: str | None = _setting(None, kinds.key, "the key before; its state goes on under token_key")
    token_previous_key_id: str | None = _setting(None, _KEY_ID, "the id of the key before")
    tokenised_fields: tuple[str, ...] = _setting((), kinds.texts, "fields to tokenise besides card_id and ip_address")
    allowed_lateness_hours: float = _setting(24.0, kinds.number, "an event later than this is decided, not absorbed")
    forget_after_days: float = _setting(90.0, kinds.number, "a customer silent for so long is new")
    duplicate_horizon_days: float = _setting(7.0, kinds.number, "the same transaction again is known for so long")
    # Large enough that a call of the model and of each numpy operation is spread over many rows; small enough that the
    # batch's objects stay in the processor's cache.
    batch_size: int = _setting(1_024, kinds.whole(1, 65_536), "transactions that are decided together, at most")
    feature_set: str = _setting("default", kinds.text, "features to compute: default or handbook")
    policy_file: Path = _setting(HOME / "policies" / "default.yaml", kinds.path, "rules that decide")
    model_folder: Path | None = _setting(HOME / "models", kinds.path_or_none, "registry of models, one model, or none")

    kafka_bootstrap_servers: str = _setting("127.0.0.1:9092", kinds.servers, "brokers to ask first")
    kafka_security_protocol: str = _setting(
        "PLAINTEXT", kinds.one_of("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"), "how brokers are spoken to"
    )
    kafka_sasl_mechanism: str | None = _setting(
        None, kinds.one_of("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"), "how the service proves who it is"
    )
    kafka_sasl_username: str | None = _setting(None, kinds.text, "who the service is to the brokers")
    kafka_sasl_password: str | None = _setting(None, kinds.secret, "its password")
    kafka_ssl_ca_file: Path | None = _setting(None, kinds.path, "who signs the brokers' certificates")
    kafka_ssl_certificate_file: Path | None = _setting(None, kinds.path, "the service's own certificate")
    kafka_ssl_key_file: Path | None = _setting(None, kinds.path, "the key of that certificate")
    # Payments of a dead worker wait for so long, and for the backlog that grows meanwhile; pauses of a living one (a
    # machine that is moved, a full disk) are shorter.
    session_timeout_seconds: float = _setting(10.0, kinds.number, "a worker silent for so long loses its partitions")
    consumer_group: str = _setting("fraud", _TOPIC, "workers of one group share the partitions")
    transactions_topic: str = _setting("transactions", _TOPIC, "topic of what is to be decided")
    labels_topic: str = _setting("labels", _TOPIC, "topic of what turned out to be fraud or not")
    decisions_topic: str = _setting("decisions", _TOPIC, "topic of what was decided")
    alerts_topic: str = _setting("alerts", _TOPIC, "topic of the decisions that ask somebody to act")
    dead_letter_topic: str = _setting("dead-letter", _TOPIC, "topic of what could not be decided")
    # A key's partition changes when partitions are added, so there are more than today's workers need.
    topic_partitions: int = _setting(12, kinds.whole(1, 10_000), "partitions of a new topic")
    topic_replication: int = _setting(3, kinds.whole(1, 15), "brokers that hold each partition of a new topic")
    topic_retention_days: float = _setting(7.0, kinds.number, "how long a new topic keeps a message")

    dynamodb_endpoint_url: str | None = _setting(
        None, kinds.url("http", "https"), "where DynamoDB is if not at AWS; http is DynamoDB Local"
    )
    aws_region: str = _setting("eu-central-1", kinds.matching(r"[a-z0-9-]+", "a region name"), "region of the tables")
    table_prefix: str = _setting(
        "fraud-", kinds.matching(r"[A-Za-z0-9._-]{1,200}", "letters, digits, dots, dashes"), "starts every table's name"
    )
    redis_url: str = _setting(
        "redis://127.0.0.1:6379/0", kinds.url("redis", "rediss"), "where entity windows are; rediss is with TLS"
    )
    redis_ssl_ca_file: Path | None = _setting(None, kinds.path, "who signs the certificate of Redis")
    redis_ssl_certificate_file: Path | None = _setting(None, kinds.path, "the service's own certificate for Redis")
    redis_ssl_key_file: Path | None = _setting(None, kinds.path, "the key of that certificate")
    # Entity windows are worth waiting for, but not as long as a card holder would notice. A full batch of a cold worker
    # reads thousands of them at once: with 50 ms a burst was decided without.
    redis_deadline_ms: float = _setting(250.0, kinds.number, "decide without entity windows after so long")

    # Past the longest time in which a payment can be disputed, so that a label finds its transaction.
    history_retention_days: float = _setting(400.0, kinds.number, "how long a transaction stays in history")
    label_wait_hours: float = _setting(72.0, kinds.number, "how long a label waits for its transaction")
    stale_alert_minutes: float = _setting(60.0, kinds.number, "an alert on an older event is marked stale")
    future_tolerance_minutes: float = _setting(10.0, kinds.number, "how far ahead of the broker's a time may be")
    # 10 KB each: half a gigabyte in a worker.
    cached_customers: int = _setting(50_000, kinds.whole(1, 100_000_000), "customers that a worker keeps in memory")
    # While one waits for history and the brokers, another is computed. More leave smaller batches, each of which costs
    # the servers as many calls.
    batches_at_once: int = _setting(2, kinds.whole(1, 64), "batches a worker has in hand, each of other partitions")
    # Longer than any client waits for a server before it says that this is away.
    stall_minutes: float = _setting(5.0, kinds.number, "a worker that gets nowhere for so long is not live")
    metrics_host: str = _setting("127.0.0.1", kinds.text, "address that a worker serves metrics and health on")
    metrics_port: int = _setting(6066, kinds.whole(1, 65_535), "port of metrics and health")
    dead_letter_key: str = _setting(DEVELOPMENT_KEY, kinds.key, "encrypts what is in dead letters")
    dead_letter_key_id: str = _setting(DEVELOPMENT_KEY_ID, _KEY_ID, "stands in every dead letter that the key locked")
    log_level: str = _setting("info", kinds.one_of("debug", "info", "warning", "error"), "least severe line to log")

    @property
    def uses_development_key(self) -> bool:
        """Whether tokens are made with the key that everybody knows."""
        return self.token_key == DEVELOPMENT_KEY


@dataclass(frozen=True)
class SettingLine:
    """One setting for people: its value with secrets masked, where that came from, and what it means."""

    name: str
    shown: str
    origin: str
    meaning: str


def load_settings(environment: Mapping[str, str] | None = None, file: Path | None = None) -> Settings:
    """Settings from `environment` (the process's own by default), else from `file` or the file that
    `FRAUD_SETTINGS_FILE` names, else the defaults. Raises `SettingsError` naming the variable, or file and line.
    """
    return _load(os.environ if environment is None else environment, file)[0]


def names_settings_file(environment: Mapping[str, str] | None = None) -> bool:
    """Whether `environment` (the process's own by default) names a settings file."""
    return bool((os.environ if environment is None else environment).get(FILE_VARIABLE))


def setting_lines(environment: Mapping[str, str] | None = None, file: Path | None = None) -> list[SettingLine]:
    """What `load_settings` yields, a line a setting. Raises `SettingsError`."""
    settings, origins = _load(os.environ if environment is None else environment, file)
    return [
        SettingLine(item.name, _shown(settings, item.name), origins.get(item.name, "default"), item.metadata["meaning"])
        for item in fields(Settings)
    ]


def _load(environment: Mapping[str, str], file: Path | None) -> tuple[Settings, dict[str, str]]:
    parsers: dict[str, Parse] = {item.name: item.metadata["parse"] for item in fields(Settings)}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if file is None and environment.get(FILE_VARIABLE):
        file = Path(environment[FILE_VARIABLE])
    for name, line, text in _file_entries(file, parsers) if file is not None else ():
        values[name] = _beside(file, _parse(f"{file}:{line}: {name}", parsers[name], text))
        origins[name] = f"{file}:{line}"
    for variable, name in _variables(environment, parsers).items():
        values[name] = _parse(variable, parsers[name], environment[variable])
        origins[name] = variable
    settings = Settings(**values)
    _check_together(settings)
    return settings, origins


def _variables(environment: Mapping[str, str], parsers: Mapping[str, Parse]) -> dict[str, str]:
    known = {PREFIX + name.upper(): name for name in parsers}
    for variable in environment:
        if variable.startswith(PREFIX) and variable not in known and variable != FILE_VARIABLE:
            # Other programs use the prefix, too; but a key under a mistyped name would be a key that is not used.
            meant = kinds.nearest(variable, [*known, FILE_VARIABLE])
            if meant is not None:
                raise SettingsError(f"{variable} is set, but there is no such setting; did you mean {meant}?")
    return {variable: name for variable, name in known.items() if variable in environment}


def _file_entries(file: Path, parsers: Mapping[str, Parse]) -> list[tuple[str, int, str]]:
    """Name, line and text of each setting in `file`."""
    try:
        # The base loader leaves every value the text that was written: 0123 stays a key, no stays a word.
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    except OSError as error:
        raise SettingsError(f"{file}: the settings file cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{file}:{mark.line + 1}" if mark is not None else str(file)
        reason = getattr(error, "problem", None) or "it is not text in UTF-8"
        raise SettingsError(f"{place}: the settings file is not valid YAML: {reason}") from None
    if root is None:
        return []
    if not isinstance(root, yaml.MappingNode):
        raise SettingsError(f"{file}: a settings file has lines such as `redis_url: redis://127.0.0.1:6379/0`")
    entries: dict[str, tuple[str, int, str]] = {}
    for key, value in root.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name not in parsers:
            meant = kinds.nearest(name, parsers)
            hint = f"did you mean {meant}?" if meant else "`fraud settings` lists them"
            raise SettingsError(f"{file}:{line}: there is no setting {name!r}; {hint}")
        if name in entries:
            raise SettingsError(f"{file}:{line}: {name} is there twice, first on line {entries[name][1]}")
        entries[name] = (name, line, _scalar(f"{file}:{line}: {name}", value))
    return list(entries.values())


def _scalar(place: str, node: yaml.Node) -> str:
    items = node.value if isinstance(node, yaml.SequenceNode) else [node]
    if not all(isinstance(item, yaml.ScalarNode) for item in items):
        raise SettingsError(f"{place} must be one value, or a list of values")
    return ",".join(str(item.value) for item in items)


def _parse(place: str, parse: Parse, text: str) -> object:
    if not text and parse is not kinds.texts:
        raise SettingsError(f"{place} is set but empty; give it a value or unset it")
    try:
        return parse(text)
    except SecretRefusedError as error:
        raise SettingsError(f"{place} {error}") from None
    except ValueError as error:
        raise SettingsError(f"{place} {error}, it is {text!r}") from None


def _beside(file: Path | None, value: object) -> object:
    """A relative path in a settings file is one from that file's folder."""
    return file.parent / value if file is not None and isinstance(value, Path) else value


def _check_together(settings: Settings) -> None:
    """Refuse what each setting allows but not all of them together."""
    sasl = (settings.kafka_sasl_mechanism, settings.kafka_sasl_username, settings.kafka_sasl_password)
    if settings.kafka_security_protocol.startswith("SASL") and None in sasl:
        raise SettingsError(
            f"FRAUD_KAFKA_SECURITY_PROTOCOL is {settings.kafka_security_protocol}, which needs "
            "FRAUD_KAFKA_SASL_MECHANISM, FRAUD_KAFKA_SASL_USERNAME and FRAUD_KAFKA_SASL_PASSWORD"
        )
    if not settings.kafka_security_protocol.startswith("SASL") and any(sasl):
        raise SettingsError(
            "FRAUD_KAFKA_SASL_... is set, but FRAUD_KAFKA_SECURITY_PROTOCOL is "
            f"{settings.kafka_security_protocol}, which does not use it; SASL_SSL does"
        )
    if (settings.kafka_ssl_certificate_file is None) != (settings.kafka_ssl_key_file is None):
        raise SettingsError("FRAUD_KAFKA_SSL_CERTIFICATE_FILE and FRAUD_KAFKA_SSL_KEY_FILE go together")
    if (settings.redis_ssl_certificate_file is None) != (settings.redis_ssl_key_file is None):
        raise SettingsError("FRAUD_REDIS_SSL_CERTIFICATE_FILE and FRAUD_REDIS_SSL_KEY_FILE go together")
    for name in ("redis_ssl_ca_file", "redis_ssl_certificate_file"):
        if getattr(settings, name) is not None and not settings.redis_url.startswith("rediss:"):
            raise SettingsError(f"FRAUD_{name.upper()} is set, but FRAUD_REDIS_URL is without TLS; rediss:// has it")
    if (settings.token_previous_key is None) != (settings.token_previous_key_id is None):
        raise SettingsError("FRAUD_TOKEN_PREVIOUS_KEY and FRAUD_TOKEN_PREVIOUS_KEY_ID go together")
    if settings.token_previous_key_id == settings.token_key_id:
        raise SettingsError("FRAUD_TOKEN_PREVIOUS_KEY_ID must differ from FRAUD_TOKEN_KEY_ID: each key has its own id")
    topics = [getattr(settings, item.name) for item in fields(Settings) if item.name.endswith("_topic")]
    if len(set(topics)) < len(topics):
        raise SettingsError(f"each FRAUD_..._TOPIC must be a topic of its own, they are {', '.join(topics)}")


def _shown(settings: Settings, name: str) -> str:
    value = getattr(settings, name)
    parse = next(item.metadata["parse"] for item in fields(Settings) if item.name == name)
    if value is None:
        return "-"
    if parse in (kinds.key, kinds.secret):
        return "(development key)" if value == DEVELOPMENT_KEY else "***"
    if isinstance(value, tuple):
        return ", ".join(value) or "-"
    if isinstance(value, float):
        return f"{value:g}"
    return kinds.masked_url(value) if isinstance(value, str) and "://" in value else str(value)
