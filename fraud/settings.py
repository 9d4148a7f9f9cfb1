"""Every setting of the service in one frozen object, and the only place that reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
PREFIX = "FRAUD_"
# Known to everybody, hence only good for simulated data; its id stands in every token that it made.
DEVELOPMENT_KEY = "development-key-for-simulated-data-only"
DEVELOPMENT_KEY_ID = "dev"


class SettingsError(Exception):
    """A setting that cannot be used; the message names it and what it may be. It never shows a secret."""


@dataclass(frozen=True)
class Settings:
    """Settings with their defaults; each is read from the environment as `FRAUD_` and its name in capitals.

    `tokenised_fields` are tokenised besides card_id and ip_address. The rest are the limits of the design: an event
    later than `allowed_lateness_hours` is decided but not absorbed; a customer silent for `forget_after_days` is new;
    the same transaction again is recognised within `duplicate_horizon_days`.
    """

    base_currency: str = "EUR"
    rates_file: Path = HOME / "rates" / "sample.csv"
    token_key: str = field(default=DEVELOPMENT_KEY, repr=False)
    token_key_id: str = DEVELOPMENT_KEY_ID
    tokenised_fields: tuple[str, ...] = ()
    allowed_lateness_hours: float = 24
    forget_after_days: float = 90
    duplicate_horizon_days: float = 7
    # Large enough that a call of the model and of each numpy operation is spread over many rows; small enough that the
    # batch's objects stay in the processor's cache.
    batch_size: int = 1_024

    @property
    def uses_development_key(self) -> bool:
        """Whether tokens are made with the key that everybody knows."""
        return self.token_key == DEVELOPMENT_KEY


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from `environment` (the process's own by default). Raises `SettingsError` naming the variable."""
    source = os.environ if environment is None else environment
    known = {PREFIX + item.name.upper(): item for item in fields(Settings)}
    values: dict[str, object] = {}
    for variable, item in known.items():
        if variable in source:
            values[item.name] = _parse(variable, item.name, source[variable], getattr(Settings, item.name))
    return Settings(**values)  # type: ignore[arg-type]


def _parse(variable: str, name: str, text: str, default: object) -> object:
    if isinstance(default, tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if isinstance(default, Path):
        return Path(text)
    if isinstance(default, (int, float)):
        try:
            number = int(text) if name == "batch_size" else float(text)
        except ValueError:
            raise SettingsError(f"{variable} must be a number, it is {text!r}") from None
        if not 0 < number < 10**9:
            raise SettingsError(f"{variable} must be above zero, it is {text!r}")
        return number
    if not text:
        raise SettingsError(f"{variable} is set but empty; give it a value or unset it")
    return text
