"""What a run may use up, as declared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final


class OomPolicy(StrEnum):
    """What follows a run that ended because the kernel killed a process of it for lack of memory."""

    RESTART = "restart"
    """It is run again, whatever ``restart`` says."""
    STOP = "stop"
    """It is not run again, whatever ``restart`` says."""


class Enforcer(StrEnum):
    """What holds a run to its limits."""

    SYSTEMD = "systemd"
    """A transient scope."""
    UNIFIED = "cgroup v2"
    LEGACY = "cgroup v1"


@dataclass(frozen=True, slots=True)
class Limits:
    """What everything that a run starts may use together; ``None`` is no limit. The names are the jcard's."""

    memory: int | None = None
    """Bytes; beyond it the kernel kills."""
    memory_high: int | None = None
    """Bytes; beyond it the kernel slows the run down and takes memory back."""
    pid_limit: int | None = None
    """Processes and threads at once."""
    cpu: float | None = None
    """Cores' worth of CPU time."""

    def declared(self) -> Mapping[str, float]:
        """The limits that there are, by field."""
        if self is NO_LIMITS or self == NO_LIMITS:
            # Asked of each agent for each answer of the API.
            return {}
        values = {name: getattr(self, name) for name in LIMIT_FIELDS}
        return {name: value for name, value in values.items() if value is not None}

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.declared())


NO_LIMITS: Final = Limits()
LIMIT_FIELDS: Final = tuple(field.name for field in fields(Limits))

SANDBOX_LIMITS: Final = Limits(memory=2 * 1024**3, pid_limit=512)
"""What a sandboxed agent has where its table sets no other."""
