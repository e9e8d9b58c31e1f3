"""Looks at the screens of agents of which nothing better tells what they do.

One question to tmux a second says which panes have printed something, and only while there is such an agent. What has
changed is captured, a bounded number of screens at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from agentd.supervise.host import Host
from agentd.tmux.errors import TmuxError, TmuxUnreachableError
from agentd.tmux.panes import Pane, PaneNews
from agentd.turns.thread import TurnsThread

log = structlog.get_logger(__name__)

_INTERVAL = 1.0
"""Seconds between two looks."""

_MOST_CAPTURED = 20
"""Screens at one look: each costs tmux 1 ms, and the rules 1 to 3 ms of another thread."""


@dataclass(frozen=True, slots=True)
class _Looked:
    """A pane as it was captured."""

    news: PaneNews
    settled: bool
    """Whether it had printed nothing for so long that tmux' clock, of whole seconds, tells of what it prints next."""


@dataclass(slots=True)
class TurnScreens:
    """Hands screens to the thread that watches turns."""

    host: Host
    thread: TurnsThread
    harnesses: frozenset[str]
    """Those that there are rules for."""
    wall: Callable[[], float]
    _looked: dict[str, _Looked] = field(default_factory=dict)
    """By run."""
    _last: float = 0.0
    """When tmux was asked last."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL)
            try:
                await self.look()
            except (TmuxError, TmuxUnreachableError) as error:
                log.debug("screens_not_seen", reason=str(error))

    async def look(self) -> None:
        """Look once."""
        panes = self.thread.unseen(self.harnesses)
        self._looked = {run: looked for run, looked in self._looked.items() if run in panes}
        if not panes:
            return
        asked = self.wall()
        # One that was not settled has printed something in the second before the last look.
        since = self._last - 2.0 if panes.keys() <= self._looked.keys() else 0.0
        found = await self.host.tmux.list_news(max(0, int(since)))
        changed = [(run, pane, found[pane.pane_id]) for run, pane in panes.items() if self._is_due(run, pane, found)]
        # Those that were never seen, or whose title has changed, first; then those that have waited longest.
        changed.sort(key=lambda each: self._urgency(each[0], each[2]))
        for run, pane, news in changed[:_MOST_CAPTURED]:
            settled = news.active < self.wall() - 1.0
            try:
                screen = await self.host.tmux.show(pane, styled=True)
            except TmuxError as error:
                log.debug("screen_not_seen", run=run, reason=str(error))
                continue
            self._looked[run] = _Looked(news, settled)
            self.thread.saw(run, "\n".join(screen.rows), news.title)
        # What is left over is asked for again, whenever it printed.
        self._last = asked if len(changed) <= _MOST_CAPTURED else 0.0

    def _is_due(self, run: str, pane: Pane, found: dict[str, PaneNews]) -> bool:
        news, looked = found.get(pane.pane_id), self._looked.get(run)
        return news is not None and (looked is None or not looked.settled or looked.news != news)

    def _urgency(self, run: str, news: PaneNews) -> tuple[bool, float]:
        looked = self._looked.get(run)
        if looked is None:
            return False, 0.0
        return looked.news.title == news.title, looked.news.active
