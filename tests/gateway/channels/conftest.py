"""Brokers for the tests of channels."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.support import kafka_broker, redis_server
from tests.support.daemon import Daemon
from tests.support.forked import launch_fork
from tests.support.gateway import Gateway
from tests.support.kafka_broker import KafkaBroker
from tests.support.redis_server import RedisServer


@pytest.fixture
def second(session_folder: Path, _numbers: count[int]) -> Iterator[Gateway]:
    """Another gateway, beside another agentd; neither is started."""
    folder = session_folder / f"second-{next(_numbers)}"
    folder.mkdir()
    gateway = Gateway(Daemon(folder, launch_fork), launch_fork)
    yield gateway
    problems = [*gateway.close(), *gateway.daemon.close()]
    assert not problems, "\n".join([*problems, gateway.log_text()])


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis server."""
    if redis_server.program() is None:
        pytest.skip("redis-server is not installed")
    with redis_server.serving(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[KafkaBroker]:
    """A Kafka-compatible broker."""
    if kafka_broker.program() is None:
        pytest.skip("tests/gateway/fetch-brokers was not run")
    with kafka_broker.serving(tmp_path / "kafka") as server:
        server.start()
        yield server
