"""Finds, at each resync, agents on whose workdir another file system was mounted since their launch.

They are still in the folder below it, which nobody else sees any more. A folder that was renamed, replaced on its own
file system, or unmounted below its agent is no reason to end that.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import structlog

from agentd.files.answering import NotAnsweringError
from agentd.launch.preflight import PreflightError
from agentd.model.events import Event, EventKind
from agentd.process.proc import PROC
from agentd.supervise.agent import Agent
from agentd.supervise.host import Host
from agentd.supervise.launching import check_launch

log = structlog.get_logger(__name__)

REASON = "another file system is mounted on its workdir"


class Overmounts:
    """Remembers which workdirs differed from what their agents were launched in at the last look."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._suspects: set[str] = set()
        """Runs."""
        self._agreed: dict[str, int] = {}
        """By run, the device of its workdir and of its launcher, which stays where it is."""

    async def look(self, agents: Iterable[Agent]) -> None:
        """Restart the agents whose workdir was covered at the last look too, where the new one can be used.

        Each workdir is looked at once, and each launcher once in its life, as long as both are on one device.
        """
        runs = {
            run.id: (agent, _launcher(pane.pid))
            for agent in agents
            if (pane := agent.pane) and agent.life.state.live and (run := agent.life.run)
        }
        now = await self._devices({agent.described.workdir for agent, _ in runs.values()})
        unsure = {
            run_id: (agent, launcher, now[agent.described.workdir])
            for run_id, (agent, launcher) in runs.items()
            if agent.described.workdir in now and self._agreed.get(run_id) != now[agent.described.workdir]
        }
        then = await self._devices({launcher for _, launcher, _ in unsure.values()})
        self._agreed = {each: device for each, device in self._agreed.items() if each in runs and each not in unsure}
        before, self._suspects = self._suspects, set()
        for run_id, (agent, launcher, device) in unsure.items():
            if launcher not in then:
                continue
            if then[launcher] == device:
                self._agreed[run_id] = device
                continue
            self._suspects.add(run_id)
            if run_id in before and await self._is_usable(agent, Path(launcher)) and agent.life.run is not None:
                if agent.life.run.id != run_id:
                    continue
                log.info("plan", action="restart", agent=agent.name, reason=REASON)
                data = {"action": "restart", "fields": ("workdir",)}
                self._host.emit(Event(EventKind.CHANGED, agent.name, REASON, data))
                agent.mounted_over(REASON)

    async def _devices(self, folders: Iterable[str]) -> dict[str, int]:
        found = await self._host.preflight.looks.each(sorted(map(Path, folders)), _device, joined=True)
        return {str(path): device for path, device in found.items() if isinstance(device, int)}

    async def _is_usable(self, agent: Agent, launcher: Path) -> bool:
        desired = agent.life.desired
        if desired is None:
            return False
        workdir = desired.spec.workdir
        try:
            if not await self._host.preflight.looks.look(workdir, lambda: _is_covered(workdir, launcher)):
                return False
            await check_launch(self._host, desired)
        except (NotAnsweringError, PreflightError) as error:
            log.debug("agent_not_moved", agent=agent.name, reason=str(error))
            return False
        return True


def _launcher(pid: int) -> str:
    return f"{PROC}/{pid}/cwd"


def _device(folder: Path) -> int | None:
    try:
        return folder.stat().st_dev
    except OSError:
        return None


def _is_covered(workdir: Path, launcher: Path) -> bool:
    """Whether a launcher is in the folder below the one that its workdir's path leads to.

    A process keeps the name of a folder that is covered; one that was renamed, removed or unmounted has another. In
    another mount namespace the same name may be another folder for good.
    """
    try:
        spaces = {os.stat(process / "ns/mnt").st_ino for process in (launcher.parent, Path(f"{PROC}/self"))}  # noqa: PTH116
        return len(spaces) == 1 and launcher.readlink() == workdir.resolve()
    except OSError:
        return False
