"""Customers, merchants and fraud with known ground truth, from a seed."""

from fraud.simulator.options import SCENARIOS, InvalidOptionError, SimulationOptions
from fraud.simulator.writing import SimulationSummary, simulate, write_simulation

__all__ = ["SCENARIOS", "InvalidOptionError", "SimulationOptions", "SimulationSummary", "simulate", "write_simulation"]
