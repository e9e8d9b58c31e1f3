"""What clients ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from agentd.gateway.model.objects import Json, Role
from agentd.gateway.model.states import RunStatus, SessionStatus

DEFAULT_HARNESS: Final = "claude-code"
"""Of whom nobody says which, as of ``agentctl hire``."""

PAGE: Final = 100
"""Objects on a page, unless another number is asked for."""

LONGEST_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session to be made: by a declared agent's definition, or ad hoc by harness and workdir."""

    agent: str | None = None
    main: bool = False
    """Whether it is the conversation of the declared agent itself."""
    harness: str | None = None
    workdir: str | None = None
    title: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message for a session."""

    text: str
    role: Role = Role.USER
    timeout_s: float | None = None
    """Of the run that answers it."""
    expect_last_run: str | None = None
    """The run that must be the session's newest."""


@dataclass(frozen=True, slots=True)
class NewChild:
    """A session to be spawned by another; what is not said is as in that one."""

    task: str
    agent: str | None = None
    harness: str | None = None
    workdir: str | None = None


@dataclass(frozen=True, slots=True)
class Hire:
    """An agent to be hired: ``ROLE_NAME``, in a workspace of its own."""

    role: str
    name: str
    harness: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class SessionQuery:
    """Which sessions to list, the newest first."""

    limit: int = PAGE
    cursor: str | None = None
    """The ``next_cursor`` of the page before."""
    status: SessionStatus | None = None
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs to list, the newest first."""

    limit: int = PAGE
    cursor: str | None = None
    session_id: str | None = None
    status: RunStatus | None = None
