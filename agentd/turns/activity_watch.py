"""What one run is doing, made of what its witnesses say: shown at once, told as an event once it has lasted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from agentd.turns.activity import SCREEN, Doing, Seen, Shown, due, news, show, weigh
from agentd.turns.conversation import Conversation
from agentd.turns.limit_watch import LimitWatch


class Watched(Protocol):
    """The run whose activity it is."""

    @property
    def conversation(self) -> Conversation:
        """Its turns."""
        ...

    def shows(self) -> None:
        """What is shown of it has changed."""
        ...


class ActivityWatch:
    """The activity of a run.

    Parameters
    ----------
    run
        Whose activity it is.
    limits
        Of the account.
    wall
        Seconds since the epoch.
    tell
        Takes an activity that has lasted, and the one that was told before.
    """

    def __init__(
        self,
        run: Watched,
        limits: LimitWatch,
        wall: Callable[[], float],
        tell: Callable[[Doing | None, Doing], None],
    ) -> None:
        self.current: Shown | None = None
        self._run = run
        self._limits = limits
        self._wall = wall
        self._tell = tell
        self._seen: dict[str, Seen] = {}
        self._background: tuple[str, ...] = ()
        self._timer: asyncio.TimerHandle | None = None
        self._over = False

    @property
    def screen(self) -> Seen | None:
        """What the terminal showed last."""
        return self._seen.get(SCREEN)

    def seen(self, source: str, seen: Seen | None) -> None:
        """A witness says what the agent is doing."""
        if self._seen.get(source) == seen:
            return
        if seen is None:
            self._seen.pop(source, None)
        else:
            self._seen[source] = seen
        self.judge()

    def background(self, names: tuple[str, ...]) -> None:
        """What still runs of turns that have ended."""
        if names != self._background:
            self._background = names
            self.judge()

    def forget(self) -> None:
        """Believe none of the witnesses any more."""
        self._seen.clear()

    def stop(self) -> None:
        """Tell nothing more."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()

    def judge(self) -> None:
        """Weigh anew what is known."""
        conversation = self._run.conversation
        # While another turn is under way, how the last one ended says nothing of it.
        end = None if conversation.last is None or conversation.turn is not None else conversation.last.end
        doing = weigh(self._seen, end, self._background)
        before = self.current
        self.current = show(before, doing, self._wall())
        limited = self._limits.judge(self.current, conversation.last)
        if self.current is not before or limited:
            self._run.shows()
        if self.current is not before:
            self._schedule()

    def _schedule(self) -> None:
        assert self.current is not None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        at = due(self.current)
        if at is not None and not self._over:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, at - self._wall()), self._settle)

    def _settle(self) -> None:
        self._timer = None
        assert self.current is not None
        before = self.current.told
        # The wall clock may have been set back meanwhile.
        self.current, new = news(self.current, max(self._wall(), due(self.current) or 0.0))
        if new:
            self._tell(before, self.current.doing)
