"""The toolset ``hire``: agents that stay, by their role."""

from __future__ import annotations

from collections.abc import Sequence

from agentd.mcp.agentctl import Agentctl, operand
from agentd.mcp.tool import CHANGES, Arguments, Call, Result, Tool, tool
from agentd.mcp.toolsets.agents import read

_PATIENCE = 45.0
"""Seconds: agentctl itself waits 30 s for the agent to run."""


class Candidate(Arguments):
    """Whom to hire."""

    role: str
    """A role, such as engineer."""
    name: str
    """A name, such as alice."""
    harness: str | None = None
    """The coding agent; claude-code by default."""
    model: str | None = None
    """The model it uses."""


class Hired(Result):
    """An agent that was hired, or was there already."""

    name: str
    workspace: str
    added: bool
    pid: int | None = None


def hire_tools(agentctl: Agentctl) -> Sequence[Tool]:
    """Make the tool."""

    async def hire(arguments: Candidate, _call: Call) -> Hired:
        chosen: list[str] = []
        if arguments.harness is not None:
            chosen += ["--harness", operand(arguments.harness)]
        if arguments.model is not None:
            chosen += ["--model", operand(arguments.model)]
        return read(
            Hired,
            await agentctl.json("hire", *chosen, operand(arguments.role), operand(arguments.name), limit=_PATIENCE),
        )

    return (
        tool(
            "hire",
            "Hire an agent for a role: declares it in the jcard, with a workspace of its own, and waits until it runs.",
            CHANGES,
            Candidate,
            Hired,
            hire,
        ),
    )
