"""The tables of the replay benchmark say what was measured."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

HOME = Path(__file__).resolve().parents[2]


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module; benchmarks are not installed with the product, so they are found where the repository lies."""
    monkeypatch.syspath_prepend(HOME)
    return importlib.import_module("benchmarks.tables")


@pytest.fixture
def ours(tables: Any) -> Any:
    return tables.CaseRuns(
        input_name="file",
        case="ours",
        feature_set="handbook",
        transactions=[1_000, 1_000, 1_000],
        wall_seconds=[0.05, 0.04, 0.10],
        cpu_seconds=[0.02, 0.02, 0.04],
        peak_memory_bytes=[100_000_000, 300_000_000, 200_000_000],
        stages=[{"read": 0.01, "write": 0.03}] * 3,
    )


@pytest.fixture
def rival(ours: Any) -> Any:
    return replace(
        ours, case="rival, a row at a time", transactions=[100] * 3, cpu_seconds=[0.02, 0.04, 0.02], stages=[]
    )


def test_a_rate_is_the_median_of_the_repeats(ours: Any) -> None:
    assert ours.rate == pytest.approx(20_000)


def test_a_ratio_compares_processor_time_within_a_repeat(tables: Any, ours: Any, rival: Any) -> None:
    # 10, 20 and 5 times within the three repeats.
    assert tables.speed_ratio(ours, rival) == pytest.approx(10)


def test_the_speed_table_sets_each_case_against_ours_on_the_same_input(tables: Any, ours: Any, rival: Any) -> None:
    other = replace(ours, input_name="another file", feature_set="default")
    lines = tables.speed_table([ours, rival, other]).splitlines()
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == [
        "file", "**ours**, handbook set", "20,000", "50,000", "", "200 MB", "40,000/s",
    ]  # fmt: skip
    assert [cell.strip() for cell in lines[3].split("|")[1:-1]] == [
        "file", "rival, a row at a time", "2,000", "5,000", "10.00 x", "200 MB", "4 x",
    ]  # fmt: skip
    assert "15,000/s" in lines[4]


def test_the_stage_table_has_shares_and_microseconds_a_transaction(tables: Any, ours: Any, rival: Any) -> None:
    lines = tables.stage_table([ours, rival]).splitlines()
    assert "rival" not in lines[0]
    assert "25.0% (10.00 us)" in lines[2]
    assert "75.0% (30.00 us)" in lines[3]


def test_the_size_table_stands_beside_its_goals(tables: Any) -> None:
    row = tables.SizeRow("default", 2_000, 64.2, 7_999.6, 16_000, 2_378.1)
    line = tables.size_table([row]).splitlines()[2]
    assert [cell.strip() for cell in line.split("|")[1:-1]] == [
        "default", "2,000", "64", "8,000", "under 8,000", "16,000", "2,378",
    ]  # fmt: skip


def test_every_line_of_a_table_has_the_same_width(tables: Any) -> None:
    text = tables.markdown(("a", "long header"), [("a long cell", "b"), ("c", "")])
    assert len({len(line) for line in text.splitlines()}) == 1
