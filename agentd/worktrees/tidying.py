"""Tidying up after something failed, without hiding why it did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from agentd.process.runner import RunnerError
from agentd.worktrees.git import GitError
from agentd.worktrees.record import HeldError

log = structlog.get_logger(__name__)


@contextmanager
def keeping_the_reason() -> Iterator[None]:
    """Log what fails in a clean-up: what it cleans up after is raised, and what it leaves is finished the next time."""
    try:
        yield
    except (GitError, HeldError, RunnerError) as error:
        log.warning("worktree_tidying_failed", reason=str(error))
