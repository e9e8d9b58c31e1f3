"""What one path of the API is: what it takes, what it answers, and who answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Never, Protocol

from aiohttp import web
from pydantic import JsonValue

from agentd.api.responses import JSON
from agentd.api.views import View
from agentd.model.plan_report import PlanReport
from agentd.model.status import AgentStatus, Health


class StatusSource(Protocol):
    """Where the API gets its answers: cheap, synchronous reads of the supervisor's memory."""

    def health(self) -> Health:
        """The daemon itself."""
        ...

    def agents(self) -> Sequence[AgentStatus]:
        """All agents, sorted by name."""
        ...

    def agent(self, name: str) -> AgentStatus | None:
        """One agent, its name compared without regard to case."""
        ...

    def plan(self) -> PlanReport:
        """What the daemon would still do."""
        ...


SOURCE: web.AppKey[StatusSource] = web.AppKey("source")

AGENT_NAME = {"name": "The agent's name, compared without regard to case."}
NO_SUCH_AGENT = {HTTPStatus.NOT_FOUND: "There is no agent of this name."}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a query."""

    text: str
    """What it means."""
    schema: Mapping[str, JsonValue] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class Route:
    """One path, answered to GET and HEAD."""

    path: str
    """With ``{parameter}`` as aiohttp and OpenAPI both write it."""
    operation: str
    """OpenAPI's ``operationId``."""
    summary: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    view: View[Never] | None
    """What a 200 in JSON carries; ``None`` if there is none."""
    media_type: str = JSON
    """Of a 200 in JSON."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Description by media type of what else a 200 may be; OpenAPI sees each as a text."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Description by the name of each path parameter."""
    query: Mapping[str, Parameter] = field(default_factory=dict)
    """Query parameters by name; each may be left out."""
    errors: Mapping[HTTPStatus, str] = field(default_factory=dict)
    """Description by status of the errors that only this route answers."""
