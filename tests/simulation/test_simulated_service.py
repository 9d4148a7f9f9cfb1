"""Whatever befalls the service, what it leaves behind is as if nothing had happened."""

from __future__ import annotations

from random import Random

import pytest
from simulated_run import ALL_FAULTS, SHAPES, judge, some_of


@pytest.mark.parametrize("shape", SHAPES)
def test_any_mixture_of_faults_changes_nothing(
    shape: str, seeds: range, request: pytest.FixtureRequest, record_property: pytest.RecordProperty
) -> None:
    faults = 0
    for seed in seeds:
        verdict = judge(seed, SHAPES[shape], some_of(ALL_FAULTS, Random(seed)))
        faults += verdict.faults
        if verdict.wrong:
            command = f"python -m pytest '{request.node.nodeid}' --seed {seed}"
            pytest.fail(
                "\n".join(
                    [
                        f"seed {seed}, after {verdict.faults} faults; again by",
                        command,
                        *(one[:500] for one in verdict.wrong),
                    ]
                )
            )
    record_property("faults", faults)
    # The simulation is alive: a run without faults proves little.
    assert len(seeds) == 1 or faults > len(seeds)
