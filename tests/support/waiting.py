"""Waiting for a condition instead of for time to pass."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

PATIENCE = 30.0
"""Seconds that a test waits for what usually takes some ms: only a failing one, or a stalled machine, takes as long."""

POLL_SECONDS = 0.005
_SLOWEST_POLL = 0.1
_SHARE_OF_THE_WAIT = 0.12
_TIMES_THE_PROBE = 5
"""A probe that asks a daemon costs some ms in both processes: who waits would take the CPU from those who work."""

T = TypeVar("T")


class WaitError(AssertionError):
    """A condition did not come true in time."""


def wait_for(
    probe: Callable[[], T | Literal[False] | None],
    timeout: float = PATIENCE,
    *,
    what: str = "",
    explain: Callable[[], str] | None = None,
) -> T:
    """Call ``probe`` until it returns something true, and return that.

    Parameters
    ----------
    probe
        Asked every 5 ms at first, and then, where it takes long to come true or to ask, less often: every
        100 ms at last.
    timeout
        Seconds.
    what
        The condition in words, for the failure message.
    explain
        Called once when time is up: what the world looks like then.

    Raises
    ------
    WaitError
        When time is up, with the last answer of ``probe``.
    """
    start = time.monotonic()
    while True:
        asked = time.monotonic()
        answer = probe()
        if answer:
            return answer
        now = time.monotonic()
        if now >= start + timeout:
            lines = [f"not true within {timeout:g} s: {what or probe}", f"last answer: {answer!r}"]
            if explain is not None:
                lines.append(explain())
            raise WaitError("\n".join(lines))
        pause = max(_TIMES_THE_PROBE * (now - asked), _SHARE_OF_THE_WAIT * (now - start))
        time.sleep(min(max(pause, POLL_SECONDS), _SLOWEST_POLL))


def wait_for_file(path: Path, timeout: float = PATIENCE) -> Path:
    """Wait until ``path`` exists."""
    wait_for(path.exists, timeout, what=f"{path} exists")
    return path


async def until(probe: Callable[[], object], *, what: str = "") -> None:
    """Wait for a condition while the event loop goes on; asked in a thread."""
    await asyncio.to_thread(wait_for, probe, what=what)
