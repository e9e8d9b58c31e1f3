"""The control groups of all runs: made before an agent runs, removed when nothing is left in them.

Nothing here fails: what cannot be held is said, with the reason.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from agentd.files.worker import in_thread
from agentd.limits.held_run import NO_GROUP, Held, HeldRun
from agentd.limits.ways import (
    Groups,
    Surroundings,
    apply,
    legacy_groups,
    scope_groups,
    stay,
    unified_groups,
    verify,
)
from agentd.model.limits import Enforcer, Limits
from agentd.process.cgroups.group import Group
from agentd.process.cgroups.hierarchies import UNIFIED
from agentd.process.cgroups.oom import OomWatch
from agentd.systemd.run import SLICE, ServiceManager, ServiceManagerError
from agentd.systemd.scopes import Scopes, run_of, scope_name

log = structlog.get_logger(__name__)

_SCOPE_LOOKS: Final = 400
_SCOPE_PAUSE: Final = 0.005
"""Seconds between looks whether systemd has put the process into the scope, which it does after it has answered."""
_REMOVE_TRIES: Final = 50
_REMOVE_PAUSE: Final = 0.02
"""Seconds; a group counts as in use for moments after its last process has ended."""
_READY_FOR: Final = 0.01
"""Seconds for which it need not be made ready again."""


class RunGroups:
    """Holds runs to their limits.

    Parameters
    ----------
    manager
        The systemd that makes scopes for agentd, if there is one.
    around
        Which control groups agentd is in.
    is_ours
        Whether a run is one of this agentd's.
    on_oom
        Told of a run of which the kernel has killed another process for lack of memory.
    """

    def __init__(
        self,
        manager: ServiceManager | None,
        around: Surroundings | None = None,
        is_ours: Callable[[str], bool] = lambda _run_id: True,
        on_oom: Callable[[str], None] = lambda _run_id: None,
    ) -> None:
        self._around = Surroundings.of() if around is None else around
        self._is_ours = is_ours
        self._on_oom = on_oom
        self._scopes = None if manager is None else Scopes(manager)
        ways = (unified_groups(self._around), legacy_groups(self._around))
        self._groups = [way for way in ways if isinstance(way, Groups)]
        self._why_not = "; ".join(way for way in ways if isinstance(way, str))
        self._runs: dict[str, HeldRun] = {}
        self._watch = OomWatch(self._may_have_killed)
        self._counted = 0
        """Kills of all runs that were told of."""
        self._expected = -_READY_FOR
        self._getting_ready: asyncio.Future[None] | None = None

    @property
    def enforcing(self) -> bool:
        """Whether runs can be held to anything here."""
        return self._scopes is not None or bool(self._groups)

    # -- a run's life

    def expect(self) -> None:
        """Have the kernel ready to move a process by the time that a launch has one.

        It waits for all processors, 10 ms, before it moves the first one after a while, and not for those that follow
        within 20 ms; a launch takes about as long to have a process.
        """
        now = time.monotonic()
        if self._scopes is None and self._groups and now - self._expected > _READY_FOR:
            self._expected = now
            self._getting_ready = in_thread("control groups", stay)

    async def admit(self, run_id: str, agent: str, pid: int, limits: Limits, extra: int) -> None:
        """Make the group of a run, and move its process into it before it executes the agent.

        Parameters
        ----------
        extra
            Processes that do not count against the agent's.
        """
        run = self._runs[run_id] = HeldRun(extra=extra)
        limits = _with_extra(limits, extra)
        if self._scopes is not None:
            await self._admit_by_systemd(run_id, run, agent, pid, limits)
        for way in self._groups:
            if run.group is not None:
                break
            try:
                run.failed = await asyncio.to_thread(_admit, way, run_id, pid, limits)
            except OSError as error:
                run.failed = dict.fromkeys(limits.declared(), f"{error.filename or way.enforcer}: {error.strerror}")
            else:
                run.group, run.enforcer = way.of(run_id), way.enforcer
        self._began(run_id, run)
        if run.failed:
            log.warning("limits_not_enforced", agent=agent, run=run_id, reasons=run.failed)

    async def _admit_by_systemd(self, run_id: str, run: HeldRun, agent: str, pid: int, limits: Limits) -> None:
        assert self._scopes is not None
        try:
            await self._scopes.start(run_id, pid, limits, f"agent {agent} of agentd, run {run_id}")
            group = await self._scope_around(run_id, pid)
        except ServiceManagerError as error:
            run.failed = dict.fromkeys(limits.declared(), f"systemd made no scope: {error}")
            return
        run.group, run.enforcer = group, Enforcer.SYSTEMD
        run.failed = verify(group, limits)

    async def _scope_around(self, run_id: str, pid: int) -> Group:
        """Wait until systemd has put a process into the scope that it was asked for."""
        for _ in range(_SCOPE_LOOKS):
            group = scope_groups(self._around, pid, scope_name(run_id))
            if group is not None:
                return group
            await asyncio.sleep(_SCOPE_PAUSE)
        raise ServiceManagerError(f"after {_SCOPE_LOOKS * _SCOPE_PAUSE:g} s process {pid} is not in it")

    async def change(self, run_id: str, agent: str, limits: Limits) -> None:
        """Apply other limits to a run."""
        run = self._runs.get(run_id)
        if run is None or run.group is None:
            return
        group, limits = run.group, _with_extra(limits, run.extra)
        if run.enforcer is Enforcer.SYSTEMD and self._scopes is not None:
            try:
                await self._scopes.limit(run_id, limits)
                run.changed(await asyncio.to_thread(verify, group, limits))
            except ServiceManagerError as error:
                run.changed(dict.fromkeys(limits.declared(), f"systemd did not change the scope: {error}"))
        else:
            run.changed(await asyncio.to_thread(_change, group, limits))
        if run.failed:
            log.warning("limits_not_enforced", agent=agent, run=run_id, reasons=run.failed)

    def find(self, run_id: str, pid: int | None, extra: int, limits: Limits) -> None:
        """Find the group that a former daemon made for a run.

        Parameters
        ----------
        pid
            A process of the run, if one is known: it tells where a group is that was made elsewhere.
        """
        if run_id in self._runs:
            self._runs[run_id].extra = extra
            return
        found = self._scope_of(run_id) or (None if pid is None else self._group_around(run_id, pid))
        if found is None:
            for way in self._groups:
                there = {name: path for name, path in way.of(run_id).folders.items() if path.is_dir()}
                if there:
                    found = way.enforcer, Group(there)
                    break
        if found is None:
            return
        enforcer, group = found
        run = self._runs[run_id] = HeldRun(enforcer, group, extra=extra)
        run.failed = verify(group, _with_extra(limits, extra))
        self._began(run_id, run)

    def left(self) -> set[str]:
        """Find the runs of this agentd that there are groups of."""
        found = {run_id for way in self._groups for run_id in way.runs()}
        found |= {run_id for scope in self._scope_folders() if (run_id := run_of(scope.name)) is not None}
        return {run_id for run_id in found if self._is_ours(run_id)}

    def _group_around(self, run_id: str, pid: int) -> tuple[Enforcer, Group] | None:
        around = Surroundings.of(Path(f"/proc/{pid}"))
        folders = {
            name: folder
            for name, path in around.paths.items()
            if path.endswith((f"/{run_id}", f"/{scope_name(run_id)}"))
            and (folder := Surroundings(self._around.places, around.paths).folder(name)) is not None
        }
        if not folders:
            return None
        if any(folder.name == scope_name(run_id) for folder in folders.values()):
            return Enforcer.SYSTEMD, Group(folders)
        return (Enforcer.UNIFIED if UNIFIED in folders else Enforcer.LEGACY), Group(folders)

    def _scope_of(self, run_id: str) -> tuple[Enforcer, Group] | None:
        folder = next((each for each in self._scope_folders() if each.name == scope_name(run_id)), None)
        return None if folder is None else (Enforcer.SYSTEMD, Group({UNIFIED: folder}))

    def _scope_folders(self) -> Sequence[Path]:
        """Where systemd keeps the scopes of the agents, in version 2."""
        own, place = self._around.folder(UNIFIED), self._around.places.get(UNIFIED)
        if self._scopes is None or own is None or place is None:
            return ()
        user = f"user.slice/user-{os.geteuid()}.slice/user@{os.geteuid()}.service"
        for above in (*own.parents, place.folder / user):
            if (above / SLICE).is_dir():
                return [each for each in (above / SLICE).iterdir() if each.is_dir()]
        return ()

    def _began(self, run_id: str, run: HeldRun) -> None:
        run.began(self._counted)
        if run.group is not None:
            run.watched = self._watch.add(run_id, run.group)

    async def remove(self, run_id: str) -> None:
        """Remove the groups of a run of which nothing is left; what they held is still reported."""
        run = self._runs.get(run_id)
        if run is None or run.group is None:
            return
        self._watch.discard(run_id)
        self._count(run)
        run.read_peaks()
        group, run.group = run.group, None
        if run.enforcer is Enforcer.SYSTEMD:
            # It removes its scopes itself.
            return
        problem: OSError | None = None
        for _ in range(_REMOVE_TRIES):
            try:
                await asyncio.to_thread(group.remove)
            except OSError as error:
                problem = error
                await asyncio.sleep(_REMOVE_PAUSE)
            else:
                return
        assert problem is not None
        log.warning("limit_not_removed", run=run_id, group=str(problem.filename), error=problem.strerror)

    def forget(self, run_id: str) -> None:
        """Forget what is known of a run."""
        self._runs.pop(run_id, None)

    def group(self, run_id: str) -> Group | None:
        """The groups of a run, by which all of its processes are found."""
        run = self._runs.get(run_id)
        return None if run is None else run.group

    # -- what is known

    def oom_kills(self, run_id: str, *, killed: bool = False) -> int:
        """How many processes of a run the kernel has killed for lack of memory.

        Parameters
        ----------
        killed
            Whether its own process just ended by SIGKILL, and with it perhaps its group.
        """
        run = self._runs.get(run_id)
        if run is None:
            return 0
        if not self._count(run) and killed:
            before = run.oom_kills
            run.count_gone(self._counted)
            self._counted += run.oom_kills - before
        run.read_peaks()
        return run.oom_kills

    def resync(self) -> None:
        """Look at the runs that cannot be watched."""
        for run_id, run in list(self._runs.items()):
            if run.group is not None and not run.watched:
                self._may_have_killed(run_id)

    def report(self, run_id: str | None, limits: Limits) -> Mapping[str, Held]:
        """Say what holds a run to its limits; of one that is not launched yet, what would."""
        run = None if run_id is None else self._runs.get(run_id)
        if run is not None:
            return run.report(limits)
        if run_id is not None and self.enforcing:
            return {name: Held(value, None, NO_GROUP) for name, value in limits.declared().items()}
        return {name: Held(value, *self.foreseen(name)) for name, value in limits.declared().items()}

    def foreseen(self, name: str) -> tuple[Enforcer | None, str | None]:
        """What would hold a run to a limit, or why nothing would."""
        if self._scopes is not None:
            return Enforcer.SYSTEMD, None
        for way in self._groups[:1]:
            reason = way.lacks.get(name)
            return (way.enforcer, None) if reason is None else (None, reason)
        return None, self._why_not

    def _count(self, run: HeldRun) -> bool:
        before = run.oom_kills
        there = run.count()
        self._counted += run.oom_kills - before
        return there

    def _may_have_killed(self, run_id: str) -> None:
        run = self._runs.get(run_id)
        if run is None:
            return
        before = run.oom_kills
        self._count(run)
        run.read_peaks()
        if run.oom_kills > before:
            self._on_oom(run_id)

    def close(self) -> None:
        """Stop watching."""
        self._watch.close()


def _with_extra(limits: Limits, extra: int) -> Limits:
    return limits if limits.pid_limit is None else replace(limits, pid_limit=limits.pid_limit + extra)


def _admit(way: Groups, run_id: str, pid: int, limits: Limits) -> dict[str, str]:
    way.make_ready()
    group = way.of(run_id)
    group.make()
    failed = apply(group, limits, everything=False)
    group.join(pid)
    return {name: way.lacks.get(name, reason) for name, reason in failed.items()}


def _change(group: Group, limits: Limits) -> dict[str, str]:
    return apply(group, limits, everything=True)
