"""A value in Redis that was cut or grew is no state: it is told, and never read beyond its end."""

from __future__ import annotations

import pytest
from payments import HOUR_MS, START_MS

from fraud.features import feature_set
from fraud.features.entity_state import EntityState
from fraud.features.table import StateLimits
from fraud.stores.entity_windows.layout import DamagedValueError, EntityLayout, decode_head

PLANS = {plan.kind: plan for plan in feature_set("default").plan(StateLimits()).entities}


@pytest.mark.parametrize("kind", PLANS)
@pytest.mark.parametrize(
    "change", [lambda value: value + b"1234", lambda value: value + b"1", lambda value: value[:-3]]
)
def test_a_value_of_another_length_is_refused(kind, change):
    plan = PLANS[kind]
    layout, state = EntityLayout(plan), EntityState.new("key", plan)
    names = {hash(name) or 1: name for name in ("somebody", "card")}
    for hours in range(3):
        state.absorb(START_MS + hours * HOUR_MS, 100, "somebody", "card", True, plan)
    state.absorbed_offsets = {"source": 2}
    value, past = layout.encode(state, (), names)
    assert past == b""
    (whole,) = layout.states([("key", decode_head("key", value), None)])
    assert whole.counts == state.counts
    with pytest.raises(DamagedValueError, match="key in Redis is damaged"):
        layout.states([("key", decode_head("key", change(value)), None)])
