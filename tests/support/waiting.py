"""Waiting for a condition instead of for time to pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

POLL_SECONDS = 0.005

T = TypeVar("T")


class WaitError(AssertionError):
    """A condition did not come true in time."""


def wait_for(
    probe: Callable[[], T | Literal[False] | None],
    timeout: float = 10.0,
    *,
    what: str = "",
    explain: Callable[[], str] | None = None,
) -> T:
    """Call ``probe`` until it returns something true, and return that.

    Parameters
    ----------
    probe
        Asked every 5 ms.
    timeout
        Seconds. Generous: it is only used up by a failing test.
    what
        The condition in words, for the failure message.
    explain
        Called once when time is up: what the world looks like then.

    Raises
    ------
    WaitError
        When time is up, with the last answer of ``probe``.
    """
    deadline = time.monotonic() + timeout
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            lines = [f"not true within {timeout:g} s: {what or probe}", f"last answer: {answer!r}"]
            if explain is not None:
                lines.append(explain())
            raise WaitError("\n".join(lines))
        time.sleep(POLL_SECONDS)


def wait_for_file(path: Path, timeout: float = 10.0) -> Path:
    """Wait until ``path`` exists."""
    wait_for(path.exists, timeout, what=f"{path} exists")
    return path
