"""Sees to leases that are over while agentd is dead: a thread of agentd-fleet, which lives while Ray and agentd do not.

It takes the drop-ins back, which agentd sees once it starts; and where it does not answer ends their agents itself:
SIGTERM, and SIGKILL after their grace period. Everything in here blocks.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import threading
import time
import tomllib
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final

from agentd.api.client.blocking import UnixConnection
from agentd.fleet.guard import NOTICE, Held, Leased, hold
from agentd.jcard.drop_in_folder import SUFFIX
from agentd.jcard.edit.drop_ins import remove_drop_in
from agentd.launch.census import Instance, LivingRun, take_census
from agentd.model.spec import Policy
from agentd.process.ending import end_processes
from agentd.text.durations import DurationError, parse_duration

PERIOD: Final = 1.0
"""Seconds between two looks."""
_ANSWER: Final = 2.0
"""Seconds for agentd to answer."""
_AT_ONCE: Final = 64
"""Runs that are given their grace period at once."""


@dataclass(slots=True)
class Guard:
    """Watches the drop-ins of a fleet on this host.

    Parameters
    ----------
    folder
        ``jcard.d/fleet``.
    api_socket, tmux_socket, runtime
        Of its agentd.
    say
        Takes a line that says what was done.
    """

    folder: Path
    api_socket: Path
    tmux_socket: Path
    runtime: Path
    instance: Instance
    say: Callable[[str], object]
    notice: float = NOTICE
    _held: dict[str, Held] = field(default_factory=dict)
    _read: dict[str, tuple[tuple[int, int, int], Leased | None]] = field(default_factory=dict)

    def run(self, stopping: threading.Event) -> None:
        """Look again and again."""
        while not stopping.wait(PERIOD):
            try:
                self.look()
            except OSError as error:
                self.say(f"the drop-ins of the fleet cannot be watched: {error}")

    def look(self) -> None:
        """Take back and end what is over.

        Raises
        ------
        OSError
            If the folder or the processes cannot be read.
        """
        found = self._leased()
        now = time.monotonic()
        self._held = hold(self._held, found, now, time.time())
        over = {name for name, each in self._held.items() if each.over(now, self.notice)}
        if not over:
            return
        for name in over & found.keys():
            self._withdraw(name, found[name])
        listed = self._listed()
        if listed is None:
            self._end(over)
        else:
            # agentd is there, and ends them; what it does not list has ended.
            self._held = {name: each for name, each in self._held.items() if name not in over or name in listed}

    def _leased(self) -> dict[str, Leased]:
        found, read = {}, {}
        for path in self.folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                stamp = status.st_ino, status.st_mtime_ns, status.st_size
                known = self._read.get(path.stem)
                leased = known[1] if known is not None and known[0] == stamp else _leased(path, status.st_mtime)
                read[path.stem] = stamp, leased
                if leased is not None:
                    found[path.stem] = leased
        self._read = read
        return found

    def _withdraw(self, name: str, drop_in: Leased) -> None:
        path = self.folder / f"{name}{SUFFIX}"
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime == drop_in.renewed:
                remove_drop_in(path)
                self.say(f"the lease of {name} is over: its drop-in is taken back")

    def _listed(self) -> frozenset[str] | None:
        """Name the agents that agentd knows; ``None`` if it does not answer."""
        try:
            with contextlib.closing(UnixConnection(str(self.api_socket), _ANSWER)) as connection:
                connection.request("GET", "/v1/agents")
                answer = connection.getresponse()
                agents = json.loads(answer.read())
                if answer.status != HTTPStatus.OK or not isinstance(agents, list):
                    return None
                return frozenset(str(each["name"]) for each in agents if isinstance(each, dict))
        except (OSError, ValueError, KeyError, http.client.HTTPException):
            return None

    def _end(self, agents: Collection[str]) -> None:
        runs = [each for each in self._living().values() if each.agent in agents and each.marked]
        if not runs:
            return
        with ThreadPoolExecutor(_AT_ONCE, "fleet-guard") as threads:
            for ended in threads.map(self._end_run, runs):
                self.say(ended)

    def _end_run(self, run: LivingRun) -> str:
        assert run.agent is not None
        grace = self._held[run.agent].drop_in.grace
        ended = end_processes(run.run_id, sorted(run.marked, key=lambda each: each.pid), grace)
        count = f"{len(ended)} processes"
        return f"agentd does not answer, and the lease of {run.agent} is over: ended {count}"

    def _living(self) -> Mapping[str, LivingRun]:
        return take_census(self.instance, self.tmux_socket, self.runtime, os.geteuid()).runs


def _leased(path: Path, renewed: float) -> Leased | None:
    """Read what a drop-in says of its lease; ``None`` if it has none."""
    try:
        document = tomllib.loads(path.read_text())
        drop_in, agent = document.get("drop_in", {}), document.get("agent", {})
        if "lease" not in drop_in:
            return None
        grace = agent.get("grace_period")
        return Leased(
            renewed, parse_duration(drop_in["lease"]), Policy().grace_period if grace is None else parse_duration(grace)
        )
    except (ValueError, TypeError, AttributeError, DurationError):
        # Nobody but the Node writes here, and what is no drop-in has no agents.
        return None
