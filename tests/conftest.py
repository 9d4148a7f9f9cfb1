"""Settings of all tests. Its place also lets tests in every folder import the modules that stand beside it."""

from __future__ import annotations

from hypothesis import settings

# Derandomised: a failure on one machine is a failure on every other. No deadline: machines are shared and differ.
settings.register_profile("reproducible", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("reproducible")
