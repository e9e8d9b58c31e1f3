"""The toolset ``agents``: the declared agents, to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, TypeVar

from pydantic import Field, JsonValue, TypeAdapter, ValidationError

from agentd.mcp.agentctl import Agentctl, operand
from agentd.mcp.errors import ToolError
from agentd.mcp.tool import READS, Arguments, Call, Result, Tool, tool
from agentd.mcp.untrusted import Untrusted, UntrustedId

_MOST_LINES: Final = 1000


class Everything(Arguments):
    """No arguments."""


class OneAgent(Arguments):
    """Names an agent."""

    agent: str
    """Its name."""


class LogLines(OneAgent):
    """How much of an agent's output is wanted."""

    lines: Annotated[int, Field(ge=1, le=_MOST_LINES)] = 100
    """The last so many."""


class ShortAgent(Result):
    """An agent, in short."""

    name: str
    state: str
    harness: str
    activity: str | None = None
    owner: str | None = None


class ShortAgents(Result):
    """The agents."""

    agents: tuple[ShortAgent, ...]


class Agent(ShortAgent):
    """An agent."""

    type: str
    workdir: str
    restarts: int
    model: UntrustedId | None = None
    pid: int | None = None
    session: str | None = None
    started_at: str | None = None
    exit_code: int | None = None
    exit_signal: int | None = None
    exit_reason: str | None = None
    deadline: str | None = None
    next_restart_at: str | None = None
    activity_since: str | None = None
    activity_text: Untrusted | None = None
    error: Untrusted | None = None
    conversation: Untrusted | None = None


class Output(Result):
    """What an agent printed or shows."""

    agent: str
    text: Untrusted


class PlannedStep(Result):
    """What agentd would do to an agent."""

    agent: str
    action: str
    reason: Untrusted | None = None


class Plan(Result):
    """What agentd would do."""

    operations: tuple[PlannedStep, ...]


R = TypeVar("R", bound=Result)


def agent_tools(agentctl: Agentctl) -> Sequence[Tool]:
    """Make the tools."""

    async def list_agents(_arguments: Everything, _call: Call) -> ShortAgents:
        found = await agentctl.json("status")
        return ShortAgents(agents=tuple(read(ShortAgent, each) for each in _agents_in(found)))

    async def get_agent(arguments: OneAgent, _call: Call) -> Agent:
        found = _agents_in(await agentctl.json("status", operand(arguments.agent)))
        if len(found) != 1:
            raise ToolError("not_found", f"there is no agent {arguments.agent!r}: list_agents names those there are")
        return read(Agent, found[0])

    async def agent_logs(arguments: LogLines, _call: Call) -> Output:
        text = await agentctl.text("logs", "--lines", str(arguments.lines), operand(arguments.agent))
        return Output(agent=arguments.agent, text=text)

    async def agent_screen(arguments: OneAgent, _call: Call) -> Output:
        return Output(agent=arguments.agent, text=await agentctl.text("screen", operand(arguments.agent)))

    async def plan(_arguments: Everything, _call: Call) -> Plan:
        document = await agentctl.json("plan")
        operations = document.get("operations") if isinstance(document, Mapping) else None
        steps = operations if isinstance(operations, list) else []
        return Plan(operations=tuple(read(PlannedStep, each) for each in steps))

    return (
        tool("list_agents", "List the declared agents and how they do.", READS, Everything, ShortAgents, list_agents),
        tool("get_agent", "Show all that is known of an agent.", READS, OneAgent, Agent, get_agent),
        tool("agent_logs", "Print the last lines of an agent's output.", READS, LogLines, Output, agent_logs),
        tool("agent_screen", "Print what an agent's terminal shows now.", READS, OneAgent, Output, agent_screen),
        tool("plan", "Say what agentd would start, stop or restart now, and why.", READS, Everything, Plan, plan),
    )


def read(model: type[R], document: JsonValue) -> R:
    """Read a document of agentctl's.

    Raises
    ------
    ToolError
        If it is not what is expected.
    """
    try:
        return TypeAdapter(model).validate_python(document)
    except ValidationError as error:
        raise ToolError("failed", "agentctl answered in another form than expected: is it of this version?") from error


def _agents_in(document: JsonValue) -> list[JsonValue]:
    match document:
        case list():
            return document
        case {"agents": list(agents)}:
            return agents
        case {"name": _}:
            return [document]
        case _:
            return []
