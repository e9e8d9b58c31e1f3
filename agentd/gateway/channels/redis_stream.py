"""A channel by a Redis Stream: a consumer in the group of the user and agent.

An entry is acknowledged once its message is stored. Until then it is this consumer's: it is given again after a
restart, and to another gateway if this one does not come back.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Final, NoReturn, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from agentd.gateway.channels.link import Delay, Handler, Incoming, LaterError
from agentd.gateway.channels.redis_client import connected, failing
from agentd.gateway.model.channels import Answer
from agentd.model.channels import ChannelDeclaration, RedisLink

FIELD: Final = "data"
"""Of an entry: the message."""

_BLOCK: Final = 1.0
"""Seconds that Redis is asked to wait for an entry."""

_AT_ONCE: Final = 50

_SHOWN, _MOST_SHOWN = 80, 5
"""Characters of a field's name, and fields, of an entry that can be no message."""

_Entry = tuple[bytes, Mapping[bytes, bytes] | None]


class _Stream:
    def __init__(self, client: Redis, declared: ChannelDeclaration, claim_after: float, consumer: str) -> None:
        self._client = client
        self._name = declared.where
        self._group = declared.group
        self._consumer = consumer
        self._claim_after = claim_after
        self._left = True
        """Whether there may be entries that are this consumer's and not stored."""

    async def consume(self, handler: Handler) -> NoReturn:
        """Give messages to a handler."""
        loop = asyncio.get_running_loop()
        delay = Delay()
        claim_at = loop.time()
        while True:
            if loop.time() >= claim_at:
                claim_at = loop.time() + self._claim_after / 2
                await self._claim()
            entries = await self._entries()
            try:
                for entry in entries:
                    await self._take(entry, handler)
                    delay.reset()
            except LaterError:
                # Read again, for another gateway may take it meanwhile.
                self._left = True
                await asyncio.sleep(delay.next())

    async def _entries(self) -> Sequence[_Entry]:
        if self._left:
            entries = await self._read("0", None)
            self._left = bool(entries)
            if entries:
                return entries
        return await self._read(">", int(_BLOCK * 1000))

    async def _read(self, start: str, block: int | None) -> Sequence[_Entry]:
        with failing():
            found = await self._client.xreadgroup(
                self._group, self._consumer, {self._name: start}, _AT_ONCE, block=block
            )
        # By the protocol's second version: a list of one stream's name and its entries.
        return cast("Sequence[_Entry]", found[0][1]) if isinstance(found, list) and found else ()

    async def _claim(self) -> None:
        """Take over what a consumer that is gone left."""
        start = b"0-0"
        idle = int(self._claim_after * 1000)
        with failing():
            while True:
                start, claimed, *_ = await self._client.xautoclaim(
                    self._name, self._group, self._consumer, idle, start, _AT_ONCE
                )
                self._left = self._left or bool(claimed)
                if start == b"0-0":
                    return

    async def _take(self, entry: _Entry, handler: Handler) -> None:
        identity, fields = entry
        if fields:
            name = identity.decode()
            await handler.take(Incoming(name, name, _data(fields), _fault(fields)))
        with failing():
            await self._client.xack(self._name, self._group, identity)

    async def send(self, answers: Sequence[Answer]) -> None:
        """Write answers."""
        with failing():
            async with self._client.pipeline(transaction=False) as pipeline:
                for answer in answers:
                    _ = pipeline.xadd(self._name, {FIELD: answer.encoded()})
                await pipeline.execute()

    async def say(self, data: bytes) -> str | None:
        """Write a message."""
        with failing():
            written: bytes | str = await self._client.xadd(self._name, {FIELD: data})
        return written.decode() if isinstance(written, bytes) else written

    async def bury(self, data: bytes) -> None:
        """Put a bad message aside."""
        with failing():
            await self._client.xadd(f"{self._name}.dead", {FIELD: data})


def _data(fields: Mapping[bytes, bytes]) -> bytes:
    """Give the message of an entry; without that field, it is an object of texts by itself."""
    if FIELD.encode() in fields:
        return fields[FIELD.encode()]
    texts = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in fields.items()}
    return json.dumps(texts).encode()


def _fault(fields: Mapping[bytes, bytes]) -> str | None:
    """Say why an entry can be no message; whoever wrote it waits for an answer."""
    if FIELD.encode() in fields or b"type" in fields:
        return None
    found = ", ".join(name.decode(errors="replace")[:_SHOWN] for name in islice(fields, _MOST_SHOWN))
    return f"expected the field {FIELD} with the message, or the fields type and content; found {found}"


@asynccontextmanager
async def open_stream(
    declared: ChannelDeclaration, link: RedisLink, password: str | None, consumer: str
) -> AsyncIterator[_Stream]:
    """Connect to Redis, and make the group unless it is there.

    Parameters
    ----------
    consumer
        Tells this gateway from others of the group, also after a restart.

    Raises
    ------
    LinkError
        If that does not work now.
    """
    async with connected(link, password) as client:
        with failing():
            try:
                await client.xgroup_create(declared.where, declared.group, id="0", mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise
        yield _Stream(client, declared, link.session_timeout, consumer)
