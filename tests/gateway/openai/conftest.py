"""OpenAI's clients, beside a gateway and agentd with two stand-in agents for each test."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from openai import AsyncOpenAI, OpenAI

from tests.gateway.openai.official import Traffic, official, official_async
from tests.support.agents import jcard
from tests.support.gateway import Gateway

STAND_IN = Path(__file__).resolve().parents[3] / "examples/gateway/stand_in.py"


@pytest.fixture
def serving(gateway: Gateway) -> Gateway:
    """Start a gateway and agentd with two agents."""
    command = [sys.executable, str(STAND_IN)]
    gateway.daemon.write_jcard(jcard({"name": "alice", "command": command}, {"name": "bob", "command": command}))
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
