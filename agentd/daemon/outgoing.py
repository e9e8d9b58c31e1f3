"""Who is told what happens, beside those who ask: people and programs by ``[[notify]]``, a collector by ``[otel]``."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from agentd.daemon.configuration import Configuration
from agentd.model.events import Event
from agentd.notify.notifier import Notifier
from agentd.otel.exporter import Exporter
from agentd.otel.values import AgentFacts


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Tells of events by the configuration in force."""

    notifier: Notifier
    exporter: Exporter

    def configure(self, configuration: Configuration) -> None:
        """Follow this configuration from now on."""
        self.notifier.configure(configuration.notify, configuration.signing)
        if configuration.desired is not None:
            specs = [agent.spec for agent in configuration.desired]
            facts = {spec.name: AgentFacts(spec.harness, spec.model) for spec in specs}
            self.exporter.configure(configuration.telemetry, configuration.telemetry_secrets, facts)

    def take(self, event: Event) -> None:
        """Tell of an event; at once, and never raising."""
        self.notifier.take(event)
        self.exporter.take(event)

    async def close(self) -> None:
        """Tell what is still to be told, for a moment, and end."""
        await asyncio.gather(self.notifier.close(), self.exporter.close())
