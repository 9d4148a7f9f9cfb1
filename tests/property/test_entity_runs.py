"""Transactions meet their entities in runs: how long these are makes no difference."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from entity_runs import content, generate, go, passes
from hypothesis import given, settings
from hypothesis import strategies as st

PASSES = [pytest.param(*made, id=f"{name}-{made[0].kind}") for name in ("default", "handbook") for made in passes(name)]


@pytest.mark.parametrize(("entity_pass", "columns"), PASSES)
@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**9),
    count=st.sampled_from((3, 40, 300)),
    at_once=st.sampled_from((2, 64, 300)),
    terminals=st.sampled_from((1, 4)),
    users=st.sampled_from((2, 12, 50)),
    calm=st.sampled_from((0.5, 0.9, 1.0)),
)
def test_a_run_gives_what_its_transactions_give_alone(
    entity_pass, columns, seed, count, at_once, terminals, users, calm
):
    passages = generate(Random(seed), count, terminals=terminals, users=users, calm=calm)
    alone, together = {}, {}
    values = go(entity_pass, columns, passages, alone, 1)
    assert np.array_equal(go(entity_pass, columns, passages, together, at_once), values, equal_nan=True)
    assert content(together) == content(alone)
