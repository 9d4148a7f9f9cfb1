"""What a condition can name, and how a batch becomes the columns that conditions read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan
from operator import attrgetter
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fraud.decision import Scalar
from fraud.features.profile_values import PROFILE_FIELDS, Profiles
from fraud.features.table import FeatureSet, typed
from fraud.rules.values import SCORE, Kind
from fraud.transaction import Transaction

HOUR_MS = 3_600_000

_TEXT_FIELDS = (
    "currency",
    "auth_result",
    "entry_mode",
    "card_id",
    "card_prefix",
    "merchant_id",
    "merchant_category",
    "terminal_id",
    "counterparty_id",
    "channel",
    "country",
    "city",
    "device_id",
    "ip_address",
    "ip_prefix",
    "user_id",
)
_KINDS = {"integer": Kind.NUMBER, "number": Kind.NUMBER, "boolean": Kind.BOOLEAN, "text": Kind.TEXT}
_DTYPES: dict[Kind, Any] = {Kind.NUMBER: np.float64, Kind.BOOLEAN: np.float64, Kind.TEXT: object}


@dataclass(frozen=True)
class GatheredBatch:
    """n transactions to decide, in order of arrival, with what was read of the state before each.

    `matrix` are the feature values, float64 [n, features]; `profiles` the profile fields that the pipeline was asked
    for; `late` bool [n]. `degraded` names the parts that were away: what they would have given is missing.
    """

    transactions: Sequence[Transaction]
    matrix: NDArray[np.float64]
    profiles: Profiles
    late: NDArray[np.bool_]
    degraded: tuple[str, ...] = ()

    # What several stages read of all transactions, made once: only for batches that are decided.

    @cached_property
    def transaction_ids(self) -> list[str]:
        """The id of each transaction."""
        return [transaction.transaction_id for transaction in self.transactions]

    @cached_property
    def user_ids(self) -> list[str]:
        """The customer of each transaction."""
        return [transaction.user_id for transaction in self.transactions]

    @cached_property
    def currencies(self) -> list[str]:
        """The currency of each transaction."""
        return [transaction.currency for transaction in self.transactions]

    @cached_property
    def timestamps_ms(self) -> NDArray[np.int64]:
        """UTC milliseconds, int64 [n]."""
        return np.array([transaction.timestamp_ms for transaction in self.transactions], dtype=np.int64)

    @cached_property
    def amounts_minor(self) -> NDArray[np.int64]:
        """Amounts in the transactions' own currencies, int64 [n]."""
        return np.array([transaction.amount_minor for transaction in self.transactions], dtype=np.int64)

    @cached_property
    def base_amounts_minor(self) -> NDArray[np.int64]:
        """Amounts in the base currency, int64 [n]."""
        return np.array([transaction.base_amount_minor for transaction in self.transactions], dtype=np.int64)


def rule_names(feature_set: FeatureSet, attribute_kinds: Mapping[str, str], *, detailed: bool) -> dict[str, Kind]:
    """Every name that a condition may read, with its type.

    `attribute_kinds` are the typed attributes of the column mapping; `detailed` whether the feature set keeps the
    customer's details.
    """
    names = {SCORE: Kind.NUMBER, "amount": Kind.NUMBER, "hour_of_day": Kind.NUMBER, "is_recurring": Kind.BOOLEAN}
    names |= {"latitude": Kind.NUMBER, "longitude": Kind.NUMBER}
    names |= dict.fromkeys(_TEXT_FIELDS, Kind.TEXT)
    names |= {
        f"profile.{name}": _KINDS[field.kind]
        for name, field in PROFILE_FIELDS.items()
        if detailed or not field.detailed
    }
    names |= {f"attributes.{name}": _KINDS[kind] for name, kind in attribute_kinds.items()}
    for row in feature_set.rows:
        if row.name in names:
            raise ValueError(f"the feature {row.name} has the name of a transaction field")
        names[row.name] = _KINDS[row.kind]
    return names


def profile_names(reads: frozenset[str]) -> tuple[str, ...]:
    """The profile fields among the names that a policy reads, in a fixed order."""
    return tuple(sorted(name.removeprefix("profile.") for name in reads if name.startswith("profile.")))


Read = Callable[[Transaction], Scalar]


class RuleInputs:
    """Columns and single values of the names that one policy reads."""

    def __init__(self, reads: frozenset[str], feature_set: FeatureSet, kinds: Mapping[str, Kind], base_exponent: int):
        self._features = {name: place for place, name in enumerate(feature_set.names) if name in reads}
        self._feature_rows = feature_set.rows
        self.profile_names = profile_names(reads)
        self._profiles = {f"profile.{name}": place for place, name in enumerate(self.profile_names)}
        self._minor_units = 10**base_exponent
        others = sorted(reads - {SCORE} - self._features.keys() - self._profiles.keys())
        self._transactions = {name: self._reader(name) for name in others}
        self._dtypes = {name: _DTYPES[kinds[name]] for name in others}

    def _reader(self, name: str) -> Read:
        minor_units = self._minor_units
        if name == "amount":
            return lambda transaction: transaction.base_amount_minor / minor_units
        if name == "hour_of_day":
            return lambda transaction: transaction.timestamp_ms // HOUR_MS % 24
        if name.startswith("attributes."):
            attribute = name.removeprefix("attributes.")
            return lambda transaction: transaction.attributes.get(attribute)
        return cast(Read, attrgetter(name))

    def columns(self, batch: GatheredBatch, scores: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
        """An array of shape [n] for each name that the policy reads; missing is NaN, in text None."""
        return {SCORE: scores, **self.unscored_columns(batch)}

    def unscored_columns(self, batch: GatheredBatch) -> dict[str, NDArray[Any]]:
        """As `columns`, without the score."""
        columns: dict[str, NDArray[Any]] = {}
        for name, place in self._features.items():
            columns[name] = batch.matrix[:, place]
        for name, place in self._profiles.items():
            is_text = batch.profiles.fields[place].kind == "text"
            columns[name] = np.array(batch.profiles.texts, object) if is_text else batch.profiles.numbers[:, place]
        for name, read in self._transactions.items():
            columns[name] = self._column(name, read, batch)
        return columns

    def _column(self, name: str, read: Read, batch: GatheredBatch) -> NDArray[Any]:
        # What `read` says of each transaction, from what others need as arrays anyway.
        if name == "amount":
            amounts: NDArray[np.float64] = batch.base_amounts_minor / self._minor_units
            return amounts
        if name == "hour_of_day":
            return (batch.timestamps_ms // HOUR_MS % 24).astype(np.float64)
        return np.array([read(transaction) for transaction in batch.transactions], self._dtypes[name])

    def values(
        self, name: str, batch: GatheredBatch, rows: NDArray[np.intp], scores: NDArray[np.float64]
    ) -> Sequence[Scalar]:
        """The values of one name in some rows, as they stand in decisions."""
        if name == SCORE:
            return [None if isnan(score) else score for score in scores[rows].tolist()]
        if name in self._features:
            place = self._features[name]
            kind = self._feature_rows[place].kind
            return [typed(kind, value) for value in batch.matrix[rows, place].tolist()]
        if name in self._profiles:
            return batch.profiles.values(rows, self._profiles[name])
        read = self._transactions[name]
        return [read(batch.transactions[row]) for row in rows.tolist()]
