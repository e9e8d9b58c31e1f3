"""The values of placement: hosts, what is wished of them, and what a plan says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from agentd.model.placement import Labels, Place


@dataclass(frozen=True, slots=True)
class Host:
    """A host, as far as it matters to placement."""

    name: str
    slots: int
    cpus: float = 0.0
    """Cores."""
    memory: int = 0
    """Bytes."""
    gpus: float = 0.0
    labels: Labels = ()
    cordoned: bool = False
    """It keeps what it has, and takes nothing new."""
    draining: bool = False
    """It keeps nothing, and takes nothing."""
    alive: bool = True
    fenced: bool = True
    """Of one that is not alive: whether what ran there has surely ended, so that it may run elsewhere."""


@dataclass(frozen=True, slots=True)
class Wish:
    """An agent that is to run."""

    name: str
    place: Place = Place()
    group: str | None = None
    """What its replicas have in common; ``None`` if it has none."""
    priority: int = 0
    """A higher one is placed first; nobody is moved for it."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """What still takes room on a host although it is wished for there no more: it is being stopped."""

    host: str
    place: Place = Place()


class Step(StrEnum):
    """What a plan has an agent do."""

    STAY = "stay"
    START = "start"
    MOVE = "move"
    """It is stopped where it is, and then launched elsewhere."""
    WAIT = "wait"
    """It keeps its host, which is lost, and is launched nowhere else."""
    PENDING = "pending"
    """It has no host."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a plan says of one agent."""

    agent: str
    step: Step
    host: str | None
    """Where it is to be."""
    previous: str | None
    """Where it is."""
    reason: str
    """In a few words; empty if there is nothing to say."""


@dataclass(frozen=True)
class Plan:
    """What is to become of all agents."""

    assignments: tuple[Assignment, ...]
    """By name."""
    removed: tuple[tuple[str, str], ...] = field(default=())
    """Agents that are wished for no more, with the host of each; by name."""

    @cached_property
    def placed(self) -> Mapping[str, str]:
        """The host of each agent that has one: what `place` takes as ``current``."""
        return {each.agent: each.host for each in self.assignments if each.host is not None}

    @property
    def changes(self) -> tuple[Assignment, ...]:
        """The agents that do not stay."""
        return tuple(each for each in self.assignments if each.step is not Step.STAY)
