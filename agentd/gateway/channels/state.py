"""How channels do, as it is shown."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from agentd.gateway.model.results import ChannelCondition, ChannelStatus
from agentd.model.channels import ChannelDeclaration


@dataclass(slots=True)
class State:
    """How one does."""

    declared: ChannelDeclaration
    condition: ChannelCondition = ChannelCondition.CONNECTING
    error: str | None = None
    """Why it is not connected, or does not get on."""
    counts: Counter[str] = field(default_factory=Counter)

    def shown(self) -> ChannelStatus:
        """Give what is shown."""
        declared = self.declared
        return ChannelStatus(
            agent=declared.agent,
            user=declared.user,
            backend=declared.backend.value,
            channel_name=declared.name,
            where=declared.where,
            state=self.condition,
            error=self.error,
            counts=dict(self.counts),
        )
