"""Settings come from the environment and a file, are checked, and never show a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from fraud.settings import DEVELOPMENT_KEY, Settings, SettingsError, load_settings, setting_lines


def test_without_an_environment_the_defaults_hold() -> None:
    assert load_settings({}) == Settings()
    assert load_settings({}).uses_development_key


def test_each_setting_is_read_under_its_name() -> None:
    settings = load_settings(
        {
            "FRAUD_BASE_CURRENCY": "USD",
            "FRAUD_RATES_FILE": "rates/mine.csv",
            "FRAUD_TOKEN_KEY": "a key of at least sixteen bytes",
            "FRAUD_TOKENISED_FIELDS": "device_id, attributes.email",
            "FRAUD_FORGET_AFTER_DAYS": "30.5",
            "FRAUD_BATCH_SIZE": "256",
            "UNRELATED": "x",
        }
    )
    assert settings.base_currency == "USD"
    assert settings.rates_file == Path("rates/mine.csv")
    assert settings.tokenised_fields == ("device_id", "attributes.email")
    assert settings.forget_after_days == 30.5
    assert settings.batch_size == 256
    assert not settings.uses_development_key


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf", ""])
def test_a_number_that_cannot_be_one_is_refused_by_the_name_of_its_variable(text: str) -> None:
    with pytest.raises(SettingsError, match="FRAUD_ALLOWED_LATENESS_HOURS"):
        load_settings({"FRAUD_ALLOWED_LATENESS_HOURS": text})


def test_an_empty_key_is_refused_instead_of_used() -> None:
    with pytest.raises(SettingsError, match="FRAUD_TOKEN_KEY"):
        load_settings({"FRAUD_TOKEN_KEY": ""})


def test_the_key_is_not_shown() -> None:
    assert DEVELOPMENT_KEY not in repr(Settings())
    assert "secret key" not in repr(load_settings({"FRAUD_TOKEN_KEY": "secret key of sixteen bytes"}))


HIDDEN = "a secret that nobody may see"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.yaml"


def test_a_file_holds_settings_and_the_environment_wins_over_it(file: Path) -> None:
    file.write_text("consumer_group: scoring\ntopic_partitions: 3\ntokenised_fields: [device_id, city]\n")
    settings = load_settings({"FRAUD_TOPIC_PARTITIONS": "5"}, file)
    assert (settings.consumer_group, settings.topic_partitions) == ("scoring", 5)
    assert settings.tokenised_fields == ("device_id", "city")


def test_the_environment_can_name_the_file(file: Path) -> None:
    file.write_text("consumer_group: scoring\n")
    assert load_settings({"FRAUD_SETTINGS_FILE": str(file)}).consumer_group == "scoring"


def test_a_relative_path_in_a_file_is_one_beside_it_and_in_the_environment_one_from_here(file: Path) -> None:
    file.write_text("policy_file: mine.yaml\n")
    assert load_settings({}, file).policy_file == file.parent / "mine.yaml"
    assert load_settings({"FRAUD_POLICY_FILE": "mine.yaml"}).policy_file == Path("mine.yaml")


def test_values_in_a_file_are_the_text_that_was_written(file: Path) -> None:
    file.write_text("token_key: 0123456701234567\naws_region: no\n")
    settings = load_settings({}, file)
    assert (settings.token_key, settings.aws_region) == ("0123456701234567", "no")


def test_a_service_without_a_model_says_so() -> None:
    assert load_settings({"FRAUD_MODEL_FOLDER": "none"}).model_folder is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("consumer_groop: x", "settings.yaml:1: there is no setting 'consumer_groop'; did you mean consumer_group?"),
        ("\nxyz: 1", "settings.yaml:2: there is no setting 'xyz'; `fraud settings` lists them"),
        ("metrics_port: 80\nmetrics_port: 81", "settings.yaml:2: metrics_port is there twice, first on line 1"),
        ("metrics_port: 99999", "settings.yaml:1: metrics_port must be a whole number from 1 to 65,535, it is '99999'"),
        ("metrics_port: {a: 1}", "settings.yaml:1: metrics_port must be one value, or a list of values"),
        ("metrics_port:", "settings.yaml:1: metrics_port is set but empty"),
        ("- metrics_port", "has lines such as"),
        ("a: [", "settings.yaml:1: the settings file is not valid YAML"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_line(file: Path, content: str, message: str) -> None:
    file.write_text(content)
    with pytest.raises(SettingsError) as raised:
        load_settings({}, file)
    assert message in str(raised.value)


def test_a_file_that_is_not_there_is_told(file: Path) -> None:
    with pytest.raises(SettingsError, match=r"settings\.yaml: the settings file cannot be read: No such file"):
        load_settings({}, file)


def test_an_empty_file_sets_nothing(file: Path) -> None:
    file.write_text("# nothing yet\n")
    assert load_settings({}, file) == Settings()


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("FRAUD_BATCH_SIZE", "1.5", "must be a whole number"),
        ("FRAUD_KAFKA_BOOTSTRAP_SERVERS", "broker", "must be HOST:PORT"),
        ("FRAUD_KAFKA_SECURITY_PROTOCOL", "TLS", "must be one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
        ("FRAUD_ALERTS_TOPIC", "a b", "must be a topic name"),
        ("FRAUD_DYNAMODB_ENDPOINT_URL", "localhost:8000", "must be an address such as http://"),
        ("FRAUD_REDIS_URL", "http://127.0.0.1", "must be an address such as redis://"),
        ("FRAUD_LOG_LEVEL", "loud", "must be one of debug, info, warning, error"),
        ("FRAUD_TOKEN_KEY_ID", "No!", "must be 1 to 16 small letters and digits"),
        ("FRAUD_DEAD_LETTER_KEY", "short", "must have at least 16 bytes, it has 5"),
    ],
)
def test_a_value_that_cannot_be_used_is_told_with_its_variable(variable: str, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings({variable: text})
    assert str(raised.value).startswith(f"{variable} {message}")


def test_a_mistyped_variable_is_refused_and_that_of_another_program_is_not() -> None:
    with pytest.raises(SettingsError, match=r"FRAUD_TOKEN_KYE .* did you mean FRAUD_TOKEN_KEY\?"):
        load_settings({"FRAUD_TOKEN_KYE": HIDDEN})
    assert load_settings({"FRAUD_DASHBOARD_COLOUR": "red"}) == Settings()


@pytest.mark.parametrize(
    "environment",
    [
        {"FRAUD_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "FRAUD_KAFKA_SASL_USERNAME": "fraud"},
        {"FRAUD_KAFKA_SASL_PASSWORD": HIDDEN},
        {"FRAUD_KAFKA_SSL_CERTIFICATE_FILE": "service.pem"},
        {"FRAUD_TOKEN_PREVIOUS_KEY": HIDDEN},
        {"FRAUD_TOKEN_PREVIOUS_KEY": HIDDEN, "FRAUD_TOKEN_PREVIOUS_KEY_ID": "dev"},
        {"FRAUD_ALERTS_TOPIC": "decisions"},
    ],
)
def test_settings_that_contradict_each_other_are_refused(environment: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="FRAUD_") as raised:
        load_settings(environment)
    assert HIDDEN not in str(raised.value)


SECRETS = {
    "FRAUD_TOKEN_KEY": HIDDEN,
    "FRAUD_TOKEN_PREVIOUS_KEY": HIDDEN,
    "FRAUD_TOKEN_PREVIOUS_KEY_ID": "old",
    "FRAUD_DEAD_LETTER_KEY": HIDDEN,
    "FRAUD_KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
    "FRAUD_KAFKA_SASL_MECHANISM": "SCRAM-SHA-256",
    "FRAUD_KAFKA_SASL_USERNAME": "fraud",
    "FRAUD_KAFKA_SASL_PASSWORD": HIDDEN,
    "FRAUD_REDIS_URL": f"redis://user:{HIDDEN.replace(' ', '-')}@127.0.0.1:6379/0",
}


def test_no_secret_is_shown_anywhere() -> None:
    lines = setting_lines(SECRETS)
    shown = repr(load_settings(SECRETS)) + " ".join(line.shown for line in lines)
    assert HIDDEN not in shown
    assert HIDDEN.replace(" ", "-") not in shown
    assert next(line.shown for line in lines if line.name == "redis_url") == "redis://user:***@127.0.0.1:6379/0"


def test_each_setting_is_listed_with_where_it_came_from(file: Path) -> None:
    file.write_text("\nconsumer_group: scoring\n")
    lines = {line.name: line for line in setting_lines({"FRAUD_LOG_LEVEL": "DEBUG"}, file)}
    assert (lines["log_level"].shown, lines["log_level"].origin) == ("debug", "FRAUD_LOG_LEVEL")
    assert lines["consumer_group"].origin == f"{file}:2"
    assert (lines["redis_url"].shown, lines["redis_url"].origin) == ("redis://127.0.0.1:6379/0", "default")
    assert all(line.meaning for line in lines.values())
