"""What the routes of managed agents take."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, WithJsonSchema

from agentd.gateway.http.bodies import Body, KeyedBody, Query
from agentd.gateway.model.managed import DEFAULT_TIMEOUT_MS, SEPARATOR
from agentd.jcard.checks import check_name, check_user
from agentd.model.gateway import USER
from agentd.model.spec import AGENT_NAME
from agentd.text.quoting import quote, unfit

_LONGEST_TIMEOUT: Final = 7 * 24 * 60 * 60 * 1000
_MOST: Final = 100
"""Subagents, servers, tools of a server."""
_LONGEST_TEXT: Final = 128 * 1024 - 1
"""The kernel's limit of an argument."""
_LONGEST_TOOL: Final = 128
_LONGEST_MODEL: Final = 200
_TOOL: Final = rf"[A-Za-z0-9_./-]{{1,{_LONGEST_TOOL}}}"
_MODEL: Final = rf"[A-Za-z0-9][A-Za-z0-9._:/@\[\]-]{{0,{_LONGEST_MODEL - 1}}}"
_ANSWERS: Final[Mapping[object, bool]] = {
    **dict.fromkeys(("confirm", "confirmed", "allow", "accept", "approve", "approved", "yes", "true"), True),
    **dict.fromkeys(("reject", "rejected", "deny", "decline", "cancel", "no", "false"), False),
}


def _check_server(name: str) -> str:
    if "__" in check_name(name):
        raise ValueError(f"found {quote(name)}, expected no two _ in a row, which part a server from its tool")
    return name


def _check_tool(name: str) -> str:
    if not re.fullmatch(_TOOL, name):
        raise ValueError(unfit(name, f"expected 1 to {_LONGEST_TOOL} letters, digits, _ . / and -", _LONGEST_TOOL))
    return name


def _check_model(name: str) -> str:
    if not re.fullmatch(_MODEL, name):
        expected = f"expected the name of a model: 1 to {_LONGEST_MODEL} letters, digits, . _ : / @ [ ] and -"
        raise ValueError(unfit(name, expected, _LONGEST_MODEL))
    return name


def _answer(value: object) -> object:
    if isinstance(value, str) and value.lower() not in _ANSWERS:
        raise ValueError(f'found {quote(value)}, expected true or false, or a word for it: "confirm" or "reject"')
    return _ANSWERS[value.lower()] if isinstance(value, str) else value


def _check_text(text: str) -> str:
    if not text.strip():
        raise ValueError("found only blanks, expected text")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("found half of a surrogate pair, expected text")
    return text


def _check_variable(name: str) -> str:
    if not name or "=" in name:
        raise ValueError(f"expected the name of an environment variable, found {name!r}")
    return name


def _check_no_key(key: str) -> str:
    if key:
        raise ValueError("expected none: store it as agentd's secret ANTHROPIC_API_KEY")
    return key


_User = Annotated[str, AfterValidator(check_user), Field(json_schema_extra={"pattern": f"^(?:{USER})$"})]
_Name = Annotated[str, AfterValidator(check_name), Field(json_schema_extra={"pattern": f"^(?:{AGENT_NAME})$"})]
_Server = Annotated[str, AfterValidator(_check_server), Field(json_schema_extra={"pattern": f"^(?:{AGENT_NAME})$"})]
_Tool = Annotated[str, AfterValidator(_check_tool), Field(json_schema_extra={"pattern": f"^(?:{_TOOL})$"})]
_Text = Annotated[
    str,
    AfterValidator(_check_text),
    Field(min_length=1, max_length=_LONGEST_TEXT, json_schema_extra={"pattern": r"\S"}),
]
_Model = Annotated[str, AfterValidator(_check_model), Field(json_schema_extra={"pattern": f"^(?:{_MODEL})$"})]
_Variable = Annotated[str, AfterValidator(_check_variable)]
_Answer = Annotated[bool, BeforeValidator(_answer), WithJsonSchema({"type": ["boolean", "string"]})]


class SubagentBody(Body):
    """An agent that the managed one may hand work to."""

    name: _Name
    instruction: _Text
    servers: list[_Server] = Field([], max_length=_MOST)
    """Names of the MCP servers whose tools it has."""
    model: _Model | None = None


class ToolCallBody(Body):
    """How a tool of a server is treated."""

    name: _Tool
    seek_confirm: bool = False
    """Whether somebody has to let it run, each time."""
    time_to_confirm: Annotated[int, Field(ge=0, le=_LONGEST_TIMEOUT)] = DEFAULT_TIMEOUT_MS
    """Milliseconds after which the default counts."""
    default: _Answer = False
    """Whether it runs if nobody answers in time."""


class ServerBody(Body):
    """An MCP server: a program that is started, or a URL."""

    command: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    args: list[str] = Field([], max_length=1000)
    env: dict[_Variable, str] = Field({})
    """Environment variables; they stand in a file that only the agent can read, and are shown to nobody."""
    cwd: Annotated[str, Field(pattern="^/")] | None = None
    url: Annotated[str, Field(pattern=r"^https?://\S+$", max_length=4096)] | None = None
    headers: dict[Annotated[str, Field(pattern=r"^[!-9;-~]+$")], Annotated[str, Field(pattern=r"^[^\r\n]*$")]] = Field(
        {}
    )
    """HTTP headers; as ``env``."""
    transport: Literal["stdio", "http", "streamable-http", "streamable_http", "sse"] | None = None
    type: Literal["stdio", "http", "streamable-http", "streamable_http", "sse"] | None = None
    """As ``transport``."""
    name: str | None = None
    """Has no effect."""
    description: str | None = None
    """Has no effect."""
    tool_calls: list[ToolCallBody] = Field([], max_length=_MOST)
    """Tools that are treated in their own way; all others run without being asked for."""


class McpBody(Body):
    """The MCP servers."""

    servers: dict[_Server, ServerBody] = Field({}, max_length=_MOST)


class AnthropicBody(Body):
    """What Agent Manager has here; the key is agentd's to give."""

    api_key: Annotated[str, AfterValidator(_check_no_key), Field(json_schema_extra={"maxLength": 0})] | None = None
    """Empty; agents get the secrets that managed_secrets names."""


class JsonConfigBody(Body):
    """How an agent is set up."""

    mcp: McpBody = McpBody()
    default_model: _Model | None = None
    """The harness's own name of it; Claude Code knows haiku, sonnet and opus."""
    logger: dict[str, JsonValue] = Field({})
    """Has no effect: what agents do is in their logs."""
    pubsub_enabled: bool = False
    pubsub_config: dict[str, JsonValue] | None = None
    """The channel by which it is talked to."""
    anthropic: AnthropicBody | None = None


class AgentBody(KeyedBody):
    """A managed agent."""

    username: _User
    """Whose it is."""
    name: _Name
    """agentd knows it as USERNAME--NAME."""
    subagents: list[SubagentBody] = Field([], max_length=_MOST)
    json_config: JsonConfigBody = JsonConfigBody()
    initial_task: _Text | None = None
    harness: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """claude-code by default."""


class ConfirmationBody(KeyedBody):
    """The answer to a tool that waits."""

    confirmed: bool


class OwnerQuery(Query):
    """The owner whose agents are meant."""

    username: _User | None = None
    """Default: whose the token is."""


class DeleteQuery(OwnerQuery):
    """Whose agent, and what stays of it."""

    keep: bool = False
    """Whether its files and logs stay."""


class LogsQuery(OwnerQuery):
    """Whose agent, and how much."""

    lines: Annotated[int, Field(ge=1, le=10_000)] = 200
    """The newest."""


assert SEPARATOR == "--", "names are checked for it"
