"""Writes the record of one agent for a later daemon: beside its run, or in tmux' anchor session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from agentd.model.spec import Policy
from agentd.supervise.applying import Hold
from agentd.supervise.host import Host
from agentd.supervise.life import Life
from agentd.supervise.record import Description, Record, under_way
from agentd.supervise.stalls import Stalled
from agentd.supervise.usage_limits import Limited
from agentd.tmux.errors import TmuxError, TmuxUnreachableError

log = structlog.get_logger(__name__)

ENDED_PREFIX = "@agentd_ended_"
"""Options of the anchor session with the records of ended agents whose own session is gone."""

_DELAY = 0.25
"""Seconds in which several changes are recorded as one. Until then the record of the launch, which is written together
with it, and the launcher's reports tell a later daemon as much."""


class RecordKeeper:
    """Keeps the record of one agent current.

    Parameters
    ----------
    on_due
        Called when `write` is to be awaited soon.
    """

    def __init__(self, host: Host, name: str, on_due: Callable[[], None]) -> None:
        self._host = host
        self._name = name
        self._on_due = on_due
        self._timer: asyncio.TimerHandle | None = None
        self.due = False
        """Whether it has to be written."""
        self._written: str | None = None
        """Beside the run there is."""
        self._remembered: str | None = None
        """In the anchor session."""

    def launched(self, text: str | None) -> None:
        """The run there is was launched with this record, or its pane is closed."""
        self._written = text

    def lost(self) -> None:
        """Have the record beside the run, which was removed, written again."""
        self._written = None
        self.require()

    def remembered(self, text: str) -> None:
        """A record stands in the anchor session already."""
        self._remembered = text

    def changed(self, before: Life, life: Life, *, pane: bool) -> None:
        """Have it written if a change may have made it wrong; while there is a `pane`, that of a launch holds."""
        outdated = not under_way(life) or _outlived(life) != _outlived(before) if pane else life.state.ended
        if not outdated:
            return
        if (not under_way(life) or life.policy == before.policy) and not life.gone:
            # No report of a launcher tells a later daemon what was decided after an end, nor which processes the kernel
            # has killed, so that is written at once.
            self.require()
        elif self._timer is None and not life.gone:
            self._timer = asyncio.get_running_loop().call_later(_DELAY, self._late)

    def _late(self) -> None:
        self._timer = None
        self.require()

    def require(self) -> None:
        """Have it written at once."""
        self.due = True
        self._on_due()

    def take_due(self) -> bool:
        """Whether it has to be written; from now on it counts as done."""
        due, self.due = self.due, False
        return due

    async def write(self, life: Life, described: Description, *, run_id: str | None) -> None:
        """Write it, where it is not written already.

        Parameters
        ----------
        run_id
            The run whose pane there is, if there is one.
        """
        if life.gone and run_id is not None:
            return
        try:
            if run_id is not None:
                text = Record.of(life, described).dump()
                if text != self._written:
                    self._host.runtime.write_record(run_id, text)
                    self._written = text
            ran = life.run is not None and life.run.started is not None
            remember = run_id is None and life.state.ended and ran and not life.gone
            text_or_none = Record.of(life, described).dump() if remember else None
            if text_or_none != self._remembered:
                await self._host.tmux.set_global(ENDED_PREFIX + self._name, text_or_none)
                self._remembered = text_or_none
        except TmuxUnreachableError as error:
            log.debug("agent_record_not_written", agent=self._name, reason=str(error))
        except (OSError, TmuxError) as error:
            log.warning("agent_record_not_written", agent=self._name, reason=str(error))

    def cancel(self) -> None:
        """Ask for nothing any more, and release the callback."""
        if self._timer is not None:
            self._timer.cancel()
        self._on_due = lambda: None


def _outlived(life: Life) -> tuple[Policy, int, Limited | None, Hold | None, Stalled | None]:
    """What changes while a run is under way, and is not among the launcher's reports."""
    limited = None if life.limited is None else life.limited.kept
    hold = None if life.hold is None else life.hold.kept
    return life.policy, 0 if life.run is None else life.run.oom_kills, limited, hold, life.stalled
