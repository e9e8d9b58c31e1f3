"""Waiting for what happens to workers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from agentd.api.client.socket import RefusedError, UnreachableError
from agentd.model.pool import WorkerEvent
from agentd.pool.errors import Code, PoolError
from agentd.pool.looking import KINDS, Look, first
from agentd.pool.pool import Pool, unreachable
from agentd.pool.results.workers import Observation
from agentd.pool.statuses import KEPT_WITHIN, events_of, worker_status
from agentd.pool.telling import Detail, told
from agentd.pool.transcripts import last_lines
from agentd.text.quoting import quote

DEFAULT_EVENTS: Final = (
    WorkerEvent.COMPLETED,
    WorkerEvent.ERROR,
    WorkerEvent.QUESTION,
    WorkerEvent.APPROVAL,
    WorkerEvent.USAGE_LIMIT,
    WorkerEvent.EXITED,
)

_LINES: Final = {Detail.EXCERPT: 20, Detail.FULL: 200}

_KEPT_EVENTS: Final = 200
"""The newest events of each worker that are looked at."""

_LOOK_AFTER: Final = 2.0
"""Seconds without news after which is looked anyway."""
_SCREEN_AFTER: Final = 0.5
"""Seconds between looks at screens, if these are waited for."""
_KEPT_AFTER: Final = 0.05
"""Seconds between two looks for it."""
_AWAY: Final = 30.0
"""Seconds for agentd to be back during a wait."""
_AGAIN: Final = 0.2

_Happened: TypeAlias = "tuple[Look, WorkerEvent, int | None]"


async def observe(
    pool: Pool,
    workers: Sequence[str],
    wanted: Sequence[WorkerEvent] = DEFAULT_EVENTS,
    *,
    patience: float | None = None,
    detail: Detail = Detail.SUMMARY,
    cursor: str | None = None,
) -> Observation:
    """Wait until the first of some events happens to one of some workers; at once if it is so already.

    Cancelling it ends the wait.

    Parameters
    ----------
    patience
        Seconds; ``None`` waits for ever, 0 looks once.
    cursor
        What an earlier answer gave: only what happened after that counts.

    Raises
    ------
    PoolError
        If there is no such worker, or agentd does not answer.
    """
    names = [(await worker_status(pool, each)).name for each in dict.fromkeys(workers)]
    if not names:
        raise PoolError(Code.INVALID_ARGUMENT, "expected the id of a worker", "agentctl workers")
    after = _number(cursor)
    wait = _Wait(pool, names, wanted, after)
    end = None if patience is None else time.monotonic() + patience
    async with contextlib.aclosing(wait.looks(end)) as looks:
        async for look in looks:
            found = first(look, wanted, after)
            if found is not None:
                return await _found(pool, await _numbered(wait, found), detail, wait.newest)
    return await _nothing(pool, wait, cursor, detail)


def _number(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not cursor.isascii() or not cursor.isdecimal():
        message = f"cursor: expected one that an earlier answer gave, found {quote(cursor)}"
        raise PoolError(Code.INVALID_ARGUMENT, message, "agentctl observe ID")
    return int(cursor)


async def _numbered(wait: _Wait, found: _Happened) -> _Happened:
    """Give what happened with the number of its event, which is kept a moment later than the agent's state is told.

    Without it the cursor would be an older one, and the same would be told again.
    """
    end = time.monotonic() + KEPT_WITHIN
    while found[2] is None and found[1] is not WorkerEvent.SCREEN_CHANGED and time.monotonic() < end:
        await asyncio.sleep(_KEPT_AFTER)
        looks = await wait.look()
        found = (None if looks is None else first(looks, wait.wanted, wait.after)) or found
    return found


async def _found(pool: Pool, found: _Happened, detail: Detail, newest: int) -> Observation:
    look, event, at = found
    cursor = str(newest if at is None else at)
    lines = await last_lines(pool, look.status.name, _LINES[detail]) if detail in _LINES else None
    return told(look, event, lines, cursor, detail)


async def _nothing(pool: Pool, wait: _Wait, cursor: str | None, detail: Detail) -> Observation:
    """Report that the time is up, and how the worker is doing if there is only one."""
    newest = str(wait.newest) if cursor is None else cursor
    look = wait.last[0] if len(wait.last) == 1 else None
    lines = None
    if look is not None and detail in _LINES:
        lines = await last_lines(pool, look.status.name, _LINES[detail])
    return told(look, None, lines, newest, detail, again=wait.names)


@dataclass(slots=True)
class _Wait:
    """Looks at workers, again after each of their events."""

    pool: Pool
    names: Sequence[str]
    wanted: Sequence[WorkerEvent]
    after: int | None
    last: list[Look] = field(default_factory=list)
    newest: int = 0
    """Number of the newest event that was seen."""
    _screens: dict[str, str] = field(default_factory=dict)
    _heard: float = 0.0

    async def looks(self, end: float | None) -> AsyncGenerator[Sequence[Look], None]:
        """Give looks until the time is over."""
        news: asyncio.Queue[None] = asyncio.Queue()
        following = asyncio.create_task(self._follow(news), name="events of workers")
        try:
            while True:
                found = await self.look()
                if found is not None:
                    self.last = found
                    yield found
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    return
                after = _SCREEN_AFTER if WorkerEvent.SCREEN_CHANGED in self.wanted else _LOOK_AFTER
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(after if left is None else min(after, left)):
                        await news.get()
                while not news.empty():
                    news.get_nowait()
        finally:
            following.cancel()
            await asyncio.wait([following])

    async def _follow(self, news: asyncio.Queue[None]) -> None:
        """Report each event of the workers."""
        query = [("follow", "1"), *(("agent", name) for name in self.names)]
        while True:
            try:
                async with self.pool.api.socket.stream("/v1/events", query) as content:
                    async for _ in content.iter_any():
                        news.put_nowait(None)
            except (UnreachableError, RefusedError):
                # agentd may be restarted; the looks say if it does not come back.
                pass
            await asyncio.sleep(_AGAIN)

    async def look(self) -> list[Look] | None:
        """Look at all workers; ``None`` while agentd is away for a moment."""
        try:
            looks = list(await asyncio.gather(*(self._look_at(name) for name in self.names)))
        except PoolError as error:
            if error.code is not Code.UNREACHABLE or not self._heard or time.monotonic() > self._heard + _AWAY:
                raise
            return None
        self._heard = time.monotonic()
        return looks

    async def _look_at(self, name: str) -> Look:
        look = await look_at(self.pool, name)
        self.newest = max([self.newest, *(seq for event in look.events if isinstance(seq := event.get("seq"), int))])
        return replace(look, screen_changed=await self._screen_changed(name))

    async def _screen_changed(self, name: str) -> bool:
        if WorkerEvent.SCREEN_CHANGED not in self.wanted:
            return False
        try:
            shown = await self.pool.api.get(f"/v1/agents/{name}/screen", {"format": "json"})
        except PoolError as error:
            if error.code is Code.UNREACHABLE:
                raise
            shown = None
        lines = str(shown.get("lines")) if isinstance(shown, dict) else ""
        return self._screens.setdefault(name, lines) != lines


async def look_at(pool: Pool, name: str) -> Look:
    """Look at a worker.

    Raises
    ------
    PoolError
        If there is none of that name, or agentd does not answer.
    """
    # The events first: what the status tells is then not older than they are.
    events = await events_of(pool, KINDS, [name], tail=_KEPT_EVENTS)
    status = await worker_status(pool, name)
    conversation = None
    if not status.ended:
        try:
            conversation = await pool.turns.conversation(name)
        except UnreachableError as error:
            raise unreachable(error) from error
        except RefusedError:
            # Not ours to talk to, or not watched: the status and the events tell.
            conversation = None
    return Look(status, conversation, events)
