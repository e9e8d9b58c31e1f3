"""What happens in agents' turns, told line by line to whoever follows, in one order for each agent.

The last lines are kept, so that a follower who comes again misses none; one who is too slow, or comes too late, is told
that there is a gap.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from typing import Final

from agentd.turns.events import TurnEvent, name_of
from agentd.turns.messages.message import Message

KEPT: Final = 2000
"""Lines of an agent."""
_KEPT_BYTES: Final = 4 << 20
_CLOSED: Final = 64
"""Streams of agents that are not declared any more, whose lines are kept."""

ALIVE: Final = 15.0
"""Seconds without news after which a line says that there are none."""

_ALIVE_LINE: Final = b'{"kind": "alive"}\n'
_GAP_LINE: Final = b'{"kind": "gap"}\n'


@dataclass(slots=True)
class Stream:
    """The lines of one agent."""

    last: int
    """Number of the last line."""
    open: bool = True
    _lines: deque[tuple[int, bytes]] = field(default_factory=deque)
    _bytes: int = 0
    _followers: set[asyncio.Event] = field(default_factory=set)

    def add(self, document: dict[str, object]) -> None:
        """Add a line."""
        self.last += 1
        line = json.dumps({"n": self.last, **document}).encode() + b"\n"
        self._lines.append((self.last, line))
        self._bytes += len(line)
        while len(self._lines) > KEPT or (self._bytes > _KEPT_BYTES and len(self._lines) > 1):
            self._bytes -= len(self._lines.popleft()[1])
        self._wake()

    def close(self) -> None:
        """Tell followers that no more comes."""
        self.open = False
        self._wake()

    def _wake(self) -> None:
        for follower in self._followers:
            follower.set()

    def since(self, after: int) -> tuple[list[bytes], bool]:
        """The lines after this number, and whether some between are not there any more."""
        first = self.last - len(self._lines) + 1
        gap = after < first - 1 or after > self.last
        return [line for number, line in self._lines if gap or number > after], gap

    def follow(self, after: int | None) -> AsyncIterator[bytes]:
        """Give the lines after this number, without one those from now on, until the agent is not declared any more."""
        return self._follow(self.last if after is None else after)

    async def _follow(self, at: int) -> AsyncIterator[bytes]:
        news = asyncio.Event()
        self._followers.add(news)
        try:
            while True:
                news.clear()
                lines, gap = self.since(at)
                at = self.last
                if gap:
                    yield _GAP_LINE
                if lines:
                    yield b"".join(lines)
                    continue
                if not self.open:
                    return
                try:
                    async with asyncio.timeout(ALIVE):
                        await news.wait()
                except TimeoutError:
                    yield _ALIVE_LINE
        finally:
            self._followers.discard(news)


@dataclass(slots=True)
class Streams:
    """The streams of all agents, by their names in lower case."""

    _streams: dict[str, Stream] = field(default_factory=dict)

    def of(self, agent: str, now: float) -> Stream:
        """The stream of an agent."""
        found = self._streams.get(agent.lower())
        if found is None:
            # No number that another daemon gave away is as high: none tells a million lines a second.
            found = self._streams[agent.lower()] = Stream(int(now * 1e6))
        return found

    def declared(self, agents: frozenset[str]) -> None:
        """End the streams of all other agents; `agents` are in lower case."""
        for name, stream in list(self._streams.items()):
            if stream.open and name not in agents:
                stream.close()
            elif not stream.open and name in agents:
                stream.open = True
        closed = [name for name, stream in self._streams.items() if not stream.open]
        for name in closed[:-_CLOSED]:
            del self._streams[name]


def event_line(event: TurnEvent) -> dict[str, object]:
    """Say what happened in a turn."""
    return {**asdict(event), "kind": name_of(event)}


def message_line(message: Message) -> dict[str, object]:
    """Say what became of a message."""
    view = message.view()
    del view["text"], view["id"], view["agent"]
    return {**view, "at": message.changed, "kind": "message", "message": message.id}
