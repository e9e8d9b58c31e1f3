"""OpenCode's server by a plugin that runs in OpenCode and posts to the socket for hooks: it needs no port.

It is named in ``OPENCODE_CONFIG_CONTENT``, beside what the user has there. Measured with 1.18.33: a plugin hears the
events that the server sends, may be begun twice in one process, and asks the server's interface also where no server
listens.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import Final

from agentd.turns.adapter import Hook, NotNowError
from agentd.turns.fields import number, objects, text
from agentd.turns.opencode.server import NoAnswerError, TooLongError
from agentd.turns.wishes import Wishes

PROGRAM: Final = files(__package__).joinpath("plugin.js").read_bytes()
"""The plugin."""

CONFIG: Final = "OPENCODE_CONFIG_CONTENT"
"""The environment variable that names it."""

_PLUGINS: Final = "plugin"
_HELD: Final = 20.0
"""Seconds for which a post is held: the plugin gives it up after a minute."""
_ABSENT: Final = 10.0
"""Seconds without a post that is held, after which the plugin is gone: it posts again at once."""
_MOST_EVENTS: Final = 10_000
"""Events that wait to be read; more are lost, and asked for."""
_REFUSED: Final = b'{"refused": true}'


def configured(given: str | None, plugin: Path) -> str | None:
    """What `CONFIG` is to be so that OpenCode loads the plugin too; ``None`` if what is there is not understood."""
    try:
        config: object = json.loads(given or "{}")
    except (ValueError, RecursionError):
        return None
    if not isinstance(config, dict):
        return None
    plugins = config.get(_PLUGINS, [])
    return json.dumps({**config, _PLUGINS: [*plugins, plugin.as_uri()]}) if isinstance(plugins, list) else None


@dataclass(slots=True)
class _Asked:
    """A request that the plugin was handed, or is to be."""

    longest: int
    done: asyncio.Future[tuple[int, bytes]]
    body: bytearray = field(default_factory=bytearray)


@dataclass(slots=True)
class Plugin:
    """The server of one run, asked by the plugin."""

    _wishes: Wishes = field(default_factory=Wishes)
    _ids: count[int] = field(default_factory=lambda: count(1))
    _asked: dict[int, _Asked] = field(default_factory=dict)
    _events: asyncio.Queue[Mapping[str, object] | None] | None = None
    """What the reader has yet to read; ``None`` in it is the end."""
    _pid: int | None = None
    """The process that posted first: a plugin is begun before any tool."""
    _held: int = 0
    """Posts that are held."""
    _here: asyncio.Event = field(default_factory=asyncio.Event)
    _gone: asyncio.TimerHandle | None = None

    @property
    def witness(self) -> str:
        """Its name as a witness."""
        return "plugin"

    async def hook(self, hook: Hook) -> bytes | None:
        """Take what the plugin posts, and nothing of other programs."""
        if self._pid is None:
            self._pid = hook.pid
        if hook.pid != self._pid:
            return _REFUSED
        body = hook.body or {}
        if hook.name == "next":
            return await self._next()
        if hook.name == "events":
            self._take(body)
        elif hook.name == "answer":
            self._answered(body)
        return None

    async def _next(self) -> bytes | None:
        self._held += 1
        self._here.set()
        if self._gone is not None:
            self._gone.cancel()
            self._gone = None
        try:
            async with asyncio.timeout(_HELD):
                return await self._wishes.next()
        except TimeoutError:
            return None
        finally:
            self._held -= 1
            if not self._held:
                self._gone = asyncio.get_running_loop().call_later(_ABSENT, self._lose)

    def _lose(self) -> None:
        self._here.clear()
        if self._events is not None:
            self._events.put_nowait(None)

    def _take(self, body: Mapping[str, object]) -> None:
        events = self._events
        if events is None:
            return
        if body.get("lost") is True or events.qsize() > _MOST_EVENTS:
            events.put_nowait(None)
            self._events = None
            return
        for event in objects(body, "events"):
            events.put_nowait(event)

    def _answered(self, body: Mapping[str, object]) -> None:
        asked = self._asked.get(number(body, "id"))
        if asked is None or asked.done.done():
            return
        asked.body += text(body, "text").encode("utf-8", "replace")
        status = number(body, "status")
        if not status:
            error = NoAnswerError(f"opencode did not answer: {asked.body[:200].decode('utf-8', 'replace')}")
            asked.done.set_exception(error)
        elif len(asked.body) > asked.longest:
            asked.done.set_exception(TooLongError(f"its answer has over {asked.longest} bytes"))
        elif body.get("last") is True:
            asked.done.set_result((status, bytes(asked.body)))

    async def ready(self) -> None:
        """Wait for the plugin."""
        await self._here.wait()

    async def ask(
        self, method: str, path: str, document: Mapping[str, object] | None, limit: float, longest: int
    ) -> tuple[int, bytes]:
        """Ask; as `Door.ask`."""
        wished = next(self._ids)
        asked = self._asked[wished] = _Asked(longest, asyncio.get_running_loop().create_future())
        handed = False
        try:
            async with asyncio.timeout(limit):
                await self._wishes.hand({"id": wished, "method": method, "path": path, "document": document})
                handed = True
                return await asked.done
        except TimeoutError as error:
            if handed:
                raise NoAnswerError("opencode did not answer: TimeoutError") from error
            raise NotNowError("opencode cannot be asked: its plugin is not heard") from error
        finally:
            del self._asked[wished]

    async def events(self) -> AsyncIterator[Mapping[str, object]]:
        """Give events until some are lost, or the plugin is gone; as `Door.events`."""
        events: asyncio.Queue[Mapping[str, object] | None] = asyncio.Queue()
        self._events = events
        try:
            yield {"type": "server.connected"}
            while (event := await events.get()) is not None:
                yield event
                # A flood lets others go first.
                await asyncio.sleep(0)
        finally:
            if self._events is events:
                self._events = None

    async def close(self) -> None:
        """Ask nothing more."""
        if self._gone is not None:
            self._gone.cancel()
