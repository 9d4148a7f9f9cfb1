"""A live run to which nothing happens decides what the embedded replay decides."""

from __future__ import annotations

import asyncio

import pytest
from payments import DEFAULT_POLICY, artefacts
from simulated_log import DECISION_LIMITS, TOPIC_ID, Log
from simulated_ports import Faults
from simulated_run import SHAPES, judge, log_and_facts
from simulated_service import FEATURE_SET
from simulated_verdict import Identity, Place, differing_cells, entity_features, identity_of, without_entities

from fraud.bootstrap import build_pipeline
from fraud.live.wire import decode_transaction
from fraud.pipeline import NoLabels, Period, StageTimings
from fraud.stores.memory import MemoryCustomers, MemoryEntities
from fraud.transaction import InvalidTransactionError, timestamp_to_ms

LOGS = 60


async def replay(log: Log) -> tuple[dict[Identity, bytes], dict[Place, str]]:
    """Decisions and codes of refusal of the whole log as one batch, in the order of sending."""
    pipeline = build_pipeline(
        log.settings,
        artefacts(log.settings, FEATURE_SET, DEFAULT_POLICY),
        MemoryCustomers(),
        MemoryEntities(),
        timings=StageTimings(lambda: 0.0),
        period=Period(),
    )
    messages, places, refused = [], [], {}
    for arrival in log.sent:
        place = arrival.place.partition, arrival.place.offset
        try:
            message = decode_transaction(arrival.value)
        except InvalidTransactionError as error:
            refused[place] = error.code
            continue
        if timestamp_to_ms(message.timestamp) - arrival.place.ingested_ms > DECISION_LIMITS.future_tolerance_ms:
            refused[place] = "timestamp_in_future"
            continue
        messages.append(message)
        places.append(place)
    result = await pipeline.process(messages, NoLabels())
    refused |= {places[position]: error.code for position, error in result.refused}
    assert result.decided is not None
    return {identity_of(canonical): canonical for canonical in result.decided.canonical}, refused


@pytest.mark.parametrize("shape", ["small", "tiny"])
def test_one_partition_is_decided_as_in_replay_to_the_byte(shape: str) -> None:
    for seed in range(LOGS):
        log, live = log_and_facts(seed, SHAPES[shape])
        decisions, refused = asyncio.run(replay(log))
        assert live.decisions == {identity: {canonical} for identity, canonical in decisions.items()}
        assert live.refused == {place: {code} for place, code in refused.items()}
        assert log.unreadable <= live.refused.keys()


def test_several_partitions_are_decided_as_in_replay_but_for_entities() -> None:
    for seed in range(LOGS):
        log, live = log_and_facts(seed, SHAPES["partitions"])
        names = entity_features(log.settings)
        decisions, _ = asyncio.run(replay(log))
        found = {identity: without_entities(next(iter(one)), names) for identity, one in live.decisions.items()}
        assert found == {identity: without_entities(one, names) for identity, one in decisions.items()}


def test_entities_shared_between_partitions_differ_in_few_cells(record_property: pytest.RecordProperty) -> None:
    differing = total = 0
    for seed in range(LOGS):
        verdict = judge(seed, SHAPES["partitions"], Faults(rebalances=0.02, crashes=0.01))
        log, _ = log_and_facts(seed // 10, SHAPES["partitions"])
        assert verdict.wrong == []
        assert verdict.found is not None
        assert verdict.expected is not None
        of_run, cells = differing_cells(log, verdict.found, verdict.expected)
        differing, total = differing + of_run, total + cells
    record_property("differing cells", f"{differing} of {total}")
    assert TOPIC_ID
    assert 0 < differing < total / 2
