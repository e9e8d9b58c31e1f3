"""Clean-ups after a failure, whose own errors must not hide that failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from agentd.process.runner import RunnerError
from agentd.worktrees.git import GitError
from agentd.worktrees.record import RecordError

log = structlog.get_logger(__name__)


@contextmanager
def log_cleanup_errors() -> Iterator[None]:
    """Log the errors of a clean-up; the next launch finishes what it leaves."""
    try:
        yield
    except (GitError, RecordError, RunnerError) as error:
        log.warning("worktree_cleanup_failed", reason=str(error))
