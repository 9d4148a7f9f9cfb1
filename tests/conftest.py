"""Settings of all tests. Its place also lets tests in every folder import the modules that stand beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from fraud.stack import Stack, StackPorts

# Derandomised: a failure on one machine is a failure on every other. No deadline: machines are shared and differ.
settings.register_profile("reproducible", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("reproducible")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka, DynamoDB Local and Redis, shared by all tests of the session: each uses names of its own in them."""
    servers = Stack(tmp_path_factory.mktemp("stack"), StackPorts.free(), ends_with_caller=True)
    try:
        servers.up()
        yield servers
    finally:
        servers.down()
        servers.forget()
