"""Where in a fleet of hosts an agent may run: what ``[agents.place]`` of a jcard says. A single agentd ignores it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

Labels: TypeAlias = tuple[tuple[str, str], ...]
"""Labels with their values, by name."""

LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9_./-]{0,61}[A-Za-z0-9])?"
"""Regular expression of the whole name of a label, and of its value."""

HOST_NAME: Final = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?"
"""Regular expression of the whole name of a host."""


class Spread(StrEnum):
    """Which of the hosts that fit is taken."""

    HOSTS = "hosts"
    """The one with the fewest replicas of this agent, then the one that is least full."""
    PACK = "pack"
    """The fullest."""


class OnHostLoss(StrEnum):
    """What becomes of an agent whose host is lost."""

    RESCHEDULE = "reschedule"
    """It is launched on another host."""
    WAIT = "wait"
    """It waits for its host."""


@dataclass(frozen=True, slots=True)
class Place:
    """What an agent takes of its host, and which hosts it may have."""

    slots: int = 1
    cpus: float = 0.0
    """Cores."""
    memory: int = 0
    """Bytes."""
    gpus: float = 0.0
    labels: Labels = ()
    """That its host has; sorted."""
    host: str | None = None
    """The only one that it may have."""
    spread: Spread = Spread.HOSTS
    on_host_loss: OnHostLoss = OnHostLoss.RESCHEDULE
