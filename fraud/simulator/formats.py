"""The same simulation in the formats that other people's data comes in, for trying what reads them."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from fraud.simulator.native import NativeTables
from fraud.simulator.simulation import DayOfTransactions, Simulation

Renderer = Callable[[DayOfTransactions], pa.Table]


def native_renderer(simulation: Simulation) -> Renderer:
    """Tables in our own format."""
    return NativeTables(simulation).table


FORMATS: dict[str, Callable[[Simulation], Renderer]] = {"native": native_renderer}
