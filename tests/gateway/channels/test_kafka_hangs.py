"""A broker that goes away where the library waits for it without end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from agentd.gateway.channels import kafka
from agentd.gateway.channels.link import Incoming, LinkError


class _Consumer:
    """Gives one message, and is told of no broker that notes it."""

    async def getmany(self, **_limits: object) -> dict[TopicPartition, list[object]]:
        record = SimpleNamespace(topic="t", partition=0, offset=7, timestamp=1, value=b"text")
        return {TopicPartition("t", 0): [record]}

    async def commit(self, _offsets: object) -> None:
        await asyncio.Event().wait()


class _Taker:
    async def take(self, _incoming: Incoming) -> bool:
        return True

    async def give_up(self, _incoming: Incoming) -> None:
        raise AssertionError("nobody else was given it")


@pytest.mark.timeout(20)
async def test_a_broker_that_goes_away_while_an_offset_is_committed_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "DEADLINE", 0.05)
    link = kafka._Kafka(cast("AIOKafkaConsumer", _Consumer()), cast("AIOKafkaProducer", None), "t")
    with pytest.raises(LinkError, match="no broker notes"):
        await link.consume(_Taker())
