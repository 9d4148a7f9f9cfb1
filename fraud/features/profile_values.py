"""What a rule can read of a customer's profile, as it was before the transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fraud.features import customer_words as layout
from fraud.features.customer_state import CustomerState
from fraud.features.customer_words import Table
from fraud.features.table import DAY_MS

ProfileValue = float | int | str | None


@dataclass(frozen=True)
class ProfileField:
    """A name under `profile.`; `detailed` ones exist only where the feature set keeps the customer's details.

    It is read of the state, at the transaction's time in milliseconds, with the minor units of one of base currency.
    """

    kind: Literal["number", "text"]
    meaning: str
    read: Callable[[CustomerState, int, int], ProfileValue]
    detailed: bool = False


def _mean_amount(customer: CustomerState, _timestamp_ms: int, minor_units: int) -> float | None:
    count, total = customer.words[layout.COUNT], customer.words[layout.TOTAL]
    return total / float(count * minor_units) if count else None


def _maximum_amount(customer: CustomerState, _timestamp_ms: int, minor_units: int) -> float | None:
    return customer.words[layout.MAXIMUM] / minor_units if customer.words[layout.COUNT] else None


def _tenure_days(customer: CustomerState, timestamp_ms: int, _minor_units: int) -> float:
    if not customer.words[layout.COUNT]:
        return 0.0
    return max(0, timestamp_ms - customer.first_seen_ms) / DAY_MS


PROFILE_FIELDS = {
    "home_country": ProfileField(
        "text", "The country of most transactions", lambda customer, *_: customer.home_country, detailed=True
    ),
    "known_devices": ProfileField(
        "number",
        "Devices used before",
        lambda customer, *_: customer.known_count(Table.DEVICE),
        detailed=True,
    ),
    "known_merchants": ProfileField(
        "number",
        "Merchants paid before",
        lambda customer, *_: customer.known_count(Table.MERCHANT),
        detailed=True,
    ),
    "maximum_amount": ProfileField("number", "The highest amount so far, in base currency", _maximum_amount),
    "mean_amount": ProfileField("number", "The mean amount so far, in base currency", _mean_amount),
    "tenure_days": ProfileField("number", "Days since the customer was first seen", _tenure_days),
    "transaction_count": ProfileField(
        "number", "Transactions since first seen", lambda customer, *_: customer.words[layout.COUNT]
    ),
}
