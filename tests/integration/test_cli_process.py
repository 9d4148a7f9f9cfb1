"""The command as a process: exit codes, interruption, memory, and what it shows on a terminal."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MEASURED = (
    "import resource, sys; from fraud.cli import main\n"
    "try: main()\n"
    "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)\n"
)


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Transactions that take longer than anybody in these tests waits."""
    path = tmp_path_factory.mktemp("long") / "long.csv"
    with path.open("w") as file:
        file.write("transaction_id,user_id,timestamp,amount,currency,merchant_id\n")
        for number in range(200_000):
            day, minute = divmod(number // 10, 1_440)
            moment = f"2026-{1 + day // 28:02}-{1 + day % 28:02}T{minute // 60:02}:{minute % 60:02}:00Z"
            file.write(f"t{number},u{number % 500},{moment},{10 + number % 7}.50,EUR,m{number % 50}\n")
    return path


def test_exit_codes_of_the_process(tmp_path: Path, fraud_process: Callable[..., Any]) -> None:
    file = tmp_path / "in.csv"
    file.write_text("transaction_id,user_id,timestamp,amount,currency\nt1,u1,2026-03-01T12:00:00Z,-1,EUR\n")
    arguments = ("replay", "--model", "none", "--out", tmp_path / "out")
    missing = fraud_process(*arguments, tmp_path / "none.csv")
    assert (missing.exit_code, missing.stderr) == (2, f"{tmp_path / 'none.csv'}: no such file\n")
    assert fraud_process(*arguments, file, "--fail-on-rejects").exit_code == 1


def test_nothing_but_the_summary_is_said_when_the_output_is_no_terminal(
    tmp_path: Path, long_file: Path, fraud_process: Callable[..., Any]
) -> None:
    arguments = ("replay", long_file, "--limit", "25000", "--model", "none", "--out", tmp_path / "out")
    finished = fraud_process(*arguments)
    assert (finished.exit_code, finished.stderr) == (0, "")
    assert "\r" not in finished.stdout


def wait_for(folder: Path, name: str, process: subprocess.Popen[Any]) -> None:
    """Until the process writes `name`; ends with the process, so never hangs."""
    while process.poll() is None and not (folder / name).exists():
        select.select([], [], [], 0.02)


def ended(
    signal_: signal.Signals, out: Path, partial: str, *command: str, ignores_ctrl_c: bool = False
) -> tuple[int, str, str]:
    """Exit code and what was said by a command that gets this signal once it has begun to write."""
    # A shell starts in the background like this.
    background = ("bash", "-c", 'trap "" INT; exec "$@"', "background") if ignores_ctrl_c else ()
    with subprocess.Popen(
        [*background, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_for(out, partial, process)
        process.send_signal(signal_)
        stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout, stderr.strip()


@pytest.mark.parametrize("command", ["replay", "features"])
@pytest.mark.parametrize(
    ("signal_", "ignores_ctrl_c"),
    [(signal.SIGINT, False), (signal.SIGTERM, False), (signal.SIGTERM, True)],
    ids=["Ctrl-C", "SIGTERM", "SIGTERM in the background"],
)
def test_interruption_leaves_no_half_written_output(
    tmp_path: Path,
    long_file: Path,
    program: tuple[str, ...],
    command: str,
    signal_: signal.Signals,
    ignores_ctrl_c: bool,
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "summary.json").write_text("of an earlier run")
    is_replay = command == "replay"
    options = ["--out", str(out), "--model", "none"] if is_replay else ["--out", str(out / "values.parquet")]
    partial = "decisions.parquet.partial" if is_replay else "values.parquet.partial"
    arguments = (*program, command, str(long_file), *options)
    said = ended(signal_, out, partial, *arguments, ignores_ctrl_c=ignores_ctrl_c)
    assert said == (128 + signal_, "", "interrupted; nothing was written under its final name")
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [("summary.json", "of an earlier run")]


def test_what_a_killed_replay_leaves_is_removed_by_the_next_one(
    tmp_path: Path, long_file: Path, program: tuple[str, ...]
) -> None:
    replay = (*program, "replay", str(long_file), "--model", "none", "--out", str(tmp_path))
    ended(signal.SIGKILL, tmp_path, "decisions.jsonl.partial", *replay, "--decisions-jsonl")
    left = {path.name for path in tmp_path.iterdir()}
    assert {"decisions.parquet.partial", "decisions.jsonl.partial"} <= left
    (tmp_path / "somebody-elses.partial").write_text("kept")
    subprocess.run([*replay, "--limit", "100"], check=True, capture_output=True)
    assert [path.name for path in tmp_path.glob("*.partial")] == ["somebody-elses.partial"]
    assert (tmp_path / "decisions.parquet").exists()
    assert not (tmp_path / "decisions.jsonl").exists()


def test_an_interruption_while_the_command_still_starts_is_told_alike(
    fraud: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fraud.cli._add_commands", interrupted)
    finished = fraud("--version")
    assert finished.exit_code == 130
    assert finished.stderr == "interrupted; nothing was written under its final name\n"


def test_an_interrupted_simulation_leaves_nothing(tmp_path: Path, program: tuple[str, ...]) -> None:
    with subprocess.Popen(
        [*program, "simulate", "--out", str(tmp_path / "in.csv"), "--customers", "50000", "--days", "365"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_for(tmp_path, ".in.csv.partial", process)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert list(tmp_path.iterdir()) == []


def shown_on_terminal(arguments: list[str], rows: int = 30, columns: int = 120) -> str:
    """What a command writes to a terminal of this size as its standard error."""
    controller, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (rows, columns))
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=terminal)
    os.close(terminal)
    shown = b""
    while True:
        try:
            part = os.read(controller, 65_536)
        except OSError:
            # Linux says so when the other side has closed.
            break
        if not part:
            break
        shown += part
    os.close(controller)
    assert process.wait() == 0
    return shown.decode()


@pytest.mark.parametrize(("rows", "columns"), [(30, 120), (0, 0)], ids=["usual", "no size"])
def test_a_long_run_shows_rate_and_time_left_on_a_terminal(
    tmp_path: Path, long_file: Path, program: tuple[str, ...], rows: int, columns: int
) -> None:
    arguments = [*program, "replay", str(long_file), "--model", "none", "--out", str(tmp_path)]
    shown = shown_on_terminal(arguments, rows, columns)
    bars = [bar for bar in re.split(r"[\r\n]+", shown) if "%|" in bar]
    assert bars
    assert max(map(len, bars)) <= (columns or 80)
    assert re.search(r"[\d,]+ transactions/s", bars[-1])
    assert re.search(r"\d\d:\d\d<\d\d:\d\d", bars[-1])


def test_a_short_run_shows_no_bar_on_a_terminal(tmp_path: Path, program: tuple[str, ...]) -> None:
    file = tmp_path / "in.csv"
    file.write_text("transaction_id,user_id,timestamp,amount,currency\nt1,u1,2026-03-01T12:00:00Z,1,EUR\n")
    arguments = [*program, "features", str(file), "--out", str(tmp_path / "values.parquet")]
    assert shown_on_terminal(arguments) == ""


def peak_kib(file: Path, out: Path) -> int:
    arguments = ["replay", str(file), "--model", "none", "--feature-set", "handbook", "--policy", "handbook"]
    finished = subprocess.run(
        [sys.executable, "-c", MEASURED, *arguments, "--out", str(out)], capture_output=True, text=True, check=True
    )
    return int(finished.stderr.split()[-1])


def test_memory_does_not_grow_with_the_file_while_the_customers_are_the_same(tmp_path: Path) -> None:
    files = {}
    for months in (3, 12):
        files[months] = tmp_path / f"{months}.csv"
        with files[months].open("w") as file:
            file.write("transaction_id,user_id,timestamp,amount,currency,terminal_id\n")
            for number in range(months * 9_000):
                month, rest = divmod(number, 9_000)
                day, second = divmod(rest, 321)
                moment = f"2026-{1 + month:02}-{1 + day:02}T{second * 268 // 3600:02}:{second * 268 // 60 % 60:02}:00Z"
                file.write(f"t{number},u{number % 150},{moment},10.50,EUR,p{number % 40}\n")
    peaks = {months: peak_kib(file, tmp_path / f"out{months}") for months, file in files.items()}
    assert peaks[12] < 1.5 * peaks[3]


def test_a_full_disk_is_told_in_one_line_and_leaves_nothing(
    tmp_path: Path, simulated: Path, program: tuple[str, ...]
) -> None:
    # Files may grow to 16 KiB here: what is larger fails as on a full disk.
    limited = ("bash", "-c", 'ulimit -f 16; exec "$@"', "limited", *program)
    arguments = ("replay", str(simulated), "--model", "none", "--out", str(tmp_path / "out"))
    finished = subprocess.run([*limited, *arguments], capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr == f"{tmp_path / 'out'}: cannot write on: File too large; nothing was kept\n"
    assert list((tmp_path / "out").iterdir()) == []
