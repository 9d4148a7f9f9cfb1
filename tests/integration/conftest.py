from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_line import PROGRAM, Finished, run_apart, run_here


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
