"""Imports what functions import, before a daemon is ready.

An upgrade removes or replaces the package, or the whole virtual environment, under a running daemon. A module that was
to be imported afterwards is then missing, or of another version than the ones in memory.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

_LATE: Final = (
    # Imported in functions, because agentctl starts faster without.
    "agentd.text.durations",
    "agentd.text.sizes",
    "pwd",
    "tomlkit",
    "tomlkit.exceptions",
)
"""What is imported by nothing that agentd and agentd-gateway import at their start; a client of a broker is, with its
channels."""


def import_late() -> None:
    """Import it: 30 ms of CPU and 3 MB."""
    for name in _LATE:
        import_module(name)
