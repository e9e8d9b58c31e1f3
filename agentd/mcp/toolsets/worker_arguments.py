"""What the tools about workers take."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from agentd.mcp.tool import Arguments, Duration
from agentd.model.pool import WorkerEvent, WorkerIsolation
from agentd.pool.observing import DEFAULT_EVENTS
from agentd.pool.telling import Detail

LONGEST_WAIT: Final = 50
"""Seconds: hosts cut a call at 60 s."""

_MOST_LINES: Final = 500


class Which(Arguments):
    """Which provider."""

    provider: str | None = None
    """Only this one"""


class InventoryWanted(Which):
    """What of the providers is wanted."""

    usage: bool = False
    """Their accounts' quotas, too"""


class UsageWanted(Which):
    """What of the accounts is wanted."""

    refresh: bool = False
    """Read the newest records first"""


class Job(Arguments):
    """What a worker is to do."""

    provider: str
    """An id of inventory"""
    task: str
    """All that it needs to know: it sees nothing of your conversation"""
    repo: str
    """Folder to work in"""
    isolation: WorkerIsolation = WorkerIsolation.NONE
    """worktree: its own branch; read_only: changes nothing; sandboxed: sees little else"""
    role: str | None = None
    model: str | None = None
    max_runtime: Duration | None = None
    """As 30m; it is ended then"""
    allowed_paths: tuple[str, ...] = ()
    """What it may change, in repo"""
    parent: str | None = None


class Watched(Arguments):
    """What to wait for."""

    workers: Annotated[tuple[str, ...], Field(min_length=1)]
    """Their ids: the first that something happens to is told"""
    events: Annotated[tuple[WorkerEvent, ...], Field(alias="for", min_length=1)] = DEFAULT_EVENTS
    timeout_seconds: Annotated[float, Field(ge=0, le=LONGEST_WAIT)] = LONGEST_WAIT
    """50 by default"""
    detail: Detail = Detail.SUMMARY
    cursor: str | None = None
    """Of the last answer: only what came after"""


class OneWorker(Arguments):
    """Which worker."""

    worker: str


class Words(OneWorker):
    """A message."""

    text: str
    """Delivered when it is idle"""


class Decided(OneWorker):
    """An answer to what a worker asks."""

    decision: Literal["allow", "deny", "answer"]
    text: str = ""
    """With answer: the answer"""
    request: str | None = None
    """Which, if it asks several things"""


class Collected(OneWorker):
    """Where a worker's work goes."""

    output: str | None = None
    """A folder that is not there yet"""


class Pages(OneWorker):
    """Which lines of a transcript."""

    offset: Annotated[int | None, Field(ge=0)] = None
    limit: Annotated[int, Field(ge=1, le=_MOST_LINES)] = 100
    tail_lines: Annotated[int | None, Field(ge=1, le=_MOST_LINES)] = None


class Ended(OneWorker):
    """Which worker to end."""

    dry_run: bool = False
