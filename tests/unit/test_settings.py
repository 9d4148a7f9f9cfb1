"""Settings come from the environment, are checked, and never show a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from fraud.settings import DEVELOPMENT_KEY, Settings, SettingsError, load_settings


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
