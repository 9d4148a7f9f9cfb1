"""The comparison with the Handbook's published features finds what differs and what is missing."""

from __future__ import annotations

import importlib
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

HOME = Path(__file__).resolve().parents[2]
# Identifier, time, customer, terminal, amount, fraud. The first two warm the state, the last comes after.
TRANSACTIONS = (
    (1, "2018-06-01T10:00:00", 1, 7, 10.0, 1),
    (2, "2018-06-10T10:00:00", 2, 7, 99.0, 0),
    (3, "2018-06-17T03:00:00", 1, 7, 30.0, 0),
    (4, "2018-06-18T12:00:00", 1, 7, 20.0, 0),
    (5, "2018-06-19T00:00:00", 1, 7, 20.0, 0),
)
# Of the third, on a Sunday night, and of the fourth transaction; worked out by hand.
PUBLISHED = {
    "TRANSACTION_ID": [3, 4],
    "TX_DURING_WEEKEND": [1, 0],
    "TX_DURING_NIGHT": [1, 0],
    "CUSTOMER_ID_NB_TX_1DAY_WINDOW": [1.0, 1.0],
    "CUSTOMER_ID_AVG_AMOUNT_1DAY_WINDOW": [30.0, 20.0],
    "CUSTOMER_ID_NB_TX_7DAY_WINDOW": [1.0, 2.0],
    "CUSTOMER_ID_AVG_AMOUNT_7DAY_WINDOW": [30.0, 25.0],
    "CUSTOMER_ID_NB_TX_30DAY_WINDOW": [2.0, 3.0],
    "CUSTOMER_ID_AVG_AMOUNT_30DAY_WINDOW": [20.0, 20.0],
    "TERMINAL_ID_NB_TX_1DAY_WINDOW": [0.0, 0.0],
    "TERMINAL_ID_RISK_1DAY_WINDOW": [0.0, 0.0],
    "TERMINAL_ID_NB_TX_7DAY_WINDOW": [0.0, 1.0],
    "TERMINAL_ID_RISK_7DAY_WINDOW": [0.0, 0.0],
    "TERMINAL_ID_NB_TX_30DAY_WINDOW": [1.0, 2.0],
    "TERMINAL_ID_RISK_30DAY_WINDOW": [1.0, 0.5],
}
RISK = "TERMINAL_ID_RISK_30DAY_WINDOW"
COUNT = "CUSTOMER_ID_NB_TX_30DAY_WINDOW"


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module; benchmarks are not installed with the product, so they are found where the repository lies."""
    monkeypatch.syspath_prepend(HOME)
    return importlib.import_module("benchmarks.published")


def files(folder: Path, changes: dict[str, list[Any]], further: tuple[tuple[Any, ...], ...] = ()) -> tuple[Path, Path]:
    """Both files, with these columns of the published one changed and these transactions added."""
    transactions, features = folder / "transactions.parquet", folder / "features.parquet"
    names = ("TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD")
    rows = sorted((*TRANSACTIONS, *further), key=lambda row: row[1])
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    columns["TX_DATETIME"] = pa.array([datetime.fromisoformat(time) for time in columns["TX_DATETIME"]])
    pq.write_table(pa.table(columns), transactions)
    pq.write_table(pa.table(PUBLISHED | changes), features)
    return transactions, features


def printed(published: Any, capsys: pytest.CaptureFixture[str], paths: tuple[Path, Path]) -> tuple[int, str]:
    """The exit code and what was printed, with single blanks."""
    code = published.main([str(path) for path in paths])
    return code, "\n".join(" ".join(line.split()) for line in capsys.readouterr().out.splitlines())


def test_equal_values_pass(published: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, text = printed(published, capsys, files(tmp_path, {}))
    assert "0 of 28 values differ." in text
    assert text.count("| 2 | 0 |") == 14
    assert "Transactions not computed: 0.\nTransactions not published: 0." in text
    assert code == 0


def test_a_value_within_a_millionth_passes_unless_it_is_a_count(published: Any, tmp_path: Path) -> None:
    comparison = published.compared(*files(tmp_path, {RISK: [1.0, 0.5 + 1e-7], COUNT: [2.0, 3.0 + 1e-7]}))
    assert [feature.name for feature in comparison.features if feature.differing] == [COUNT]


@pytest.mark.parametrize(("value", "difference"), [(0.25, "2.5e-01"), (None, "nan")])
def test_one_cell_that_differs_is_named(
    published: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path, value: float | None, difference: str
) -> None:
    code, text = printed(published, capsys, files(tmp_path, {RISK: [1.0, value]}))
    assert f"| {RISK} | 2 | 1 | {difference} |" in text
    assert "1 of 28 values differ." in text
    assert code == 1


def test_a_transaction_that_is_not_in_the_file_is_named(
    published: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    unknown = {name: [*values, 99] for name, values in PUBLISHED.items()}
    code, text = printed(published, capsys, files(tmp_path, unknown))
    assert "0 of 28 values differ.\nTransactions not computed: 1 (99)." in text
    assert code == 1


def test_a_transaction_of_these_days_that_was_not_published_is_named(
    published: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    further = ((6, "2018-06-17T08:00:00", 3, 8, 5.0, 0),)
    code, text = printed(published, capsys, files(tmp_path, {}, further))
    assert "0 of 28 values differ." in text
    assert "Transactions not published: 1 (6)." in text
    assert code == 1


def test_files_that_do_not_belong_together_are_refused(published: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none of the published transactions"):
        published.compared(*files(tmp_path, {"TRANSACTION_ID": [98, 99]}))
    transactions, _ = files(tmp_path, {})
    with pytest.raises(ValueError, match="has no column CUSTOMER_ID_AVG_AMOUNT_1DAY_WINDOW"):
        published.compared(transactions, transactions)
