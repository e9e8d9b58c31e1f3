"""Finds out how a run ended: what its launcher wrote, or why it wrote nothing."""

from __future__ import annotations

import asyncio

from agentd.process.identity import ProcessIdentity, runs_script
from agentd.supervise.host import Host
from agentd.supervise.policy import Exit
from agentd.tmux.errors import TmuxError, TmuxUnreachableError
from agentd.tmux.panes import Pane

_PATIENCE = 10.0
"""Seconds that a launcher has to write the status of an agent that ended; it takes a millisecond."""
_LOOK = 0.02
_TMUX_LIMIT = 1.0
"""Seconds for tmux to say what is in the pane."""


async def find_exit(host: Host, run_id: str, pane: Pane | None, launcher: ProcessIdentity | None) -> Exit:
    """Wait for the exit status of a run whose process has ended; say why if there will be none."""
    until = host.clock.now() + _PATIENCE
    while True:
        # Looked at first: a launcher that has moved on has written its report before.
        launcher_lives = launcher is None or runs_script(launcher, run_id)
        report = host.runtime.read_exit(run_id)
        if report is not None and report.status is not None:
            return Exit.from_status(report.status)
        if report is not None:
            return Exit(error=report.error)
        if not launcher_lives or host.clock.now() >= until:
            return Exit(error=f"ended with an unknown status: {await _why(host, pane)}")
        await asyncio.sleep(_LOOK)


async def _why(host: Host, pane: Pane | None) -> str:
    try:
        async with asyncio.timeout(_TMUX_LIMIT):
            pid = None if pane is None else await host.tmux.process_in(pane)
    except (TmuxError, TmuxUnreachableError, TimeoutError):
        return "its launcher could not record it, its session was closed, or its launcher was killed"
    if pane is None or pid is None:
        return "its tmux session was closed, or its launcher was killed"
    if pid != pane.pid:
        return f"its pane {pane.pane_id} was given another program (pid {pid}), as tmux respawn-pane -k does"
    return "its launcher could not record it"
