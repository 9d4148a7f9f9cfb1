"""What the pipeline needs from the world, as protocols. Stores in memory, DynamoDB and Redis behave alike."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from fraud.features.extraction import CustomerStates, EntityStates
from fraud.transaction import Label, Transaction


class EntityStoreUnavailableError(Exception):
    """Entity windows cannot be read in time: decisions go on without them, and say so."""


class StoreUnavailableError(Exception):
    """The source of truth cannot be reached or refuses work: the batch is thrown away and tried again later."""


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Where a message came from: `source` is `topic id:partition`; `ingested_ms` when the broker took it."""

    source: str
    offset: int
    ingested_ms: int


class StoredDecision(msgspec.Struct, frozen=True, gc=False):
    """What history holds of a transaction: its canonical decision and hash (empty for what is not decided).

    `first_time` is whether its customer was new to its merchant, `late` whether it was left out of the windows.
    """

    transaction: Transaction
    origin: Origin
    canonical: bytes
    hash: str
    late: bool
    first_time: bool


class HistoryRecord(msgspec.Struct, frozen=True, gc=False):
    """A new event of a customer, to be written once; `sequence` is its place among all of the customer's events.

    `shadow_scores`: what models that decide nothing said of it, by the start of their content hash.
    """

    sequence: int
    stored: StoredDecision
    shadow_scores: Mapping[str, float] | None = None


class EntityEvent(msgspec.Struct, frozen=True, gc=False):
    """An authorisation as one of its entities counts it; `amount` in base minor units.

    `former_user_id` and `former_card_id` are what customer and card were called under the key before.
    """

    kind: str
    key: str
    offset: int
    timestamp_ms: int
    amount: int
    user_id: str
    card_id: str | None
    first_time: bool
    former_user_id: str | None = None
    former_card_id: str | None = None

    def with_former(self, former: Mapping[str, str]) -> EntityEvent:
        """The event with the former tokens of customer and card, which `former` has by present token."""
        card_id = None if self.card_id is None else former.get(self.card_id)
        return msgspec.structs.replace(self, former_user_id=former.get(self.user_id), former_card_id=card_id)


class CustomerStore(Protocol):
    """Where customers are remembered, and their history with its decisions is kept."""

    async def load(self, user_ids: Iterable[str], /) -> CustomerStates:
        """The states of at least these customers, as the pipeline left them; the pipeline adds new ones itself.

        Raises `StoreUnavailableError`.
        """
        ...

    def has_passed(self, user_id: str, origin: Origin, /) -> bool:
        """Whether the state that was loaded of a customer holds an event from `origin` or from later in its source.

        Then what came from `origin` has been here before, whatever became of it.
        """
        ...

    async def stored(self, transactions: Sequence[Transaction], /) -> Sequence[StoredDecision | None]:
        """What history holds under the identities of `transactions`, in their order. Raises `StoreUnavailableError`."""
        ...

    async def commit(self, records: Sequence[HistoryRecord], /) -> Mapping[int, StoredDecision]:
        """Make new events durable, each at most once, ever; without any, too, the batch that was loaded last ends.

        Returns by place in `records` what another writer had stored first: that counts, ours is void. Raises
        `StoreUnavailableError`; some may be written then, and the same call later completes it.
        """
        ...

    def checkpoint(self, user_ids: Iterable[str], /) -> None:
        """The states of these customers, who were loaded, hold what their histories alone would not yield."""
        ...

    def abandon(self) -> None:
        """The batch that was loaded last failed: forget what it may have changed."""
        ...


class EntityStore(Protocol):
    """Where merchants, terminals, devices, ... are remembered."""

    async def load(self, keys: Iterable[tuple[str, str]], /) -> EntityStates:
        """The states of at least these entities, `(kind, identifier)`, by kind; the pipeline adds new ones itself.

        What the pipeline changes in them is remembered at once by a store in memory, and by `commit` in any other.
        Raises `EntityStoreUnavailableError`.
        """
        ...

    async def commit(self, events: Mapping[str, Sequence[EntityEvent]], /) -> None:
        """Count `events` by source, whose offsets ascend; what was counted before is not counted again.

        Raises `EntityStoreUnavailableError`; some may be counted then, and the same call later completes it.
        """
        ...

    async def mark(
        self, keys: Iterable[tuple[str, str]], transaction_id: str, timestamp_ms: int, is_fraud: bool, /
    ) -> None:
        """Hold a transaction of this time for fraud, or no longer, with each of its entities; twice is once.

        Raises `EntityStoreUnavailableError`.
        """
        ...


class WaitingLabel(msgspec.Struct, frozen=True, gc=False):
    """A label whose transaction is not known yet. It waits since the message of `origin` came.

    `sealed` is that message, encrypted; None if an earlier version of the service let it wait.
    """

    label: Label
    origin: Origin
    sealed: bytes | None = None


class TransactionIndex(Protocol):
    """Finds what a label is about."""

    async def find(self, user_id: str, transaction_id: str, timestamp_ms: int | None, /) -> StoredDecision | None:
        """A customer's transaction; faster with its time. Raises `StoreUnavailableError`."""
        ...


class LabelStore(Protocol):
    """Every label of a transaction, append-only, and those that wait for theirs."""

    async def append(self, label: Label, /) -> list[Label]:
        """Keep a label (once per `label_id`) and return all of its transaction, this one included.

        Raises `StoreUnavailableError`.
        """
        ...

    async def park(self, label: Label, origin: Origin, sealed: bytes, /) -> None:
        """Let an appended label wait for its transaction, with the message of `origin`, encrypted.

        One that waits already goes on waiting from when it began. Raises `StoreUnavailableError`.
        """
        ...

    async def settle(self, label: Label, /) -> None:
        """It waits no longer. Raises `StoreUnavailableError`."""
        ...

    async def waiting(self) -> list[WaitingLabel]:
        """The labels that wait. Raises `StoreUnavailableError`."""
        ...


class LabelFeed(Protocol):
    """Labels that become known while transactions pass."""

    @property
    def next_due_ms(self) -> float:
        """When the next label becomes known; infinity if none is waiting."""
        ...

    @property
    def following(self) -> Collection[int]:
        """The positions of the batch whose labels follow."""
        ...

    def due(self, timestamp_ms: int) -> Sequence[tuple[Transaction, bool]]:
        """Take what is known by then: transactions whose resolved label changed, and whether it is fraud now."""
        ...

    def absorbed(self, position: int, transaction: Transaction) -> None:
        """The message at `position`, one of `following`, entered the windows as `transaction`: its label can follow."""
        ...
