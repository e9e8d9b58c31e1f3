"""Server-sent events of many hosts as one stream, which can be taken up again where it broke off."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode

from agentd.fleet.passing import Asked, Head, Told
from agentd.fleet.refusals import FleetError

HEARTBEAT: Final = 15.0
"""Seconds without an event after which a comment is sent, as by agentd."""

_LOOK_AGAIN: Final = 2.0
"""Seconds between two looks for hosts that are there now."""

_BEGIN_WITHIN: Final = 3.0
"""Seconds for the hosts to begin: who takes longer is heard from the same moment on, but later."""

_WAITING: Final = 256
"""Events that wait for a client; then the hosts wait."""

_OTHERS: Final = "*"

Forward: TypeAlias = Callable[[str, Asked], AsyncGenerator[Told, None]]
Listed: TypeAlias = Callable[[str, str], Awaitable[list[dict[str, Any]]]]


@dataclass(frozen=True, slots=True)
class Position:
    """How much of each host's journal is known. Pure."""

    since: str
    """The time, RFC 3339, from which on other hosts are heard."""
    seen: Mapping[str, int] = field(default_factory=dict)
    """The number of the last event by host."""

    def __str__(self) -> str:
        """Write it as the id of an event."""
        return ",".join([f"{_OTHERS}={self.since}", *(f"{host}={seq}" for host, seq in sorted(self.seen.items()))])

    @classmethod
    def of(cls, text: str) -> Position:
        """Read one.

        Raises
        ------
        ValueError
            If it is none.
        """
        pairs = dict(part.rsplit("=", 1) for part in text.split(","))
        since = pairs.pop(_OTHERS)
        return cls(since, {host: int(seq) for host, seq in pairs.items()})

    def after(self, host: str, seq: int) -> Position:
        """Return the position after an event of a host."""
        return Position(self.since, {**self.seen, host: seq})

    def start(self, host: str) -> dict[str, str]:
        """Say in a query where a host is to begin."""
        return {"since": str(self.seen[host]) if host in self.seen else self.since}


@dataclass(frozen=True, slots=True)
class EventsWanted:
    """What a client asks for."""

    filters: Sequence[tuple[str, str]]
    """``agent`` and ``kind``, as in the query."""
    past: Sequence[tuple[str, str]] = ()
    """``since`` or ``tail``: what came before that is wanted, too."""
    tail: int | None = None
    """At most so much of it."""
    limit: int | None = None
    """Events after which to end."""


@dataclass(frozen=True, slots=True)
class _Block:
    host: str
    seq: int
    event: dict[str, Any] | None
    """``None`` for where a host begins."""


