"""What starts an agent from outside: a file that appears, a signed webhook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agentd.model.order import Overlap

FILE_VARIABLES: Final = ("path", "name")
"""What the prompt can say of a file: where it is, and its name alone."""


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
class Trigger:
    """One ``[[triggers]]`` table."""

    name: str
    agent: str
    file: FilePattern
    overlap: Overlap = Overlap.QUEUE
    """What follows what comes while a run is not over."""

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of what it brings."""
        return FILE_VARIABLES

    def __str__(self) -> str:
        """Say what it is, in words."""
        return f"{self.name}: a file {self.file}"


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
