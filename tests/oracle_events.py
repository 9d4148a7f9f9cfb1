"""What the feature oracle keeps: every event of every customer and entity, for ever."""

from __future__ import annotations

from dataclasses import dataclass, field

from fraud.transaction import Transaction

ENTITY_FIELDS = {
    "card": "card_id",
    "merchant": "merchant_id",
    "terminal": "terminal_id",
    "device": "device_id",
    "ip": "ip_address",
    "counterparty": "counterparty_id",
}


@dataclass(frozen=True)
class Limits:
    """As the settings of these names, in milliseconds."""

    allowed_lateness_ms: int
    forget_after_ms: int
    duplicate_horizon_ms: int


@dataclass(eq=False)
class Event:
    """One event of a customer: `arrival_ms` is the newest time that the customer had shown by then."""

    transaction: Transaction
    arrival_ms: int
    absorbed: bool = False
    reversed: bool = False
    merchant_was_new: bool = False

    @property
    def ms(self) -> int:
        return self.transaction.timestamp_ms

    @property
    def amount(self) -> int:
        return self.transaction.base_amount_minor


@dataclass
class Customer:
    """Every event since the customer was new, in order of arrival."""

    events: list[Event] = field(default_factory=list)

    @property
    def absorbed(self) -> list[Event]:
        return [event for event in self.events if event.absorbed]

    @property
    def newest_ms(self) -> int | None:
        return max((event.ms for event in self.absorbed), default=None)

    @property
    def silent_since_ms(self) -> int | None:
        """The newest payment; without one the newest refund or reversal."""
        return max((event.ms for event in self.absorbed or self.events), default=None)


@dataclass
class Entity:
    """Every transaction of everybody at an entity since it was new, by arrival; times of those known as fraud."""

    events: list[Event] = field(default_factory=list)
    fraud_ms: list[int] = field(default_factory=list)

    @property
    def newest_ms(self) -> int | None:
        return max((event.ms for event in self.events), default=None)


def presence(transaction: Transaction) -> str:
    """Whether the card was there: the entry mode says it, else the channel."""
    if transaction.entry_mode in ("chip", "contactless", "magstripe") or (
        transaction.entry_mode is None and transaction.channel in ("pos", "atm")
    ):
        return "present"
    if transaction.entry_mode in ("manual", "ecommerce") or transaction.channel in ("online", "app", "phone", "mail"):
        return "remote"
    return ""
