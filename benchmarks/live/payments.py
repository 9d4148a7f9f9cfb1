"""Simulated payments as messages, spread over as many customers as a case wants."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import msgspec

from benchmarks.inputs import simulated
from fraud.features.plan import ENTITY_FIELDS
from fraud.live.produce import encode_transaction
from fraud.sources.mapping import load_mapping
from fraud.sources.reader import read_records
from fraud.sources.records import SourceRecord
from fraud.transaction import TransactionMessage

# 8,300 customers, as in the other benchmarks; the file is made once.
FILE_TRANSACTIONS = 500_000
_TRANSACTION_ID = re.compile(rb'"transaction_id":"([^"]+)"')


class Payment(NamedTuple):
    """A message, and the entities that its decision looks at."""

    key: bytes
    value: bytes
    entities: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Customers:
    """The payments of the simulated file in their order, made by `count` customers who take turns.

    Turns make every customer equally busy, so a pass of `count` payments meets each of them once. What belongs to a
    customer alone (card, device, address) goes with the customer; merchants and terminals stay.
    """

    count: int

    def payments(self, first: int, number: int) -> list[Payment]:
        """The payments from position `first` on. Raises ValueError if the file has not so many."""
        found = [self._payment(place, message) for place, message in islice(_authorisations(), first, first + number)]
        if len(found) < number:
            raise ValueError(f"the simulated file ends {number - len(found)} payments too early")
        return found

    def _payment(self, place: int, message: TransactionMessage) -> Payment:
        customer = place % self.count
        address = f"10.{customer >> 16 & 255}.{customer >> 8 & 255}.{customer & 255}"
        own = msgspec.structs.replace(
            message,
            transaction_id=f"P{place}",
            user_id=f"C{customer}",
            card_id=None if message.card_id is None else f"card-{customer}",
            device_id=None if message.device_id is None else f"device-{customer}",
            ip_address=None if message.ip_address is None else address,
        )
        named = ((kind, getattr(own, field)) for kind, field in ENTITY_FIELDS.items())
        entities = tuple((kind, name) for kind, name in named if name is not None)
        return Payment(own.user_id.encode(), encode_transaction(own), entities)


def _authorisations() -> Iterator[tuple[int, TransactionMessage]]:
    place = 0
    for record in read_records([simulated("native", FILE_TRANSACTIONS)], load_mapping("native")):
        if isinstance(record, SourceRecord) and record.message.event_type == "authorisation":
            yield place, record.message
            place += 1


def transaction_id_of(value: bytes) -> bytes:
    """The transaction that a message is about, of a payment as of its decision. Raises ValueError if it names none."""
    found = _TRANSACTION_ID.search(value)
    if found is None:
        raise ValueError(f"no transaction_id in {value[:80]!r}")
    return found[1]
