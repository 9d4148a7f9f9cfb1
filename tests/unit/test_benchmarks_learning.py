"""The learning benchmark counts what it says it counts, and weeks of learning read their file once."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fraud.simulator.options import SimulationOptions
from fraud.simulator.writing import write_simulation
from fraud.sources import TransactionFiles, load_mapping

HOME = Path(__file__).resolve().parents[2]
Module = Callable[[str], Any]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Module:
    """Finds a module; benchmarks are not installed with the product, so they are found where the repository lies."""
    monkeypatch.syspath_prepend(HOME)
    return lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.fixture(scope="module")
def transactions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven weeks, with a fraud in each."""
    file = tmp_path_factory.mktemp("weeks") / "transactions.parquet"
    options = SimulationOptions(seed=3, days=50, customers=300, merchants=100, transactions_per_customer_per_day=1.0)
    write_simulation(options, file, file_format="handbook")
    return file


def source_of(module: Module, file: Path) -> Any:
    return module("inputs").Input("file", str(file), "handbook", "handbook", "")


def test_every_reading_and_every_record_is_counted(module: Module, transactions: Path) -> None:
    files = TransactionFiles([transactions], load_mapping("handbook"))
    with module("learning_cases").counted_reads() as counts:
        once = sum(len(block) for block in files.blocks())
        next(files.blocks())
    assert counts.readings == 2
    assert counts.records > once
    assert len(list(files.blocks())) > 0
    assert counts.readings == 2


def test_four_weeks_are_judged_by_one_reading_of_the_file(module: Module, transactions: Path, tmp_path: Path) -> None:
    measured = module("learning_cases").prequential(source_of(module, transactions), 4, tmp_path)
    assert measured.facts == {"readings": 1, "judged_weeks": 4}
    files = TransactionFiles([transactions], load_mapping("handbook"))
    assert measured.transactions == sum(len(block) for block in files.blocks())


def test_as_many_rows_are_learned_from_as_were_asked_for(module: Module, transactions: Path, tmp_path: Path) -> None:
    cases = module("learning_cases")
    rows = tmp_path / "rows.parquet"
    cases.dataset(source_of(module, transactions), 1, rows)
    measured = cases.fit_and_judge(rows, 2_000, tmp_path / "model")
    assert measured.transactions == 2_000
    assert measured.stages.keys() == {"read", "fit", "judge"}


def test_the_ratio_to_replay_is_that_of_rates_within_a_repeat(module: Module, transactions: Path) -> None:
    learning = module("learning")
    source = source_of(module, transactions)
    replay = learning.Case(source, [{"transactions": 100, "cpu_seconds": seconds} for seconds in (2.0, 4.0, 2.0)])
    dataset = learning.Case(source, [{"transactions": 100, "cpu_seconds": seconds} for seconds in (1.0, 1.0, 2.0)])
    # 2, 4 and 1 times as fast.
    assert "| 2.00 x " in learning.dataset_table([(replay, dataset)])


def test_the_first_rows_of_a_file_are_a_file(module: Module, transactions: Path, tmp_path: Path) -> None:
    cut = module("learning_cases").first_rows(transactions, 10, tmp_path)
    assert sum(len(block) for block in TransactionFiles([cut], load_mapping("handbook")).blocks()) == 10
    lines = tmp_path / "lines.jsonl"
    lines.write_bytes(b"{}\n" * 20)
    assert module("learning_cases").first_rows(lines, 10, tmp_path).read_bytes() == b"{}\n" * 10
