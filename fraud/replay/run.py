"""Replay: read, process, and hand each batch to whoever wants its results."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter

from fraud.bootstrap import Artefacts, build_pipeline, state_limits
from fraud.pipeline import BatchResult, Period, Pipeline, StageTimings
from fraud.replay.label_feed import FileLabelFeed
from fraud.settings import Settings
from fraud.sources.mapping import Mapping
from fraud.sources.reader import TransactionFiles
from fraud.sources.records import Record, RejectedRecord, SourceRecord
from fraud.stores.memory import MemoryCustomers, MemoryEntities
from fraud.transaction import InvalidTransactionError

DUPLICATE_CODE = "duplicate_transaction"

# Python's cycle collector walks every live object; states are many, hold no cycles and die by reference count.
# Collecting after this many new containers instead of 700 keeps its share of the time below a percent.
_COLLECTION_THRESHOLD = 200_000


# Memory is freed of what is forgotten each time this many records have passed: often enough that it follows the
# customers who are there, seldom enough that walking all of them costs nothing. A multiple of the usual batch sizes.
SWEEP_EVERY_RECORDS = 65_536

# A refused record with its place: how many records of the batch come before it, and 1 if it is the next of them itself.
_Refused = tuple[int, int, RejectedRecord]


@dataclass(frozen=True)
class ReplayedBatch:
    """What became of one batch of records: `result.positions` count within `records`."""

    records: Sequence[SourceRecord]
    result: BatchResult
    rejected: list[RejectedRecord]

    @property
    def records_read(self) -> int:
        """How many records of the files these are, the refused ones included."""
        refused_by_reader = len(self.rejected) - len(self.result.refused) - len(self.result.duplicates)
        return len(self.records) + refused_by_reader


@dataclass(frozen=True)
class ReplayOptions:
    """Which part of the files to decide, how labels become known, and where to stop.

    `limit` is a number of records to read, good or bad.
    """

    period: Period
    label_delay_days: float
    limit: int | None = None


class Replay:
    """One pass of files through a pipeline on memory stores."""

    def __init__(
        self,
        settings: Settings,
        artefacts: Artefacts,
        mapping: Mapping,
        options: ReplayOptions,
        timings: StageTimings,
        *,
        sweep_every_records: int = SWEEP_EVERY_RECORDS,
        profile_names: Sequence[str] = (),
    ) -> None:
        self.customers = MemoryCustomers()
        self.entities = MemoryEntities()
        self.labels = FileLabelFeed(options.label_delay_days)
        self._options = options
        self._timings = timings
        self._batch_size = settings.batch_size
        self._plan = artefacts.feature_set.plan(state_limits(settings))
        self._newest_ms = 0
        self._records_seen = 0
        self._sweep_every_records = sweep_every_records
        self._pipeline: Pipeline = build_pipeline(
            settings,
            artefacts,
            self.customers,
            self.entities,
            timings=timings,
            period=options.period,
            accepts_zero_amounts=mapping.accepts_zero_amounts,
            profile_names=profile_names,
        )

    async def batches(self, files: TransactionFiles) -> AsyncGenerator[ReplayedBatch, None]:
        """Process the files; every record is either in a result or rejected, in the order of the files."""
        for records, refused in self._batched(files.blocks()):
            batch = await self._process(records, refused)
            # Memory stores never suspend, and asyncio delivers Ctrl-C only where something does.
            await asyncio.sleep(0)
            yield batch

    async def _process(self, records: list[SourceRecord], refused: list[_Refused]) -> ReplayedBatch:
        self.labels.begin_batch([record.label for record in records])
        result = await self._pipeline.process([record.message for record in records], self.labels)
        refused.extend((position, 1, _rejected(records[position], error)) for position, error in result.refused)
        refused.extend(
            (position, 1, _rejected(records[position], _duplicate(records[position]))) for position in result.duplicates
        )
        # In the order of the files, since some were refused by the reader and some by the pipeline.
        refused.sort(key=itemgetter(0, 1))
        self._newest_ms = max(self._newest_ms, result.newest_ms)
        self._records_seen += len(records)
        if not self._records_seen % self._sweep_every_records:
            forgotten_ms = self._newest_ms - self._plan.allowed_lateness_ms
            self.customers.forget(forgotten_ms, self._plan)
            self.entities.forget(forgotten_ms, self._plan)
        return ReplayedBatch(records, result, [record for _, _, record in refused])

    def _batched(self, blocks: Iterator[list[Record]]) -> Iterator[tuple[list[SourceRecord], list[_Refused]]]:
        records: list[SourceRecord] = []
        refused: list[_Refused] = []
        until_sweep = self._sweep_every_records
        for block in self._limited(blocks):
            place = 0
            while place < len(block):
                # A batch ends where state is swept, so that what is swept does not depend on the batch size.
                part = block[place : place + min(self._batch_size - len(records), until_sweep)]
                place += len(part)
                until_sweep -= _sort(part, records, refused)
                if len(records) == self._batch_size or not until_sweep:
                    until_sweep = until_sweep or self._sweep_every_records
                    yield records, refused
                    records, refused = [], []
        if records or refused:
            yield records, refused

    def _limited(self, blocks: Iterator[list[Record]]) -> Iterator[list[Record]]:
        left = self._options.limit
        while left is None or left > 0:
            with self._timings.stage("read"):
                block = next(blocks, None)
            if block is None:
                return
            yield block[:left]
            left = None if left is None else left - len(block)


def _sort(part: Sequence[Record], records: list[SourceRecord], refused: list[_Refused]) -> int:
    """Add what was read to the records and the refused of a batch; returns how many records there were."""
    accepted = [record for record in part if isinstance(record, SourceRecord)]
    if len(accepted) < len(part):
        before = len(records)
        for record in part:
            if isinstance(record, RejectedRecord):
                refused.append((before, 0, record))
            else:
                before += 1
    records += accepted
    return len(accepted)


def _rejected(record: SourceRecord, error: InvalidTransactionError) -> RejectedRecord:
    return RejectedRecord(record.file, record.line, error.field, error.value, error.code, error.reason)


def _duplicate(record: SourceRecord) -> InvalidTransactionError:
    return InvalidTransactionError(
        DUPLICATE_CODE,
        "transaction_id",
        "the same transaction again; it was counted once",
        record.message.transaction_id,
    )


@contextmanager
def relaxed_collection() -> Iterator[None]:
    """Let Python's cycle collector run seldom; see `_COLLECTION_THRESHOLD`."""
    before = gc.get_threshold()
    gc.set_threshold(_COLLECTION_THRESHOLD, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