class Following:
    """Follows hosts as they come and go.

    Parameters
    ----------
    hosts
        Gives those to listen to now; more may come, and one that breaks off is asked again.
    forward
        Has a host's agentd answer.
    listed
        Reads a host's list at a path, with the host in each item; nothing of one that does not answer.
    """

    def __init__(self, hosts: Callable[[], Awaitable[frozenset[str]]], forward: Forward, listed: Listed) -> None:
        self._hosts, self._forward, self._listed = hosts, forward, listed
        self._blocks: asyncio.Queue[_Block] = asyncio.Queue(_WAITING)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def sent(self, wanted: EventsWanted, position: Position, *, anew: bool) -> AsyncGenerator[bytes, None]:
        """Give the stream: a block with an id alone first, so that it can be taken up from the beginning.

        Parameters
        ----------
        position
            Where to begin.
        anew
            Whether nothing is known yet: hosts that answer now begin where they are, after what is past.
        """
        left = wanted.limit
        if left == 0:
            return
        async with contextlib.aclosing(self._events(wanted, position, anew=anew)) as events:
            async for now, event in events:
                if event is not None:
                    yield b"id: %s\nevent: %s\ndata: %s\n\n" % (
                        str(now).encode(), str(event.get("kind")).encode(), json.dumps(event).encode(),
                    )  # fmt: skip
                    left = None if left is None else left - 1
                    if left == 0:
                        return
                elif now is not None:
                    yield b"retry: 1000\nid: %s\n\n" % str(now).encode()
                else:
                    yield b": nothing happened\n\n"

    async def _events(
        self, wanted: EventsWanted, position: Position, *, anew: bool
    ) -> AsyncGenerator[tuple[Position | None, dict[str, Any] | None], None]:
        early = list[_Block]()
        hosts, look_at = await self._hosts(), _now() + _LOOK_AGAIN
        quiet_until = _now() + HEARTBEAT
        try:
            if anew:
                position, early = await self._begin(hosts, wanted, position)
            yield position, None
            for event in await self._past(wanted, position) if anew else ():
                yield position, event
            while True:
                if _now() >= look_at:
                    with contextlib.suppress(FleetError):
                        hosts = await self._hosts()
                    look_at = _now() + _LOOK_AGAIN
                self._listen(hosts, wanted, position)
                for block in [*early, *await self._next()]:
                    if block.event is None:
                        # Where it begins, which is further back if its journal is another one.
                        position = position.after(block.host, block.seq)
                    elif block.seq > position.seen.get(block.host, -1):
                        position = position.after(block.host, block.seq)
                        yield position, {**block.event, "host": block.host}
                        quiet_until = _now() + HEARTBEAT
                early = []
                if _now() >= quiet_until:
                    yield None, None
                    quiet_until = _now() + HEARTBEAT
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _begin(
        self, hosts: frozenset[str], wanted: EventsWanted, position: Position
    ) -> tuple[Position, list[_Block]]:
        """Have hosts begin where they are; what came from the first ones meanwhile is kept."""
        early = list[_Block]()
        for host in hosts:
            self._begin_to_listen(host, wanted, {})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_BEGIN_WITHIN):
                while hosts - position.seen.keys():
                    block = await self._blocks.get()
                    if block.host in position.seen:
                        early.append(block)
                    else:
                        position = position.after(block.host, block.seq)
        for host in hosts - position.seen.keys():
            # It begins at the same moment, once it answers.
            self._tasks.pop(host).cancel()
        return position, early

    async def _past(self, wanted: EventsWanted, position: Position) -> list[dict[str, Any]]:
        """Give what is wanted of what came before the hosts began."""
        if not wanted.past:
            return []
        path = f"/v1/events?{urlencode([*wanted.filters, *wanted.past])}"
        answers = await asyncio.gather(*(self._listed(host, path) for host in position.seen))
        found = [each for answer in answers for each in answer if each.get("seq", 0) <= position.seen[each["host"]]]
        return last(sorted(found, key=lambda each: str(each.get("time"))), wanted.tail)

    def _listen(self, hosts: frozenset[str], wanted: EventsWanted, position: Position) -> None:
        if not self._blocks.empty():
            # What a host said before it broke off is told first.
            return
        for host in hosts:
            task = self._tasks.get(host)
            if task is None or task.done():
                self._begin_to_listen(host, wanted, position.start(host))

    def _begin_to_listen(self, host: str, wanted: EventsWanted, start: Mapping[str, str]) -> None:
        path = f"/v1/events?{urlencode([('follow', '1'), *wanted.filters, *start.items()])}"
        self._tasks[host] = asyncio.create_task(self._hear(host, path))

    async def _hear(self, host: str, path: str) -> None:
        """Take what a host says, until it breaks off: then it is asked again at the next look."""
        with contextlib.suppress(FleetError):
            async with contextlib.aclosing(self._forward(host, Asked("GET", path, {}))) as parts:
                async for seq, event in _blocks(parts):
                    await self._blocks.put(_Block(host, seq, event))

    async def _next(self) -> list[_Block]:
        try:
            async with asyncio.timeout(_LOOK_AGAIN):
                found = [await self._blocks.get()]
        except TimeoutError:
            return []
        while not self._blocks.empty():
            found.append(self._blocks.get_nowait())
        return found


def last(events: list[dict[str, Any]], count: int | None) -> list[dict[str, Any]]:
    """Give the last so many, all for ``None``."""
    return events if count is None else events[len(events) - min(count, len(events)) :]


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _blocks(parts: AsyncIterator[Told]) -> AsyncGenerator[tuple[int, dict[str, Any] | None], None]:
    """Read an agentd's stream: the number and the document of each event; where it begins there is none."""
    received = b""
    async for part in parts:
        if isinstance(part, Head):
            if part.status != HTTPStatus.OK:
                return
            continue
        *texts, received = (received + part).split(b"\n\n")
        for text in texts:
            fields = dict(line.split(b": ", 1) for line in text.split(b"\n") if b": " in line)
            if b"id" in fields:
                document = json.loads(fields[b"data"]) if b"data" in fields else None
                yield int(fields[b"id"]), document if isinstance(document, dict) else None
