"""How many simulated runs there are, and how one of them is repeated."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

# Enough that each planted bug would be found many times over, and a minute and a half on one core for all shapes.
RUNS = 500


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--runs", type=int, default=RUNS, help="simulated runs of each shape of log")
    parser.addoption("--seed", type=int, default=None, help="run this one seed; with --runs, this one and the next")


@pytest.fixture
def seeds(request: pytest.FixtureRequest) -> range:
    """The seeds to run."""
    # Options are not known when this folder is run as a part of all tests.
    runs: int = request.config.getoption("--runs", RUNS)
    first: int | None = request.config.getoption("--seed", None)
    if first is None:
        return range(runs)
    return range(first, first + (1 if runs == RUNS else runs))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of faults are logged as what they are; nobody reads that here."""
    log = logging.getLogger("fraud.live")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    yield
    log.setLevel(level)
