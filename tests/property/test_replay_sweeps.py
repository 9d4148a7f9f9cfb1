"""Freeing memory while a file is replayed happens at the same records whatever the batch size."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from fraud.bootstrap import load_artefacts
from fraud.pipeline import Period, StageTimings
from fraud.replay.run import Replay, ReplayOptions
from fraud.settings import HOME, Settings
from fraud.sources.mapping import load_mapping
from fraud.sources.reader import TransactionFiles
from fraud.transaction import timestamp_to_text

DAY_MS = 86_400_000
START_MS = 1_767_225_600_000
HEADER = "transaction_id,user_id,timestamp,amount,currency,merchant_id,device_id\n"

# Days into a year, so that some customers are silent longer than they are remembered, in no order at all.
rows = st.lists(st.tuples(st.integers(0, 2), st.floats(0, 365), st.integers(0, 2)), max_size=40)


def decisions(path: Path, batch_size: int) -> list[bytes]:
    settings = dataclasses.replace(Settings(), batch_size=batch_size)
    mapping = load_mapping("native")
    policy = HOME / "policies" / "default.yaml"
    artefacts = load_artefacts(settings, "default", mapping.attribute_kinds, policy_file=policy, model_folder=None)
    options = ReplayOptions(Period(), label_delay_days=7)
    replay = Replay(settings, artefacts, mapping, options, StageTimings(lambda: 0.0), sweep_every_records=5)

    async def collected() -> list[bytes]:
        frozen = []
        async for batch in replay.batches(TransactionFiles([path], mapping)):
            assert batch.result.decided is not None
            frozen += batch.result.decided.canonical
        return frozen

    return asyncio.run(collected())


@given(rows)
def test_decisions_do_not_depend_on_the_batch_size_however_unsorted_the_file_is(described: list) -> None:
    lines = [
        f"t{number},c{customer},{timestamp_to_text(START_MS + round(days * DAY_MS))},10.00,EUR,m{place},d{place}\n"
        for number, (customer, days, place) in enumerate(described)
    ]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        path.write_text(HEADER + "".join(lines))
        one_by_one = decisions(path, 1)
        assert len(one_by_one) == len(described)
        assert decisions(path, 3) == one_by_one
        assert decisions(path, 100) == one_by_one
