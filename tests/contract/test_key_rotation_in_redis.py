"""A token key is replaced in the middle of the stream, on entity windows in Redis."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from event_sequences import Pools, generate
from payments import DAY_MS, HOUR_MS, MINUTE_MS
from redis_server import RedisServer
from rotated_keys import FIRST_KEY, SECOND_KEY, Stores, keyed, refusals, values

from fraud.settings import Settings
from fraud.stores.entity_windows.windows import EntityWindows

STEPS_MS = (0, MINUTE_MS, 7 * MINUTE_MS, HOUR_MS, DAY_MS, 5 * DAY_MS)


@pytest.mark.parametrize("seed", range(3))
def test_values_in_redis_are_those_of_a_rotation_in_memory(redis_server: RedisServer, seed: int) -> None:
    settings = Settings(tokenised_fields=("merchant_id",))
    messages = generate(Random(seed), 300, Pools(customers=5, merchants=4, others=3), STEPS_MS).messages
    first, second = keyed(settings, FIRST_KEY), keyed(settings, SECOND_KEY, FIRST_KEY)

    async def rotated(stores: Stores) -> None:
        await stores.worker(first).process(messages[:150], 7, 0)
        await stores.worker(second).process(messages[150:], 7, 150)

    async def rotated_in_redis(stores: Stores) -> None:
        windows = EntityWindows(redis_server.url, stores.plan, prefix=f"rotation{seed}:", deadline_ms=60_000)
        try:
            assert await windows.initialise()
            stores.windows = windows
            await rotated(stores)
        finally:
            await windows.close()

    in_memory, in_redis = Stores(settings), Stores(settings)
    asyncio.run(rotated(in_memory))
    asyncio.run(rotated_in_redis(in_redis))
    assert refusals(in_redis) == refusals(in_memory)
    assert repr(values(in_redis)) == repr(values(in_memory))
