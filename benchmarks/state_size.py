"""How many bytes of memory a customer's and an entity's state take, counted by what freeing them gives back."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.inputs import CUSTOMERS_PER_TRANSACTION, LABEL_DELAY_DAYS, Input, simulated

if TYPE_CHECKING:
    from fraud.replay.run import Replay
    from fraud.sources.reader import TransactionFiles


@dataclass(frozen=True)
class StateSize:
    """Bytes of state: all of it divided by the number of customers, and by the number of entities."""

    customers: int
    transactions_per_customer: float
    bytes_per_customer: float
    entities: int
    bytes_per_entity: float


def state_size(feature_set_name: str, customers: int) -> StateSize:
    """Replay 30 days of simulated customers, who pay about 60 times each, then measure what their state holds.

    The difference is of traced allocations, before and after the state is let go: first the customers', then the
    entities'. What both refer to, such as a merchant's identifier, counts with the entities.
    """
    file = simulated("native", round(customers / CUSTOMERS_PER_TRANSACTION))
    return _measured(Input("state", str(file), "native", feature_set_name, ""))


def _measured(source: Input) -> StateSize:
    from fraud.bootstrap import load_artefacts
    from fraud.pipeline import Period, StageTimings
    from fraud.replay.run import Replay, ReplayOptions
    from fraud.settings import Settings
    from fraud.sources.mapping import load_mapping
    from fraud.sources.reader import TransactionFiles

    settings, mapping = Settings(), load_mapping(source.mapping)
    artefacts = load_artefacts(
        settings, source.feature_set, mapping.attribute_kinds, policy_file=None, model_folder=None
    )
    options = ReplayOptions(Period(), LABEL_DELAY_DAYS)
    tracemalloc.start()
    replay = Replay(settings, artefacts, mapping, options, StageTimings(lambda: 0.0))
    transactions = asyncio.run(_replayed(replay, TransactionFiles([Path(source.file)], mapping)))
    customers, entities = len(replay.customers), len(replay.entities)
    customer_states = asyncio.run(replay.customers.load(()))
    entity_states = asyncio.run(replay.entities.load(()))
    whole = _traced_bytes()
    customer_states.clear()
    without_customers = _traced_bytes()
    for of_kind in entity_states.values():
        of_kind.clear()
    without_entities = _traced_bytes()
    tracemalloc.stop()
    return StateSize(
        customers=customers,
        transactions_per_customer=transactions / customers,
        bytes_per_customer=(whole - without_customers) / customers,
        entities=entities,
        bytes_per_entity=(without_customers - without_entities) / entities if entities else 0.0,
    )


async def _replayed(replay: Replay, files: TransactionFiles) -> int:
    count = 0
    async for batch in replay.batches(files):
        count += len(batch.result.positions)
    return count


def _traced_bytes() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
