"""Tells of tools that still run after their turn: looked for once a turn ends, and looked at until they have ended.

Measured by ``python -m benchmarks.left_running`` on a machine under load: 300 agents that have left nothing running
take 1 ms of CPU in a minute, for nothing is looked at. A look at all processes, 20 µs each, follows the end of a turn,
and another half a second later, one for all turns that ended meanwhile, at most twice a second: the two took 2 s where
300 ended at once beside 1100 processes. A look at those that are known takes 70 µs for each, every 2 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from agentd.files.worker import Worker
from agentd.process.background import (
    Turn,
    boot_time,
    left_running,
    names_of,
    read_parents,
    still_running,
)
from agentd.process.identity import ProcessIdentity
from agentd.turns.run_watch import RunWatch

log = structlog.get_logger(__name__)

_SETTLED: Final = 0.15
"""Seconds after a turn's end in which what ends with it has ended; an activity is told after 0.3 s."""
_SOON: Final = 0.5
"""Seconds between two looks at all processes, and until the second look at what one found."""
_EVERY: Final = 2.0
"""Seconds between two looks at what is known."""
_EARLIER: Final = 1.0
"""Seconds that a turn may have begun before that was told: files are looked at twice a second."""
_LONGEST_NAME: Final = 60
_MOST_NAMES: Final = 3


@dataclass(frozen=True, slots=True)
class Look:
    """What a look found of one run."""

    known: tuple[ProcessIdentity, ...]
    names: tuple[str, ...]


class Background:
    """Follows what tools of all runs leave running."""

    def __init__(self) -> None:
        self._worker = Worker("background")
        self._runs: dict[str, RunWatch] = {}
        self._ended: dict[str, Turn] = {}
        """Turns that have ended since the last look."""
        self._known: dict[str, tuple[ProcessIdentity, ...]] = {}
        self._news = asyncio.Event()
        self._looked = 0.0
        """When, on the loop's clock."""
        self._fresh: dict[str, Turn] = {}
        """Turns whose end the last look was the first after."""

    def turn_ended(self, run: RunWatch) -> None:
        """A turn of a run that stays has ended."""
        last = run.conversation.last
        if last is None or last.ended is None or not run.run.facts.stays:
            return
        now, own = boot_time(), run.run.own()
        # In a sandbox there are two of its own above the agent.
        process = run.run.process if own is None else own.process
        turn = Turn(run.run_id, process, now - (last.ended - last.started) - _EARLIER, now)
        earlier = self._ended.get(run.run_id)
        self._ended[run.run_id] = turn if earlier is None else Turn(turn.run_id, turn.process, earlier.began, now)
        self._runs[run.run_id] = run
        self._news.set()

    def forget(self, run_id: str) -> None:
        """A run is not watched any more."""
        self._runs.pop(run_id, None)
        self._ended.pop(run_id, None)
        self._fresh.pop(run_id, None)
        self._known.pop(run_id, None)

    async def run(self) -> None:
        """Look as long as there is anything to look at, until cancelled."""
        while True:
            await self._due()
            new, self._ended = self._ended, {}
            # Once more: one that was between two programs then did not show whose it was.
            ended, self._fresh = {**self._fresh, **new}, new
            try:
                found = await self._worker.do(partial(_look, ended, dict(self._known)))
            except OSError as error:
                log.warning("background_not_seen", reason=error.strerror)
            else:
                self._take(found)
            self._looked = asyncio.get_running_loop().time()

    async def _due(self) -> None:
        """Wait until a turn has ended, or what is known is to be looked at again."""
        again = _SOON if self._fresh else _EVERY if self._known else None
        try:
            async with asyncio.timeout(again):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()
        await asyncio.sleep(max(_SETTLED, self._looked + _SOON - asyncio.get_running_loop().time()))

    def _take(self, found: Mapping[str, Look]) -> None:
        for run_id, look in found.items():
            run = self._runs.get(run_id)
            if run is None:
                continue
            if look.known:
                self._known[run_id] = look.known
            else:
                self._known.pop(run_id, None)
            run.background(shown(look.names))


def _look(ended: Mapping[str, Turn], known: Mapping[str, Sequence[ProcessIdentity]]) -> Mapping[str, Look]:
    parents = read_parents() if ended else {}
    found = {}
    for run_id in {*ended, *known}:
        new = left_running(ended[run_id], parents) if run_id in ended else ()
        alive = still_running((*known.get(run_id, ()), *new))
        found[run_id] = Look(alive, names_of(alive))
    return found


def shown(names: Sequence[str]) -> tuple[str, ...]:
    """The names of what runs, few and short."""
    few = [name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…" for name in names[:_MOST_NAMES]]
    more = len(names) - len(few)
    return (*few, f"and {more} more") if more else tuple(few)
