"""Fixtures of the gateway's tests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.gateway.stand_in import COMMAND
from tests.support import postgresql as server
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.support.forked import launch_fork, launch_of
from tests.support.gateway import Gateway
from tests.support.left_out import whole_file_markers

ROOT, ALICE, BOB, GUEST = "r00t-t0ken", "alices-t0ken", "bobs-t0ken", "guests-t0ken"
"""Tokens: of an administrator, of two users, and of one who may only look."""

TOKENS = f"""
[[gateway.tokens]]
secret = "ROOT"
scopes = ["admin"]

[[gateway.tokens]]
hash = "sha256:{hashlib.sha256(ALICE.encode()).hexdigest()}"
user = "alice"

[[gateway.tokens]]
hash = "sha256:{hashlib.sha256(BOB.encode()).hexdigest()}"
user = "bob"
scopes = ["agents"]

[[gateway.tokens]]
hash = "sha256:{hashlib.sha256(GUEST.encode()).hexdigest()}"
user = "guest"
scopes = ["read"]
"""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to ``-m gateway`` what takes long together: 90 s of CPU."""
    for item in items:
        if "gateway" in whole_file_markers(item.path):
            item.add_marker("gateway")


@pytest.fixture
def gateway(request: pytest.FixtureRequest, daemon: Daemon) -> Iterator[Gateway]:
    """Make a gateway that is not started yet, beside an agentd that is not either."""
    gateway = Gateway(daemon, launch_of(request))
    yield gateway
    problems = gateway.close()
    assert not problems, "\n".join([*problems, gateway.log_text()])


@pytest.fixture(scope="module")
def served(session_folder: Path, _numbers: count[int]) -> Iterator[Gateway]:
    """Start one gateway with tokens, and one agentd with the stand-in agent, for all tests of a module."""
    folder = session_folder / f"gateway-{next(_numbers)}"
    folder.mkdir()
    daemon = Daemon(folder, launch_fork)
    gateway = Gateway(daemon, launch_fork)
    try:
        daemon.write_jcard(jcard({"name": "helper", "command": COMMAND}) + TOKENS)
        daemon.write_secret("ROOT", ROOT)
        daemon.start()
        gateway.start()
        yield gateway
        problems = gateway.close()
        said = gateway.log_text()
        problems += [f"a token in the log: {token}" for token in (ROOT, ALICE, BOB, GUEST) if token in said]
    finally:
        if gateway.running:
            gateway.kill()
        problems_of_daemon = daemon.close()
    assert not [*problems, *problems_of_daemon], "\n".join([*problems, *problems_of_daemon, said])


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    """A PostgreSQL server."""
    if server.programs() is None:
        pytest.skip("postgresql is not installed")
    with server.serving(tmp_path_factory.mktemp("postgresql")) as running:
        yield running
