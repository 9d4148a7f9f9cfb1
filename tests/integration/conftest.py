import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from fraud.cli import main

PROGRAM = (sys.executable, "-c", "from fraud.cli import main; main()")


@dataclass(frozen=True)
class Finished:
    """How a command ended and what it said."""

    exit_code: int
    stdout: str
    stderr: str


def run_here(*arguments: str | Path) -> Finished:
    """The command in this process: a start of the interpreter costs more than most of the replays here."""
    stdout, stderr = io.StringIO(), io.StringIO()
    exit_code = 0
    with (
        mock.patch.object(sys, "argv", ["fraud", *map(str, arguments)]),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            main()
        except SystemExit as exit_:
            exit_code = int(exit_.code or 0)
    return Finished(exit_code, stdout.getvalue(), stderr.getvalue())


def run_apart(*arguments: str | Path, **environment: str) -> Finished:
    """The command as a process of its own."""
    finished = subprocess.run(
        [*PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    return Finished(finished.returncode, finished.stdout, finished.stderr)


@dataclass(frozen=True)
class Replayer:
    """Replays files by rules alone, which needs no model, and expects that to work."""

    default: tuple[str, ...] = ("--model", "none")

    def __call__(self, out: Path, *arguments: str | Path) -> Path:
        finished = run_here("replay", *arguments, "--out", out, *self.default)
        assert (finished.exit_code, finished.stderr) == (0, "")
        return out


@pytest.fixture(scope="session")
def fraud() -> Callable[..., Finished]:
    """`fraud ARGUMENTS...`, in this process."""
    return run_here


@pytest.fixture(scope="session")
def fraud_process() -> Callable[..., Finished]:
    """`fraud ARGUMENTS...`, in a process of its own, with more environment variables as keywords."""
    return run_apart


@pytest.fixture(scope="session")
def program() -> tuple[str, ...]:
    """What starts `fraud` as a process."""
    return PROGRAM


@pytest.fixture(scope="session")
def replay() -> Replayer:
    """`replay(out, ARGUMENTS...)`: a replay without a model, which must succeed; returns its folder."""
    return Replayer()


@pytest.fixture(scope="session")
def simulate(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`simulate(name, OPTIONS...)`: 50 customers, 40 days and much fraud, unless the options say otherwise."""
    made: dict[tuple[str, ...], Path] = {}

    def make(name: str, *options: str) -> Path:
        key = (name, *options)
        if key not in made:
            path = tmp_path_factory.mktemp("simulated") / name
            size = ("--days", "40", "--customers", "50", "--merchants", "100", "--fraud-rate", "0.04", "--seed", "5")
            finished = run_here("simulate", "--out", path, *size, *options)
            assert finished.exit_code == 0, finished.stderr
            made[key] = path
        return made[key]

    return make


@pytest.fixture(scope="session")
def simulated(simulate: Callable[..., Path]) -> Path:
    """Simulated transactions in our own format, as CSV."""
    return simulate("simulated.csv")


@pytest.fixture(scope="session")
def replayed(tmp_path_factory: pytest.TempPathFactory, replay: Replayer, simulated: Path) -> Path:
    """The results of a replay of `simulated`, with every output that can be asked for."""
    return replay(tmp_path_factory.mktemp("replayed") / "out", simulated, "--decisions-jsonl")
