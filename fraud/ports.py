"""What the pipeline needs from the world, as protocols. Stores in memory, DynamoDB and Redis behave alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from fraud.features.extraction import CustomerStates, EntityStates
from fraud.transaction import Transaction


class CustomerStore(Protocol):
    """Where customers are remembered."""

    async def load(self, user_ids: Iterable[str], /) -> CustomerStates:
        """The states of at least these customers, as the pipeline left them; the pipeline adds new ones itself."""
        ...


class EntityStore(Protocol):
    """Where merchants, terminals, devices, ... are remembered."""

    async def load(self, keys: Iterable[tuple[str, str]], /) -> EntityStates:
        """The states of at least these entities, `(kind, identifier)`, by kind; the pipeline adds new ones itself."""
        ...


class LabelFeed(Protocol):
    """Labels that become known while transactions pass."""

    @property
    def next_due_ms(self) -> float:
        """When the next label becomes known; infinity if none is waiting."""
        ...

    def due(self, timestamp_ms: int) -> Sequence[tuple[Transaction, bool]]:
        """Take what is known by then: transactions whose resolved label changed, and whether it is fraud now."""
        ...

    def absorbed(self, position: int, transaction: Transaction) -> None:
        """The message at `position` of the batch entered the windows as `transaction`; its label can follow."""
        ...
