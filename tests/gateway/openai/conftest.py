"""OpenAI's clients, beside a gateway and agentd with two stand-in agents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio
from openai import AsyncOpenAI, OpenAI

from tests.gateway.openai.official import Traffic, official, official_async
from tests.gateway.stand_in import COMMAND
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.support.forked import launch_fork
from tests.support.gateway import Gateway

JCARD = jcard({"name": "alice", "command": COMMAND}, {"name": "bob", "command": COMMAND})


@pytest.fixture(scope="module")
def serving(session_folder: Path, _numbers: count[int]) -> Iterator[Gateway]:
    """Start a gateway and agentd for all tests of a module."""
    folder = session_folder / f"openai-{next(_numbers)}"
    folder.mkdir()
    daemon = Daemon(folder, launch_fork)
    gateway = Gateway(daemon, launch_fork)
    daemon.write_jcard(JCARD)
    daemon.start()
    gateway.start("--max-concurrency=8")
    yield gateway
    problems = [*gateway.close(), *daemon.close()]
    assert not problems, "\n".join([*problems, gateway.log_text()])


@pytest.fixture
def alone(gateway: Gateway) -> Gateway:
    """Start a gateway and agentd for one test, which may end them."""
    gateway.daemon.write_jcard(JCARD)
    gateway.daemon.start()
    gateway.start()
    return gateway


@pytest.fixture
def traffic() -> Iterator[Traffic]:
    traffic = Traffic()
    yield traffic
    traffic.check()


@pytest.fixture
def client(serving: Gateway, traffic: Traffic) -> Iterator[OpenAI]:
    with official(serving.url, traffic) as client:
        yield client


@pytest_asyncio.fixture
async def async_client(serving: Gateway, traffic: Traffic) -> AsyncIterator[AsyncOpenAI]:
    async with official_async(serving.url, traffic) as client:
        yield client
