"""`fraud simulate` writes a file, says what is in it, and refuses in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from fraud.simulator.command import simulate_command

SMALL = ["--customers", "100", "--merchants", "100", "--days", "3", "--fraud-rate", "0.05"]


def test_it_writes_the_file_and_a_summary(tmp_path: Path) -> None:
    out = tmp_path / "demo.csv"
    result = CliRunner().invoke(
        simulate_command, ["--out", str(out), *SMALL, "--scenario-share", "card_testing=1", "--start", "2026-02-01"]
    )
    assert result.exit_code == 0, result.output
    assert out.read_text(encoding="utf-8").startswith("transaction_id,user_id,timestamp")
    assert "3 days from 2026-02-01, 100 customers, seed 1" in result.output
    assert "card_testing" in result.output
    assert "mule_cash_out" not in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["demo.csv"]


def test_a_reader_of_the_summary_that_goes_away_is_not_blamed_on_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_text: str) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("click.echo", gone)
    with pytest.raises(BrokenPipeError):
        simulate_command.main(["--out", str(tmp_path / "demo.csv"), *SMALL], standalone_mode=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x.csv", "--days", "0"], "'--days': 0 is not in the range 1<=x<=3660"),
        (["--out", "x.csv", "--merchants", "40"], "'--merchants': 40 is not in the range 100<=x<=1000000"),
        (["--out", "x.csv", "--fraud-rate", "nan"], "fraud_rate: must be a number from 0 to 0.5, not nan"),
        (["--out", "x.txt"], "must end in .csv, .jsonl or .parquet"),
        (["--out", "x.csv", "--scenario-share", "card_testing"], "is not NAME=SHARE, such as card_testing=0.3"),
        (["--out", "x.csv", "--scenario-share", "nonsense=1"], "no scenario is called 'nonsense'"),
        (["--out", "/dev/null/x.csv", *SMALL], "cannot write /dev/null/x.csv: "),
    ],
)
def test_it_refuses_in_one_sentence_with_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(simulate_command, arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert list(tmp_path.iterdir()) == []
