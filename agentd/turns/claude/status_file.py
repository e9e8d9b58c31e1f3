"""Claude Code's own status file, ``sessions/PID.json`` in its folder. Pure.

It needs no configuration, and is right in every state but errors. After a SIGKILL it stays as it was, so what it says
counts only of a process with the same pid and start.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from agentd.model.states import Activity
from agentd.process.identity import ProcessIdentity

LONGEST = 64 * 1024
"""Bytes that are read; it has some 400."""

_MOST_AHEAD = 5.0
"""Seconds that its clock may be ahead of ours."""


@dataclass(frozen=True, slots=True)
class Status:
    """What the file says."""

    activity: Activity
    at: float
    """Since when, in seconds since the epoch."""
    session: str | None
    permission: bool = False
    """Whether what it waits for is a permission, as far as it knows."""


def parse(data: bytes, process: ProcessIdentity, now: float) -> Status | None:
    """Read the file; ``None`` if it is of another process, half-written, or in a format that is not known.

    Parameters
    ----------
    now
        In seconds since the epoch.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("pid") != process.pid:
        return None
    started = found.get("procStart")
    if process.started is not None and started is not None and str(started) != str(process.started):
        return None
    status, waiting, session = found.get("status"), found.get("waitingFor"), found.get("sessionId")
    updated = found.get("statusUpdatedAt")
    at = updated / 1000 if isinstance(updated, int | float) and not isinstance(updated, bool) else now
    permission = isinstance(waiting, str) and "permission" in waiting
    activity = {"idle": Activity.IDLE, "busy": Activity.WORKING}.get(status) if isinstance(status, str) else None
    if status == "waiting":
        activity = Activity.WAITING_PERMISSION if permission else Activity.WAITING_INPUT
    return Status(
        activity or Activity.UNKNOWN,
        min(at, now + _MOST_AHEAD),
        session if isinstance(session, str) else None,
        permission,
    )
