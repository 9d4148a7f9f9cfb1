"""What a feature set needs remembered: window lengths, optional details, and the buckets of each kind of entity."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

ENTITY_FIELDS = {
    "card": "card_id",
    "merchant": "merchant_id",
    "terminal": "terminal_id",
    "device": "device_id",
    "ip": "ip_address",
    "counterparty": "counterparty_id",
}
ENTITY_KINDS = tuple(ENTITY_FIELDS)


@dataclass(frozen=True)
class EntityPlan:
    """What is remembered about entities of one kind: counters in buckets of `hop_ms`, kept for `retention_ms`."""

    kind: str
    hop_ms: int
    retention_ms: int
    counts_customers: bool
    counts_cards: bool
    sums_amounts: bool
    counts_first_times: bool


@dataclass(frozen=True)
class StatePlan:
    """What one feature set needs remembered, and the limits of lateness and memory that all stores share."""

    customer_windows_ms: tuple[int, ...]
    entities: tuple[EntityPlan, ...]
    detailed: bool
    allowed_lateness_ms: int
    forget_after_ms: int
    duplicate_horizon_ms: int

    @cached_property
    def customer_retention_ms(self) -> int:
        """How far back a customer's rows are kept, against its newest."""
        return max(self.customer_windows_ms, default=0) + self.allowed_lateness_ms

    @cached_property
    def names_things(self) -> bool:
        """Whether anybody asks for the names of things and customers."""
        return self.detailed or any(entity.counts_customers or entity.counts_cards for entity in self.entities)

    def window_number(self, window_ms: int) -> int:
        """Where a customer window's start stands in `Run.starts`."""
        return self.customer_windows_ms.index(window_ms)
