"""A channel by Redis Pub/Sub: what is published while nobody listens is lost, as it is everywhere with Pub/Sub."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, NoReturn

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from agentd.gateway.channels.link import Delay, Handler, Incoming, LaterError
from agentd.gateway.channels.redis_client import connected, failing
from agentd.gateway.model.channels import Answer
from agentd.model.channels import ChannelDeclaration, RedisLink

_LOOK: Final = 1.0
"""Seconds without a message after which is looked whether Redis is there."""


class _PubSub:
    def __init__(self, client: Redis, pubsub: PubSub, name: str) -> None:
        self._client = client
        self._pubsub = pubsub
        self._name = name

    async def consume(self, handler: Handler) -> NoReturn:
        """Give messages to a handler."""
        while True:
            with failing():
                message = await self._pubsub.get_message(ignore_subscribe_messages=True, timeout=_LOOK)
                if message is None:
                    await self._client.ping()
                    continue
            incoming = Incoming(None, None, bytes(message["data"]))
            delay = Delay()
            while True:
                try:
                    await handler.take(incoming)
                    break
                except LaterError:
                    await asyncio.sleep(delay.next())

    async def send(self, answers: Sequence[Answer]) -> None:
        """Write answers."""
        with failing():
            async with self._client.pipeline(transaction=False) as pipeline:
                for answer in answers:
                    _ = pipeline.publish(self._name, answer.encoded())
                await pipeline.execute()

    async def say(self, data: bytes) -> str | None:
        """Write a message."""
        with failing():
            await self._client.publish(self._name, data)
        return None

    async def bury(self, data: bytes) -> None:
        """Put a bad message aside."""
        with failing():
            await self._client.publish(f"{self._name}.dead", data)


@asynccontextmanager
async def open_pubsub(declared: ChannelDeclaration, link: RedisLink, password: str | None) -> AsyncIterator[_PubSub]:
    """Connect to Redis, and subscribe.

    Raises
    ------
    LinkError
        If that does not work now.
    """
    async with connected(link, password) as client:
        pubsub = client.pubsub()
        try:
            with failing():
                await pubsub.subscribe(declared.where)
            yield _PubSub(client, pubsub, declared.where)
        finally:
            with contextlib.suppress(RedisError, OSError):
                await pubsub.aclose()  # type: ignore[no-untyped-call]
