"""What starts an agent from outside: a file that appears, a signed webhook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agentd.model.order import Overlap

FILE_VARIABLES: Final = ("path", "name")
"""What the prompt can say of a file: where it is, and its name alone."""


WEBHOOK_VARIABLES: Final = ("event", "delivery")
"""What the prompt can say of a webhook beside what its body has."""


@dataclass(frozen=True, slots=True)
class FilePattern:
    """Files whose appearance starts a run."""

    folder: Path
    """Absolute; no pattern."""
    pattern: str
    """Of the name: ``*``, ``?`` and ``[…]`` as in a shell."""

    def __str__(self) -> str:
        """Write it as the jcard has it."""
        return str(self.folder / self.pattern)


@dataclass(frozen=True, slots=True)
class Webhook:
    """Signed requests that start a run."""

    secret: str
    """Name of the secret that they are signed with."""
    events: tuple[str, ...] = ()
    """The events that count; empty: all."""
    inputs: tuple[tuple[str, str], ...] = ()
    """Names of variables, each with the dotted path of its value in the body."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """One ``[[triggers]]`` table."""

    name: str
    agent: str
    source: FilePattern | Webhook
    overlap: Overlap = Overlap.QUEUE
    """What follows what comes while a run is not over."""

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of what it brings."""
        if isinstance(self.source, FilePattern):
            return FILE_VARIABLES
        return (*(name for name, _ in self.source.inputs), *WEBHOOK_VARIABLES)

    def __str__(self) -> str:
        """Say what it is, in words."""
        if isinstance(self.source, FilePattern):
            return f"{self.name}: a file {self.source}"
        return f"{self.name}: a webhook, POST /triggers/{self.name} of agentd-gateway"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came by a trigger, for one run."""

    id: str
    trigger: str
    """Its name."""
    values: Mapping[str, str] = field(repr=False)
    """By variable; without control characters, of bounded length. Nobody vouches for what they say."""
    at: float
    """When it came, in seconds since the epoch."""
