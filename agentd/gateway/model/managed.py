"""Managed agents: declared by an API for users, with tools that somebody has to confirm."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from agentd.gateway.model.objects import Json, JsonObject
from agentd.text.timestamps import rfc3339_milliseconds

SEPARATOR: Final = "--"
"""Parts the user from the agent in the name by which agentd knows it; no user's name has it in it."""


class ManagedState(StrEnum):
    """How far its making or removing has come, so that whoever finds it after a crash can go on."""

    CREATING = "creating"
    READY = "ready"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True)
class ManagedAgent:
    """An agent that a user made by the API. The user owns it. Times are seconds since the epoch."""

    username: str
    name: str
    harness: str
    session_id: str
    """Of its conversation: what it says, what is said to it, and what it asks, is in that session's events."""
    definition: Mapping[str, Json]
    """As it was sent, without what may be secret."""
    enabled: bool
    """Whether it is to run."""
    keep: bool = False
    """Whether its files stay when it is deleted."""
    state: ManagedState = ManagedState.CREATING
    created_at: float = 0.0
    stream_after: int | None = None
    """Number of the last line of agentd's stream that was taken."""
    args: tuple[str, ...] = ()
    """Of its launch, by its harness's own names, as ``model`` is."""
    model: str | None = None
    talked: bool = False
    """Whether it had a turn: from then on its runs go on with its conversation. What agentd knows of one before that is
    of a deleted agent of the same name."""

    @property
    def launch(self) -> JsonObject:
        """What the database keeps of its launch."""
        return {"args": [*self.args], "model": self.model, "talked": self.talked}

    @property
    def agent(self) -> str:
        """The name by which agentd knows it."""
        return f"{self.username}{SEPARATOR}{self.name}"

    @property
    def shown_name(self) -> str:
        """The name by which users know it."""
        return f"{self.username}/{self.name}"

    @property
    def initial_task(self) -> str | None:
        """What it is told at its start."""
        task = self.definition.get("initial_task")
        return task if isinstance(task, str) else None

    @property
    def json_config(self) -> Mapping[str, Json]:
        """How it is set up."""
        return _mapping(self.definition.get("json_config"))

    @property
    def pubsub_config(self) -> Mapping[str, Json] | None:
        """The channel that it is talked to by, without what may be secret; ``None`` if it has none, or it is off."""
        config = self.json_config
        found = config.get("pubsub_config")
        return found if config.get("pubsub_enabled") is True and isinstance(found, dict) else None


class Decider(StrEnum):
    """Who decided on a tool."""

    USER = "user"
    """Somebody who was asked: by a channel, the API or the page."""
    DEFAULT = "default"
    """Nobody in time."""
    TERMINAL = "terminal"
    """A person at the agent's terminal."""
    NOBODY = "nobody"
    """The agent went on, or ended, without it."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A tool that waits until somebody lets it run. Times are seconds since the epoch."""

    id: str
    """Cannot be guessed: whoever has it was asked."""
    agent: str
    """Name of the managed agent, as agentd knows it."""
    username: str
    session_id: str
    target: str
    """The agent that asks: the managed one, or one that holds a conversation by its definition."""
    request: str
    """The harness's own id of the request."""
    server_name: str
    tool_name: str
    arguments: Mapping[str, Json]
    tool: str | None
    """The harness's own id of this use of the tool."""
    timeout_ms: int
    default: bool
    """What counts if nobody answers in time."""
    asked_at: float
    answer: bool | None = None
    """What was decided, and may still have to be passed on to the agent."""
    decided_by: Decider | None = None
    confirmed: bool | None = None
    """How it ended; ``None`` while it waits."""
    decided_at: float | None = None
    gone: bool = False
    """Whether the agent does not ask any more, and it is not known yet whether the tool ran."""

    @property
    def deadline(self) -> float:
        """When the default counts."""
        return self.asked_at + self.timeout_ms / 1000

    @property
    def open(self) -> bool:
        """Whether an answer still counts."""
        return self.answer is None and self.confirmed is None and not self.gone

    def request_json(self) -> JsonObject:
        """Give what is asked, as ``tool_confirmation_request`` says it."""
        return {
            "request_id": self.id,
            "server_name": self.server_name,
            "tool_name": self.tool_name,
            "arguments": dict(self.arguments),
            "timestamp": rfc3339_milliseconds(self.asked_at),
            "timeout_ms": self.timeout_ms,
            "agent_name": self.agent,
        }

    def response_json(self) -> JsonObject:
        """Give what was decided, as ``tool_confirmation_response`` says it."""
        return {
            "request_id": self.id,
            "confirmed": self.confirmed,
            "decided_by": None if self.decided_by is None else self.decided_by.value,
            "server_name": self.server_name,
            "tool_name": self.tool_name,
            "agent_name": self.agent,
        }

    def json(self) -> JsonObject:
        """Give what clients see."""
        return {
            **self.request_json(),
            "session_id": self.session_id,
            "default": self.default,
            "deadline": rfc3339_milliseconds(self.deadline),
            "confirmed": self.confirmed if self.confirmed is not None else self.answer,
            "decided_by": None if self.decided_by is None else self.decided_by.value,
        }


@dataclass(frozen=True, slots=True)
class SoughtTool:
    """A tool that has to be confirmed."""

    server: str
    name: str
    timeout_ms: int
    default: bool


DEFAULT_TIMEOUT_MS: Final = 60_000
"""Of a tool that names none."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools of a managed agent that have to be confirmed."""

    sought: tuple[SoughtTool, ...] = field(default=())

    @classmethod
    def of(cls, agent: ManagedAgent) -> Tools:
        """Read them from a definition that was checked."""
        servers = _mapping(_mapping(agent.json_config.get("mcp")).get("servers"))
        found = []
        for server, config in servers.items():
            calls = _mapping(config).get("tool_calls")
            for call in calls if isinstance(calls, list) else []:
                tool = _mapping(call)
                if tool.get("seek_confirm") is True:
                    timeout = tool.get("time_to_confirm")
                    found.append(
                        SoughtTool(
                            server,
                            str(tool.get("name")),
                            timeout if isinstance(timeout, int) else DEFAULT_TIMEOUT_MS,
                            tool.get("default") is True,
                        )
                    )
        return cls(tuple(found))

    def find(self, server: str, name: str) -> SoughtTool | None:
        """Find one."""
        return next((tool for tool in self.sought if (tool.server, tool.name) == (server, name)), None)

    def find_named(self, name: str, text: str) -> SoughtTool | None:
        """Find one by how a harness names it, or by its question where that names none."""
        return next(
            (tool for tool in self.sought if name in _names(tool) or (not name and _is_about(text, tool))), None
        )


def _names(tool: SoughtTool) -> frozenset[str]:
    """Name a tool as Claude Code and Codex, OpenCode, and Gemini CLI do."""
    pairs = ((tool.server, tool.name), (_clean(tool.server), _clean(tool.name)))
    return frozenset(form.format(*pair) for pair in pairs for form in ("mcp__{}__{}", "{}_{}", "mcp_{}_{}", "{}__{}"))


def _clean(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def _is_about(text: str, tool: SoughtTool) -> bool:
    return all(re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) for word in (tool.server, tool.name))


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}
