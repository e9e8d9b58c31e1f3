"""Holds the runs of one agent to its limits, and tells which of them ran out of memory."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Protocol

from agentd.model.events import EventKind
from agentd.model.limits import Limits
from agentd.model.spec import AgentType
from agentd.process.identity import ProcessIdentity
from agentd.process.proc import PROC, read_bytes
from agentd.sandbox.bubblewrap import PROCESSES
from agentd.sandbox.gvisor import RUNSC, processes_beside
from agentd.supervise.host import Host
from agentd.supervise.life import Life
from agentd.supervise.policy import Exit
from agentd.supervise.record import Description
from agentd.supervise.reporter import Reporter
from agentd.supervise.run_handle import RunHandle

_LONGEST_NAME = 64
"""Bytes; the kernel cuts the name of a process at 15."""

_RECENT = 10.0
"""Seconds that an agent may take to end in failure after a process of it was killed for lack of memory."""


def _extra(described: Description, pid: int | None, limits: Limits) -> int:
    """Processes of a sandbox that a former daemon made, beside the agent's."""
    if described.type != AgentType.SANDBOXED:
        return 0
    name = None if pid is None else read_bytes(f"{PROC}/{pid}/comm", _LONGEST_NAME)
    by_gvisor = name is not None and name.startswith(RUNSC.encode())
    return processes_beside(limits.pid_limit or 0) if by_gvisor else PROCESSES


class _Agent(Protocol):
    life: Life


async def admit(host: Host, agent: _Agent, run_id: str, process: ProcessIdentity, extra: int) -> None:
    """Put the process of a run that waits into its control group."""
    name, limits = agent.life.name, agent.life.policy.limits
    await host.groups.admit(run_id, name, process.pid, limits, extra)
    if agent.life.policy.limits != limits:
        await host.groups.change(run_id, name, agent.life.policy.limits)


async def apply_limits(host: Host, life: Life) -> None:
    """Apply the limits that are declared now to the run there is."""
    if life.run is not None:
        await host.groups.change(life.run.id, life.name, life.policy.limits)


def find_group(host: Host, life: Life, described: Description, handle: RunHandle) -> None:
    """Find the control group of a run that a former daemon launched, and whether the run still waits for one."""
    process = host.runtime.read_process(handle.run_id)
    pid = None if process is None else process.pid
    handle.held = host.runtime.is_held(handle.run_id)
    limits = life.policy.limits
    handle.extra = _extra(described, pid, limits)
    host.groups.find(handle.run_id, pid, handle.extra, limits)


def report_oom(reporter: Reporter, life: Life, run_id: str, kills: int) -> bool:
    """Report that the kernel has killed so many processes of a run so far; says whether that is news."""
    run = life.run
    if run is None or run.id != run_id or run.ended is not None or kills <= run.oom_kills:
        return False
    new = kills - run.oom_kills
    reason = f"the kernel killed {'a process' if new == 1 else f'{new} processes'} of it, for lack of memory"
    reporter.emit(logging.WARNING, "agent_oom", EventKind.OOM, reason, run=run.id, kills=kills)
    return True


def with_reason(life: Life, ended: Exit, now: float) -> Exit:
    """Say of an end in failure that it was for lack of memory, if it was."""
    run = life.run
    if run is None or run.oom_at is None or life.stop is not None or ended.succeeded(life.policy):
        return ended
    if now - run.oom_at > _RECENT:
        return ended
    what = "it" if ended.signal is not None else "a process of it"
    return replace(ended, oom=f"the kernel killed {what}, for lack of memory")
