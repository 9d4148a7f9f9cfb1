"""One simulated run by its seed: a log, what befalls its workers, and what is wrong with the outcome."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from random import Random

from simulated_log import ANCIENT_SHAPE, CALM_SHAPE, SMALL_SHAPE, TINY_SHAPE, Log, Shape, make_log
from simulated_ports import Faults
from simulated_service import SOUND, Outcome, Parts, StuckError, World
from simulated_verdict import Facts, facts, problems

SHAPES = {"small": SMALL_SHAPE, "tiny": TINY_SHAPE, "partitions": CALM_SHAPE, "ancient": ANCIENT_SHAPE}
NO_FAULTS = Faults()
# Every fault, as often as leaves a run of some hundred turns room to recover in between.
ALL_FAULTS = Faults(
    store_refuses=0.03,
    store_answer_lost=0.03,
    store_writes_part=0.15,
    windows_fail=0.03,
    windows_away=0.005,
    publishing_fails=0.05,
    crashes=0.01,
    pauses=0.01,
    rebalances=0.01,
    cancellations=0.005,
)
_FAULTS_AT_MOST = 25
# Runs on the same log share what the undisturbed run made of it.
_RUNS_OF_A_LOG = 10


@dataclass(frozen=True)
class Verdict:
    """What is wrong, how many faults there were, and how far entity features were from the undisturbed ones."""

    wrong: list[str]
    faults: int = 0
    found: Facts | None = None
    expected: Facts | None = None


@lru_cache(maxsize=16)
def log_and_facts(seed: int, shape: Shape) -> tuple[Log, Facts]:
    """A log, and what a single worker to whom nothing happens makes of it."""
    log = make_log(Random(seed), shape)
    return log, facts(log, run(log, seed, NO_FAULTS, workers=1))


def run(log: Log, seed: int, faults: Faults, *, workers: int, parts: Parts = SOUND) -> Outcome:
    """The same run for the same arguments. Raises `StuckError`."""
    random = Random(seed)
    world = World(
        log,
        random,
        faults,
        workers=workers,
        faults_at_most=_FAULTS_AT_MOST,
        batch_size=random.choice((1, 4, 12)),
        cached_customers=random.choice((0, 1, 100)),
        lanes=random.choice((1, 2, 3)),
        parts=parts,
    )
    return asyncio.run(world.run())


def some_of(faults: Faults, random: Random) -> Faults:
    """Each kind of fault or not: faults that never meet hide what happens when one of them is alone."""
    return replace(faults, **{field.name: 0.0 for field in fields(faults) if random.random() < 0.4})


def judge(seed: int, shape: Shape, faults: Faults, parts: Parts = SOUND) -> Verdict:
    """Run and compare; `seed` decides everything else."""
    log, expected = log_and_facts(seed // _RUNS_OF_A_LOG, shape)
    try:
        outcome = run(log, seed, faults, workers=1 + seed % 3, parts=parts)
    except StuckError as error:
        return Verdict([str(error)])
    found = facts(log, outcome)
    return Verdict(problems(log, found, expected), outcome.faults, found, expected)
