"""Which conversion each field of a transaction has."""

from __future__ import annotations

from typing import Literal

from fraud.sources import values
from fraud.sources.values import Conversion
from fraud.transaction import AUTH_RESULTS, ENTRY_MODES, EVENT_TYPES

# What a column is wanted for. Only Parquet minds: its arrays have types of their own. In a `utc_time` column a time
# without zone is UTC.
Kind = Literal["text", "amount", "number", "boolean", "time", "utc_time", "object"]
_CHOICES = {"event_type": EVENT_TYPES, "auth_result": AUTH_RESULTS, "entry_mode": ENTRY_MODES}


def target_conversion(target: str) -> tuple[Kind, Conversion]:
    """What a column must be read as for the field `target` of a message, and how its values are converted."""
    if target in _CHOICES:
        allowed = _CHOICES[target]
        return "text", values.choice(allowed, "invalid_value", f"must be one of {', '.join(allowed)}")
    special: dict[str, tuple[Kind, Conversion]] = {
        "amount": ("amount", values.amount()),
        "currency": ("text", values.currency()),
        "is_recurring": ("boolean", values.boolean()),
        "latitude": ("number", values.number(-90, 90, "invalid_coordinate")),
        "longitude": ("number", values.number(-180, 180, "invalid_coordinate")),
        "attributes": ("object", values.json_object()),
    }
    return special.get(target, ("text", values.text()))
