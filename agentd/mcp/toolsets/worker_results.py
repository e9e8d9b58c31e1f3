"""What the tools answer about workers: `agentd.pool.results`, as short as a model needs it.

What a worker writes, or names, is `Untrusted`; all else is agentd's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.mcp.tool import Result
from agentd.mcp.untrusted import Untrusted, UntrustedId
from agentd.mcp.uris import PARTS, agent_uri

if TYPE_CHECKING:
    from typing import Self

    from _typeshed import DataclassInstance


class Shortened(Result):
    """A result that has some of the fields of the library's."""

    @classmethod
    def of(cls, found: DataclassInstance) -> Self:
        """Shorten it."""
        return cls.model_validate(found, from_attributes=True)


class ExitResult(Shortened):
    """How a program ended."""

    code: int | None = None
    signal: int | None = None
    reason: str | None = None


class SpawnResult(Shortened):
    """A worker that was declared."""

    id: str
    state: str
    provider: str
    isolation: str
    attach: str
    cursor: str
    warnings: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    """Where it can be read; hosts drop links."""

    @classmethod
    def of(cls, found: DataclassInstance) -> Self:
        """Shorten it."""
        short = super().of(found)
        return short.model_copy(update={"resources": tuple(agent_uri(short.id, part) for part in PARTS)})


class ObserveResult(Shortened):
    """What happened first, or nothing yet."""

    always = frozenset({"event", "worker", "exit", "answer"})

    event: str | None = None
    worker: str | None = None
    state: str | None = None
    activity: str | None = None
    exit: ExitResult | None = None
    answer: Untrusted | None = None
    answer_cut: bool = False
    asks: Untrusted | None = None
    request: UntrustedId | None = None
    choices: tuple[Untrusted, ...] = ()
    error: Untrusted | None = None
    output: tuple[Untrusted, ...] | None = None
    cursor: str
    timed_out: bool


class SendResult(Shortened):
    """A message."""

    worker: str
    message: str
    status: str


class AnswerResult(Shortened):
    """A decision."""

    worker: str
    decision: str
    waiting: int


class InterruptResult(Shortened):
    """Whether a turn was under way; otherwise nothing was done."""

    worker: str
    interrupted: bool


class ChangedResult(Shortened):
    """A changed file."""

    path: Untrusted
    status: str


class CollectResult(Shortened):
    """Work in a folder."""

    worker: str
    folder: str
    patch: str | None = None
    patch_bytes: int
    base: str | None = None
    head: str | None = None
    files: tuple[ChangedResult, ...] = ()
    summary: Untrusted
    answer: Untrusted | None = None
    outside_allowed_paths: tuple[Untrusted, ...] = ()
    not_written: tuple[Untrusted, ...] = ()
    manifest: str
    state: str | None = None
    exit: ExitResult | None = None


class TranscriptResult(Shortened):
    """A page of what a worker printed."""

    worker: str
    lines: tuple[Untrusted, ...]
    offset: int
    next_offset: int
    total: int
    has_more: bool


class TerminateResult(Shortened):
    """A worker that is ended."""

    worker: str
    was: str | None = None
    exit: ExitResult | None = None
    worktree: str | None = None
    worktree_stays: bool | None = None
    dry_run: bool
