"""Who says what became of a message."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Witnesses:
    """The witnesses of a run."""

    delivered: str
    """That a message was handed over: the ``terminal``, whose input box took it, or a server of the harness."""
    started: str
    """That a turn began with it."""
