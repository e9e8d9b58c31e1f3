"""Fixtures of the gateway's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.daemon import Daemon
from tests.support.forked import launch_of
from tests.support.gateway import Gateway


@pytest.fixture
def gateway(request: pytest.FixtureRequest, daemon: Daemon) -> Iterator[Gateway]:
    """Make a gateway that is not started yet, beside an agentd that is not either."""
    gateway = Gateway(daemon, launch_of(request))
    yield gateway
    problems = gateway.close()
    assert not problems, "\n".join([*problems, gateway.log_text()])
