"""What all agents share: tmux, the runtime directory, processes, time."""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo

from agentd.launch.preflight import Preflight
from agentd.launch.rundir import RuntimeDirectory
from agentd.limits.groups import RunGroups
from agentd.model.events import EventSink
from agentd.model.states import AgentState
from agentd.model.user import AgentUser
from agentd.process.reaper import Reaper
from agentd.sandbox.egress.service import Egress
from agentd.sandbox.maker import Sandboxes
from agentd.supervise.accounts import Accounts
from agentd.supervise.life import Instant
from agentd.supervise.run_recorder import RunRecorder
from agentd.supervise.run_watcher import NoWatcher, RunWatcher
from agentd.supervise.scheduler import Scheduler
from agentd.supervise.work_folders import WorkFolders
from agentd.tmux.server import TmuxServer

_JUMP = 0.5
"""Seconds by which the wall clock must have moved to be taken as set anew."""

_LOOK_AFTER = 0.02
"""Seconds between looks whether another agent has given up a session name."""


class Clock:
    """The clocks, the jitter and the ids of runs.

    Parameters
    ----------
    prefix
        How the names of runs begin.
    """

    def __init__(self, prefix: str = "") -> None:
        self._offset = self.wall() - self.now()
        # Unique over daemons by chance, within one by counting: a number from the kernel for each event cost 3 calls
        # an agent.
        self._prefix = prefix + secrets.token_hex(6)
        self._instants = itertools.count()

    def now(self) -> float:
        """Monotonic seconds; the event loop's timers count on the same clock."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def today(self) -> date:
        """The local date."""
        return datetime.fromtimestamp(self.wall(), tz=UTC).astimezone().date()

    def offset(self) -> float:
        """Seconds between the wall clock and the monotonic clock, constant except for jumps of the wall clock.

        Without that, a time ahead computed twice could differ by the moment between two readings of the clocks.
        """
        offset = self.wall() - self.now()
        if abs(offset - self._offset) > _JUMP:
            self._offset = offset
        return self._offset

    def instant(self, zone: tzinfo = UTC) -> Instant:
        """The present moment, with jitter and an id for a run."""
        jitter = random.uniform(-1, 1)  # noqa: S311 (not for secrecy)
        return Instant(self.now(), self.wall(), jitter, f"{self._prefix}{next(self._instants):06x}", zone)


class SessionNames:
    """Which agent holds which session name, so that a name passes from one agent to another in order."""

    def __init__(self) -> None:
        self._holders: dict[str, str] = {}

    def free_for(self, session: str, agent: str) -> bool:
        """Whether nobody else holds a name."""
        return self._holders.get(session, agent) == agent

    async def wait_free(self, session: str, agent: str, wanted: Callable[[], bool]) -> bool:
        """Wait until nobody else holds a name, or until it is no longer wanted; says whether it is free."""
        while not self.free_for(session, agent):
            await asyncio.sleep(_LOOK_AFTER)
            if not wanted():
                return False
        return True

    def claim(self, session: str, agent: str) -> None:
        """Take a name."""
        self._holders[session] = agent

    def release(self, session: str, agent: str) -> None:
        """Give a name up."""
        if self.free_for(session, agent):
            self._holders.pop(session, None)


@dataclass(slots=True)
class Host:
    """What all agents share."""

    tmux: TmuxServer
    runtime: RuntimeDirectory
    reaper: Reaper
    user: AgentUser
    base_environment: Mapping[str, str] = field(repr=False)
    """What agents inherit before their own variables."""
    path_origin: str
    """Where the PATH in it comes from, for people."""
    slots: asyncio.Semaphore
    """Launches that may be under way at once."""
    folders: WorkFolders
    preflight: Preflight
    sandboxes: Sandboxes
    groups: RunGroups
    egress: Egress
    accounts: Accounts
    """What events tell of the accounts of providers."""
    scheduler: Scheduler
    """Starts agents by the clock."""
    emit: EventSink
    """Takes each event."""
    state_changed: Callable[[AgentState | None], None]
    """Told the new state of an agent, when it is another."""
    clock: Clock = field(default_factory=Clock)
    open_files: int | None = None
    """Soft limit of open files that agents get; ``None`` for the one that they inherit."""
    debug: bool = False
    redact: Callable[[str], str] = str
    """Takes secret values out of a text that will be logged."""
    runs: dict[str, Callable[[], None]] = field(default_factory=dict)
    """Whom to tell that a report of a run may be there, by the run's id."""
    doings: dict[str, Callable[[], None]] = field(default_factory=dict)
    """Whom to tell that a run is doing something else, by the run's id."""
    sessions: SessionNames = field(default_factory=SessionNames)
    recorder: RunRecorder = field(default_factory=RunRecorder)
    """Keeps what runs print."""
    watcher: RunWatcher = field(default_factory=NoWatcher)
    """Watches what runs do."""

    def does(self, run_id: str) -> None:
        """Pass on a watcher's word that a run is doing something else."""
        tell = self.doings.get(run_id)
        if tell is not None:
            tell()

    def hint(self, run_id: str) -> None:
        """Pass on a launcher's hint that a report of this run is there."""
        tell = self.runs.get(run_id)
        if tell is not None:
            tell()
