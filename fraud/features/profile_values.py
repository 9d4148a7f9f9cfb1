"""What a rule can read of a customer's profile, as it was before the transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fraud.features.moment import Moment
from fraud.features.table import DAY_MS

ProfileValue = float | int | str | None


@dataclass(frozen=True)
class ProfileField:
    """A name under `profile.`; `detailed` ones exist only where the feature set keeps the customer's details."""

    kind: Literal["number", "text"]
    meaning: str
    read: Callable[[Moment], ProfileValue]
    detailed: bool = False


def _mean_amount(moment: Moment) -> float | None:
    profile = moment.profile
    if not profile.transaction_count:
        return None
    return profile.amount_sum / float(profile.transaction_count * moment.minor_units)


def _maximum_amount(moment: Moment) -> float | None:
    profile = moment.profile
    return profile.amount_maximum / moment.minor_units if profile.transaction_count else None


def _tenure_days(moment: Moment) -> float:
    profile = moment.profile
    if not profile.transaction_count:
        return 0.0
    return max(0, moment.timestamp_ms - profile.first_seen_ms) / DAY_MS


PROFILE_FIELDS = {
    "home_country": ProfileField(
        "text", "The country of most transactions", lambda moment: moment.details.home_country, detailed=True
    ),
    "known_devices": ProfileField(
        "number", "Devices used before", lambda moment: len(moment.details.devices.codes), detailed=True
    ),
    "known_merchants": ProfileField(
        "number", "Merchants paid before", lambda moment: len(moment.details.merchants.codes), detailed=True
    ),
    "maximum_amount": ProfileField("number", "The highest amount so far, in base currency", _maximum_amount),
    "mean_amount": ProfileField("number", "The mean amount so far, in base currency", _mean_amount),
    "tenure_days": ProfileField("number", "Days since the customer was first seen", _tenure_days),
    "transaction_count": ProfileField(
        "number", "Transactions since first seen", lambda moment: moment.profile.transaction_count
    ),
}
