"""Tidying up after something failed, without hiding why it did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from agentd.workspaces.git import GitError
from agentd.workspaces.held import HeldError
from agentd.workspaces.runner import RunnerError

log = structlog.get_logger(__name__)


@contextmanager
def keeping_the_reason() -> Iterator[None]:
    """Log what fails in a clean-up: what it cleans up after is raised, and what it leaves is finished the next time."""
    try:
        yield
    except (GitError, HeldError, RunnerError) as error:
        log.warning("worktree_tidying_failed", reason=str(error))
