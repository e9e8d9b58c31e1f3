"""The families of faults, and what each needs of the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.kills import killed_at_a_step
from tests.faults.world import World

Round = Callable[[World], str]
"""Breaks something, waits until everything is as declared, and says what it broke."""


@dataclass(frozen=True, slots=True)
class Family:
    """Rounds of one kind."""

    name: str
    round: Round
    share: int
    """Of the rounds of a run, in proportion."""
    per_life: int = 25
    """Rounds that one world goes through."""


FAMILIES = (Family("kills", killed_at_a_step, 60),)
