"""A decision like all others of the same versions: what stored decisions are compressed against.

To make one runs whatever decides, so that it is compiled before the first payment waits for it.
"""

from __future__ import annotations

from datetime import timedelta

from fraud.bootstrap import Artefacts, build_pipeline
from fraud.pipeline import BatchResult, NoLabels, Period, StageTimings
from fraud.settings import Settings
from fraud.stores.memory import MemoryCustomers, MemoryEntities
from fraud.transaction import EPOCH, TransactionMessage

# A day on which rates of every age are known is not needed: a payment in the base currency has no rate.
_DAY = timedelta(days=20_000)


async def typical_decision(settings: Settings, artefacts: Artefacts) -> bytes:
    """The canonical bytes of the second of two equal payments of somebody unknown; the same in every process."""
    decided = (await typical_batch(settings, artefacts)).decided
    return b"{}" if decided is None else decided.canonical[-1]


async def typical_batch(settings: Settings, artefacts: Artefacts) -> BatchResult:
    """What becomes of two equal payments of somebody unknown, on stores in memory."""
    pipeline = build_pipeline(
        settings,
        artefacts,
        MemoryCustomers(),
        MemoryEntities(),
        timings=StageTimings(lambda: 0.0),
        period=Period(),
    )
    messages = [
        TransactionMessage(
            f"typical-{number}",
            "typical",
            EPOCH + _DAY + timedelta(hours=number),
            23.45,
            artefacts.rates.base_currency,
            card_id="typical",
            merchant_id="typical",
            merchant_category="5411",
            terminal_id="typical",
            country="DE",
            device_id="typical",
        )
        for number in range(2)
    ]
    return await pipeline.process(messages, NoLabels())
