"""In which order agents run: what one waits for."""

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
