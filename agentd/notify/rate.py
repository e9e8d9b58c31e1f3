"""How many notices a rule tells. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

WINDOW: Final = 60.0
"""Seconds over which notices are counted."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What a rule has told of late."""

    told: tuple[float, ...] = ()
    """When, monotonic."""
    left_out: int = 0
    """How many were too many since."""


def admit(rate: Rate, most: int, now: float) -> tuple[Rate, int | None]:
    """Take one more notice.

    Parameters
    ----------
    most
        How many may be told in a window.

    Returns
    -------
    tuple
        The rate afterwards, and how many were left out before this one; ``None`` if it is left out itself.
    """
    told = tuple(at for at in rate.told if at > now - WINDOW)
    if len(told) >= most:
        return Rate(told, rate.left_out + 1), None
    return replace(rate, told=(*told, now), left_out=0), rate.left_out
