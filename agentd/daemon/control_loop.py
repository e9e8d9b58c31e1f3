"""The control loop: takes each change of the files, and looks at everything anew at every resync."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass

from agentd.daemon.configuration import Configuration
from agentd.daemon.error_boundary import ErrorBoundary
from agentd.daemon.folder_record import FolderRecord
from agentd.daemon.inputs import Inputs
from agentd.daemon.outgoing import Outgoing
from agentd.daemon.reports import report_configuration
from agentd.daemon.stable_reader import StableReader
from agentd.daemon.status import DaemonStatus
from agentd.daemon.watch import Watcher
from agentd.model.approvals import ApprovalRule
from agentd.settings.logs import Redactor
from agentd.supervise.plan import Action
from agentd.supervise.reconciler import Reconciler


@dataclass(frozen=True, slots=True)
class ControlLoop:
    """Brings what the files declare to the reconciler.

    Parameters
    ----------
    status
        Shows what was read.
    watcher
        Told to take the files to watch anew after each read.
    redactor
        Given the secrets in force before anything is logged of them.
    outgoing
        Given who is told what before anything is told.
    folder_record
        Remembers the folders of the drop-ins for the next daemon.
    changed
        Set when a file may have changed.
    interval
        Seconds between resyncs.
    on_ready
        Called after the first read.
    on_resync
        Called at each resync.
    approve
        Given the rules for what agents ask for.
    """

    inputs: Inputs
    reconciler: Reconciler
    status: DaemonStatus
    watcher: Watcher
    redactor: Redactor
    outgoing: Outgoing
    folder_record: FolderRecord
    changed: asyncio.Event
    interval: float
    on_ready: Callable[[], None]
    on_resync: Callable[[], None]
    approve: Callable[[Sequence[ApprovalRule]], None]

    async def run(self) -> None:
        """Run until cancelled."""
        reader = StableReader(self.inputs, self._stops)
        boundary = ErrorBoundary(reader.next_change)
        ready = False
        loop = asyncio.get_running_loop()
        resync = loop.time() + self.interval
        passes = self.status.passes
        while True:
            passes.begin()
            reading = boundary.next_change(self.status.configuration)
            resyncs = loop.time() >= resync
            if resyncs:
                resync = loop.time() + self.interval
                configuration = await self._look_at_everything(reading)
            else:
                passes.does("reads the files")
                configuration = await reading
            # Before anything is launched: what a later daemon needs to know when it runs.
            passes.does("notes the folders in tmux")
            await self.folder_record.keep()
            if configuration is not None:
                self.redactor.update(reader.secret_values)
                passes.does("brings the agents to what is declared")
                self._take(configuration)
            if not resyncs or configuration is not None or self.watcher.outdated:
                passes.does("watches the files")
                await self.watcher.refresh()
            if not ready:
                ready = True
                self.on_ready()
            if not reader.unsettled:
                expiry = self.inputs.next_expiry
                until = resync if expiry is None else min(resync, expiry)
                passes.end(max(until, loop.time()))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(until):
                        await self.changed.wait()
            self.changed.clear()

    async def _look_at_everything(self, reading: Coroutine[None, None, Configuration | None]) -> Configuration | None:
        """Do all that a resync does at once, so that its looks share one change of threads."""
        self.on_resync()
        self.status.passes.does("reads the files and looks at tmux")
        self.reconciler.reconcile()
        self.reconciler.paths.look()
        configuration, _, _ = await asyncio.gather(reading, self.watcher.refresh(), self.reconciler.panes.observe())
        return configuration

    def _take(self, configuration: Configuration) -> None:
        before = self.status.configuration
        self.status.take(configuration)
        self.outgoing.configure(configuration)
        report_configuration(self.reconciler.host, configuration, before)
        if configuration.desired is not None:
            self.approve(configuration.approvals)
            self.reconciler.declare(
                configuration.desired, configuration.unknown, configuration.pool, configuration.capacity
            )

    def _stops(self, configuration: Configuration) -> bool:
        """Whether a configuration would stop an agent that runs."""
        if configuration.desired is None:
            return False
        operations = self.reconciler.plan_for(configuration.desired, configuration.unknown)
        return any(operation.action in (Action.STOP, Action.RESTART) for operation in operations)
