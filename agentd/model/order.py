"""When agents run: after others, and by the clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

OUTCOMES: Final = r"(:(success|failure|end))?"
"""Regular expression of what may follow a name in ``after``."""


class Outcome(StrEnum):
    """How another agent is to have ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    END = "end"
    """In whatever way."""


@dataclass(frozen=True, slots=True)
class After:
    """One thing that an agent waits for."""

    agent: str
    """A name, or that of several replicas."""
    outcome: Outcome = Outcome.SUCCESS

    @classmethod
    def parse(cls, written: str) -> After:
        """Read ``NAME:OUTCOME``, or ``NAME`` alone."""
        agent, _, outcome = written.partition(":")
        return cls(agent, Outcome(outcome or Outcome.SUCCESS))


def by_name(agents: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """Give the agents that each name in ``after``, in small letters, is of: the one that has it, or its replicas."""
    replicas: dict[str, list[str]] = {}
    names: dict[str, Sequence[str]] = {}
    for each in agents:
        stem, dash, number = each.casefold().rpartition("-")
        if dash and number.isdigit():
            replicas.setdefault(stem, []).append(each)
        names[each.casefold()] = (each,)
    return {**replicas, **names}


CATCH_UP: Final = 60.0
"""Seconds by which a start may be late by default: agentd itself is away for that long while it is upgraded."""


class Overlap(StrEnum):
    """What follows a start that is due while the former run is not over."""

    SKIP = "skip"
    """It is left out."""
    QUEUE = "queue"
    """It waits for the end of that run; of several that wait, one is made."""
    STOP = "stop"
    """That run is stopped for it."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When an agent is started."""

    cron: str
    """Minute, hour, day of the month, month, day of the week; with six fields, the first is the second."""
    zone: str | None = None
    """Name of the time zone that this is in; ``None`` is the machine's."""
    catch_up: float = CATCH_UP
    """Seconds that a start may be late."""
    overlap: Overlap = Overlap.SKIP
