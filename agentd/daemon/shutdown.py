"""The end of the daemon: the signals that ask for it, whether the agents outlive it, and how they are stopped."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import structlog

from agentd.daemon.replacing import why_unusable
from agentd.files.looks import Looks
from agentd.process.reaper import ProcessTree
from agentd.process.signals import on_signal
from agentd.settings.flags import OnShutdown
from agentd.supervise.host import Host
from agentd.supervise.reconciler import Reconciler
from agentd.systemd.run import ServiceManager

log = structlog.get_logger(__name__)

_MARGIN = 15.0
"""Seconds after the longest grace period at which agentd ends even if an agent cannot be ended."""


@dataclass(frozen=True, slots=True)
class Signals:
    """The signals that the process got."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    stop_at_once: asyncio.Event = field(default_factory=asyncio.Event)
    replace: asyncio.Event = field(default_factory=asyncio.Event)

    def install(self, reload: Callable[[], None]) -> None:
        """Handle SIGTERM, SIGINT and SIGUSR2, and SIGHUP by `reload`, in the running loop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            on_signal(number, partial(self._stop, number))
        on_signal(signal.SIGHUP, reload)
        on_signal(signal.SIGUSR2, self.replace.set)

    def _stop(self, number: signal.Signals) -> None:
        if self.stop.is_set():
            log.warning("second_signal", signal=number.name, effect="stopping at once")
            self.stop_at_once.set()
        else:
            log.info("signal", signal=number.name)
        self.stop.set()


async def told_to_be_replaced(signals: Signals, looks: Looks) -> bool:
    """Wait until agentd is to end; says whether the program that is installed takes over its process."""
    while True:
        told = [asyncio.create_task(event.wait()) for event in (signals.stop, signals.replace)]
        await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED)
        for task in told:
            task.cancel()
        if signals.stop.is_set():
            return False
        signals.replace.clear()
        # A thread that hangs in the kernel would hold up the exchange of the program for ever.
        hung = looks.stuck
        reason = f"{', '.join(hung)} does not answer" if hung else await _why_unusable(signals.stop)
        if signals.stop.is_set():
            return False
        if reason is None:
            return True
        log.error("not_replaced", reason=reason, effect="this agentd goes on")


async def _why_unusable(stop: asyncio.Event) -> str | None:
    """Try the installed program, until agentd is to end."""
    trying, told = asyncio.create_task(why_unusable()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([trying, told], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (trying, told):
            task.cancel()
        await asyncio.wait([trying, told])
    return None if trying.cancelled() else trying.result()


async def keeps_agents(on_shutdown: OnShutdown, manager: ServiceManager | None) -> bool:
    """Whether the agents are to outlive this daemon: not where everything ends with the machine."""
    if on_shutdown is OnShutdown.STOP:
        return False
    return manager is None or not await manager.is_stopping()


async def stop_agents(reconciler: Reconciler, at_once: asyncio.Event) -> None:
    """Stop every agent within its grace period, or without grace once `at_once` is set."""
    graces = [agent.life.policy.grace_period for agent in reconciler.agents.values()]
    stopped = asyncio.create_task(reconciler.shut_down(), name="stop agents")
    told = asyncio.create_task(at_once.wait(), name="second signal")
    await asyncio.wait([stopped, told], timeout=max(graces, default=0) + _MARGIN, return_when=asyncio.FIRST_COMPLETED)
    if not stopped.done():
        reconciler.kill_now()
        await asyncio.wait([stopped], timeout=_MARGIN)
    if not stopped.done():
        log.error("agents_left", agents=sorted(reconciler.agents))
        stopped.cancel()
    told.cancel()
    await asyncio.wait([stopped, told])


async def close_server(host: Host) -> None:
    """Close the tmux server, and end what inspection shells may have started."""
    runs = host.runtime.run_ids()
    await host.tmux.kill_server()
    await asyncio.gather(*(host.reaper.end(ProcessTree(run_id, None)) for run_id in runs))
    await asyncio.gather(*(host.groups.remove(run_id) for run_id in runs))
    host.runtime.remove()
