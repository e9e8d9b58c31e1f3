"""What ends a run and closes its pane, as a stop asks for it."""

from __future__ import annotations

import asyncio
import signal

from agentd.process.identity import signal_group
from agentd.process.reaper import ProcessTree
from agentd.supervise.host import Host
from agentd.supervise.reporter import Reporter
from agentd.supervise.run_handle import RunHandle
from agentd.tmux.errors import TmuxError, TmuxUnreachableError
from agentd.tmux.panes import Pane

_KEY_LIMIT = 1.0
"""Seconds for tmux to type a key: an agent's end waits no longer for a server that agents may hold up."""


async def type_key(host: Host, pane: Pane, key: str, reporter: Reporter) -> None:
    """Type a key into an agent's terminal."""
    try:
        async with asyncio.timeout(_KEY_LIMIT):
            await host.tmux.send_key(pane, key)
    except (TmuxError, TmuxUnreachableError, TimeoutError) as error:
        reason = str(error) or f"tmux did not answer within {_KEY_LIMIT:g} s"
        reporter.log.warning("agent_key_not_typed", key=key, reason=reason)


def terminate(host: Host, handle: RunHandle, reporter: Reporter) -> None:
    """Send SIGTERM to the process group of a run's agent."""
    if handle.process is not None:
        try:
            signal_group(handle.process, signal.SIGTERM, host.user.uid)
        except OSError as error:
            reporter.log.warning("agent_not_signalled", error=error.strerror)


async def close_pane(host: Host, pane: Pane) -> None:
    """Close a pane, however long tmux cannot be reached."""
    while True:
        try:
            await host.tmux.kill_pane(pane)
        except TmuxUnreachableError:
            await host.tmux.wait_connected()
        else:
            return


async def forget_run(host: Host, run_id: str) -> None:
    """End what the shell of an ended run may have started, now that the shell is gone, and remove the run's files."""
    await host.reaper.end(ProcessTree(run_id, None))
    host.runtime.remove_run(run_id)
    await host.groups.remove(run_id)
    host.groups.forget(run_id)


async def log_screen(host: Host, pane: Pane, reporter: Reporter) -> None:
    """Log what an agent's terminal shows, for ``--debug``."""
    try:
        screen = await host.tmux.capture(pane)
    except (TmuxError, TmuxUnreachableError) as error:
        reporter.log.debug("agent_screen_unreadable", reason=str(error))
    else:
        reporter.log.debug("agent_last_screen", screen=host.redact(screen))
