"""The control loop: takes each change of the files, and looks at everything anew at every resync."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentd.daemon.careful_reader import CarefulReader
from agentd.daemon.inputs import Configuration, Inputs, SettledReader
from agentd.daemon.logs import Redactor
from agentd.daemon.reports import report_configuration
from agentd.daemon.status import DaemonStatus
from agentd.daemon.watch import Watcher
from agentd.supervise.desired import DesiredAgent
from agentd.supervise.plan import Action, plan
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
    changed
        Set when a file may have changed.
    interval
        Seconds between resyncs.
    on_ready
        Called after the first read.
    """

    inputs: Inputs
    reconciler: Reconciler
    status: DaemonStatus
    watcher: Watcher
    redactor: Redactor
    changed: asyncio.Event
    interval: float
    on_ready: Callable[[], None]

    async def run(self) -> None:
        """Run until cancelled."""
        reader = SettledReader(self.inputs, self._stops)
        careful = CarefulReader(reader.next_change)
        ready = False
        loop = asyncio.get_running_loop()
        resync = loop.time() + self.interval
        while True:
            configuration = await careful.next_change(self.status.configuration)
            if configuration is not None:
                self.redactor.update(reader.secret_values)
                self._take(configuration)
            await self.watcher.refresh()
            if not ready:
                ready = True
                self.on_ready()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(resync):
                    await self.changed.wait()
            self.changed.clear()
            if loop.time() >= resync:
                resync = loop.time() + self.interval
                self.reconciler.reconcile()
                self.reconciler.look_soon()
                await self.reconciler.observe()

    def _take(self, configuration: Configuration) -> None:
        before = self.status.configuration
        self.status.take(configuration)
        report_configuration(self.reconciler.host, configuration, before)
        if configuration.desired is not None:
            self.reconciler.declare(configuration.desired)

    def _stops(self, desired: Sequence[DesiredAgent]) -> bool:
        """Whether a configuration would stop an agent that runs."""
        observed = [agent.life.view for agent in self.reconciler.agents.values()]
        operations = plan([agent.view for agent in desired], observed)
        return any(operation.action in (Action.STOP, Action.RESTART) for operation in operations)
