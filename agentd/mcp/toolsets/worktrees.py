"""The toolset ``worktrees``: the git worktrees that agents work in."""

from __future__ import annotations

from collections.abc import Sequence

from agentd.mcp.agentctl import Agentctl, operand
from agentd.mcp.tool import CHANGES, READS, Arguments, Call, Result, Tool, tool
from agentd.mcp.toolsets.agents import Everything, read
from agentd.mcp.untrusted import Untrusted


class Worktree(Result):
    """A worktree."""

    name: str
    path: str
    branch: str
    repo: str
    state: str | None = None
    unmerged: int | None = None
    uncommitted: tuple[Untrusted, ...] | None = None


class Worktrees(Result):
    """The worktrees."""

    worktrees: tuple[Worktree, ...]


class Unused(Arguments):
    """Which worktrees are to go."""

    names: tuple[str, ...] = ()
    """Only these; without names all whose agents are neither declared nor running."""
    dry_run: bool = True
    """Only say what would be removed."""


class Removal(Result):
    """What became of a worktree."""

    name: str
    path: str
    kept: Untrusted | None = None
    recover: tuple[str, ...] = ()


class Removals(Result):
    """What became of the worktrees. Work is never lost: what holds some is kept, with the reason."""

    worktrees: tuple[Removal, ...]


def worktree_tools(agentctl: Agentctl) -> Sequence[Tool]:
    """Make the tools."""

    async def list_worktrees(_arguments: Everything, _call: Call) -> Worktrees:
        found = await agentctl.json("worktrees", "list")
        return Worktrees(worktrees=tuple(read(Worktree, each) for each in (found if isinstance(found, list) else [])))

    async def clean_worktrees(arguments: Unused, _call: Call) -> Removals:
        dry = ["--dry-run"] if arguments.dry_run else []
        found = await agentctl.json("worktrees", *dry, "clean", *map(operand, arguments.names))
        return Removals(worktrees=tuple(read(Removal, each) for each in (found if isinstance(found, list) else [])))

    return (
        tool(
            "list_worktrees",
            "List agents' git worktrees and work only there.",
            READS,
            Everything,
            Worktrees,
            list_worktrees,
        ),
        tool(
            "clean_worktrees",
            "Remove worktrees that no agent uses. Keeps every worktree with work in it.",
            CHANGES,
            Unused,
            Removals,
            clean_worktrees,
        ),
    )
