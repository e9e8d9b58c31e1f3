"""What happens in a turn, as every harness is made to tell it.

A turn is one message and all that the agent does until it is the user's move again. The set is closed: an adapter says
what it sees in these words, and whoever follows a conversation need not know the harness.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from agentd.model.states import Activity


class Outcome(StrEnum):
    """How a turn ended."""

    COMPLETED = "completed"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    LOST = "lost"
    """The harness died in it."""


class Decision(StrEnum):
    """How a request was decided."""

    ALLOW = "allow"
    DENY = "deny"
    ANSWER = "answer"
    """A question was answered."""
    EXPIRED = "expired"
    """Nobody's answer counted: the agent went on, or its turn ended."""


class Failure(StrEnum):
    """Why a turn failed, as far as somebody must act on it."""

    USAGE_LIMIT = "usage_limit"
    AUTH_ERROR = "auth_error"
    OTHER = "other"

    @property
    def activity(self) -> Activity:
        """What the agent does after it, until a turn ends well."""
        match self:
            case Failure.USAGE_LIMIT:
                return Activity.USAGE_LIMIT
            case Failure.AUTH_ERROR:
                return Activity.AUTH_ERROR
            case Failure.OTHER:
                return Activity.IDLE


@dataclass(frozen=True, slots=True)
class Started:
    """A turn began: the harness took a message."""

    turn: str
    """Id of the turn, the harness's own where it has one."""
    prompt: str | None = None
    """The message as the harness recorded it; ``None`` where it does not tell."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer, in order."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A message of the agent, whole; it replaces the pieces since the last one."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """The agent uses a tool."""

    tool: str
    """Id of this use."""
    name: str
    text: str = ""
    """What it does, in one line: the command, the file."""


@dataclass(frozen=True, slots=True)
class ToolCompleted:
    """A tool has run."""

    tool: str
    ok: bool = True


@dataclass(frozen=True, slots=True)
class PermissionAsked:
    """The agent asks whether it may use a tool."""

    request: str
    """Id of the request."""
    name: str
    """Of the tool; ``mcp__SERVER__TOOL`` of one of an MCP server, where the harness tells them apart so."""
    text: str
    """What is to be allowed, in one line."""
    tool: str | None = None
    """Id of the tool's use, where that is known: its run decides the request."""
    choices: tuple[str, ...] = ()
    """What the agent offers, by name: an answer in words chooses one."""
    arguments: Mapping[str, object] | None = None
    """What the tool is given; ``None`` where the harness does not say."""


@dataclass(frozen=True, slots=True)
class PermissionResolved:
    """A request, of either kind, is decided, by whomever."""

    request: str
    decision: Decision
    by: str | None = None
    """``uid:NUMBER`` or ``agent:NAME`` by the kernel's account, or ``rule:NAME``; ``None`` if nobody answered here."""


@dataclass(frozen=True, slots=True)
class QuestionAsked:
    """The agent asks the user something."""

    request: str
    text: str
    """The question, in one line."""
    choices: tuple[str, ...] = ()
    tool: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What the harness reported that its model used, once for each answer of the model."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: float | None = None
    """``None`` where the harness does not say."""

    def view(self) -> dict[str, object] | None:
        """Show it; ``None`` where the harness said nothing."""
        return None if self == Usage() else asdict(self)

    def __add__(self, other: Usage) -> Usage:
        """Add up; the cost is known once any is."""
        costs = [cost for cost in (self.cost_usd, other.cost_usd) if cost is not None]
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            sum(costs) if costs else None,
        )

    def __sub__(self, told: Usage) -> Usage:
        """What is not among what was told already."""
        cost = self.cost_usd
        return Usage(
            self.input_tokens - told.input_tokens,
            self.output_tokens - told.output_tokens,
            self.cache_read_tokens - told.cache_read_tokens,
            self.cache_write_tokens - told.cache_write_tokens,
            None if cost is None else cost - (told.cost_usd or 0.0) or None,
        )


@dataclass(frozen=True, slots=True)
class Ended:
    """A turn ended, by the harness's own word or with its process; never because it was quiet."""

    outcome: Outcome
    final_text: str | None = None
    """The answer, byte for byte; ``None`` where the harness told none."""
    failure: Failure | None = None
    error: str | None = None
    """What the harness said went wrong."""
    resets_at: float | None = None
    """When the usage limit resets that it failed for, in seconds since the epoch, where the harness says it exactly."""


TurnEvent: TypeAlias = (
    Started
    | TextDelta
    | Text
    | ToolStarted
    | ToolCompleted
    | PermissionAsked
    | PermissionResolved
    | QuestionAsked
    | Usage
    | Ended
)


_NAMES: Final = {
    Started: "started",
    TextDelta: "text_delta",
    Text: "text",
    ToolStarted: "tool_started",
    ToolCompleted: "tool_completed",
    PermissionAsked: "permission_asked",
    PermissionResolved: "permission_resolved",
    QuestionAsked: "question_asked",
    Usage: "usage",
    Ended: "ended",
}


def name_of(event: TurnEvent) -> str:
    """Name an event as hooks and streams do."""
    return _NAMES[type(event)]
