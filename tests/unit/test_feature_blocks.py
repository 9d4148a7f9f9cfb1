"""Features of a file, block by block."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from payments import HOUR_MS, payment

from fraud.features import feature_set
from fraud.pipeline import Period, StageTimings
from fraud.replay.feature_blocks import iterate_features
from fraud.replay.run import ReplayedBatch, ReplayOptions
from fraud.settings import Settings
from fraud.sources.mapping import load_mapping
from fraud.sources.reader import TransactionFiles


def test_no_block_is_written_out_as_text_on_its_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio does so for who asks about handlers of signals, which took half of the time of a dataset."""
    written = []
    monkeypatch.setattr(ReplayedBatch, "__repr__", lambda batch: written.append(batch) or "a batch")
    file = tmp_path / "in.jsonl"
    messages = [payment(f"P{place}", place * HOUR_MS) for place in range(10)]
    file.write_bytes(b"\n".join(map(msgspec.json.encode, messages)))
    settings, mapping = Settings(batch_size=4), load_mapping("native")
    blocks = iterate_features(
        settings,
        TransactionFiles([file], mapping),
        mapping,
        feature_set("handbook"),
        ReplayOptions(Period(), 7.0),
        StageTimings(lambda: 0.0),
    )
    assert [block.transaction_ids for block in blocks] == [
        ["P0", "P1", "P2", "P3"],
        ["P4", "P5", "P6", "P7"],
        ["P8", "P9"],
    ]
    assert not written
