"""Workers: agents that other agents, or people, hand work to. What a jcard says of them, and a worker of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

LOCKDOWN_VARIABLE: Final = "AGENTD_MCP_LOCKDOWN"
"""Set, `agentctl mcp` shows nothing that a worker wrote."""

OWNER: Final = "workers"
"""The subfolder of the drop-ins that declares workers, and so the owner of these agents."""

WORKER_NAME: Final = r"w[0-9]{4}-[0-9]{6}-[0-9a-f]{6}"
"""Names of workers that were spawned."""

MIN_REMAINING_PERCENT: Final = 10.0
USAGE_STALE_AFTER: Final = 3600.0
"""Seconds."""
MAX_WORKERS: Final = 8


class WorkerIsolation(StrEnum):
    """Where a worker works."""

    NONE = "none"
    """In the repository itself."""
    WORKTREE = "worktree"
    """In a git worktree of its own, on a branch of its own."""
    READ_ONLY = "read_only"
    """In a sandbox with a checkout that it cannot write."""
    SANDBOXED = "sandboxed"
    """In a sandbox with a git worktree of its own."""


class WorkerEvent(StrEnum):
    """What somebody who waits for a worker may wait for."""

    COMPLETED = "completed"
    """Its last turn ended well, and nothing waits to be sent; or its program, which takes no messages, exited with
    success."""
    ERROR = "error"
    """Its last turn failed, it cannot be launched, it is not logged in, or its program failed."""
    QUESTION = "question"
    """It asks something."""
    APPROVAL = "approval"
    """It asks whether it may do something."""
    IDLE = "idle"
    """It is the user's move, however the last turn ended."""
    USAGE_LIMIT = "usage_limit"
    """It has hit the limit of its account."""
    EXITED = "exited"
    """Its program has ended and is not started again."""
    SCREEN_CHANGED = "screen_changed"
    """Its terminal shows something else than when the wait began."""


class Block(StrEnum):
    """Why no worker of a provider is launched."""

    LIMIT_REACHED = "limit_reached"
    """Its account is at a limit that has not reset."""
    AUTH_ERROR = "auth_error"
    """Its last turn said that it is not logged in."""
    USAGE_STALE = "usage_stale"
    """What is known of its quota is older than ``usage_stale_after``."""
    USAGE_UNKNOWN = "usage_unknown"
    """Nothing is known of its quota."""


@dataclass(frozen=True, slots=True)
class PoolProvider:
    """A harness with settings of its own."""

    id: str
    harness: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    model: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] | None = None
    """``None``: all."""


@dataclass(frozen=True, slots=True)
class PoolDeclaration:
    """The ``[pool]`` table of the jcard."""

    allowed_providers: tuple[str, ...] | None = None
    """``None``: all."""
    denied_providers: tuple[str, ...] = ()
    max_workers: int = MAX_WORKERS
    require_isolation: tuple[WorkerIsolation, ...] | None = None
    """The kinds that a worker may have; ``None``: any."""
    min_remaining_percent: float = MIN_REMAINING_PERCENT
    usage_stale_after: float = USAGE_STALE_AFTER
    block_on: tuple[Block, ...] = (Block.LIMIT_REACHED,)
    max_runtime: float | None = None
    """Seconds."""
    allow_keys: bool = False
    providers: tuple[PoolProvider, ...] = ()


NO_POLICIES: Final = PoolDeclaration()
"""What holds where the jcard says nothing of workers."""


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """The ``[worker]`` table of a drop-in: what a worker is, beside an agent."""

    provider: str
    role: str | None = None
    parent: str | None = None
    """For whom it works: an agent, or a conversation of a caller's own."""
    spawned_by: str | None = None
    """Name of the agent that declared it, and so may talk to it."""
    isolation: WorkerIsolation = WorkerIsolation.NONE
    repo: str | None = None
    base: str | None = None
    """Commit that it started from."""
    allowed_paths: tuple[str, ...] = ()
    """Paths in the repository that it is to change."""
    spawned_at: str | None = None
    """RFC 3339."""
