"""What a feature set needs remembered: window lengths, optional columns, and the cut points of each kind of entity."""

from __future__ import annotations

from dataclasses import dataclass

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
class SeriesPlan:
    """One series of buckets: its hop, how long buckets are kept, and the cut points that features look up.

    A cut is an offset before the transaction: buckets that end at or before `timestamp - offset` lie before the cut;
    offset 0 includes the bucket in progress.
    """

    hop_ms: int
    retention_ms: int
    cuts_ms: tuple[int, ...]


@dataclass(frozen=True)
class EntityPlan:
    """What is remembered about entities of one kind."""

    kind: str
    series: tuple[SeriesPlan, ...]
    counts_customers: bool
    counts_cards: bool
    fraud_retention_ms: int


@dataclass(frozen=True)
class StatePlan:
    """What one feature set needs remembered, and the limits of lateness and memory that all stores share."""

    customer_windows_ms: tuple[int, ...]
    entities: tuple[EntityPlan, ...]
    detailed: bool
    allowed_lateness_ms: int
    forget_after_ms: int
    duplicate_horizon_ms: int

    @property
    def customer_retention_ms(self) -> int:
        """How far back a customer's rows are kept, against its newest."""
        return max(self.customer_windows_ms, default=0) + self.allowed_lateness_ms
