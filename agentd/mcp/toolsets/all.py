"""All toolsets, and choosing from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agentd.mcp.agentctl import Agentctl
from agentd.mcp.tool import Tool
from agentd.mcp.toolsets.agents import agent_tools
from agentd.mcp.toolsets.hire import hire_tools
from agentd.mcp.toolsets.sessions import session_tools
from agentd.mcp.toolsets.workers import worker_tools
from agentd.mcp.toolsets.worktrees import worktree_tools
from agentd.pool.pool import Pool


class ToolsetError(Exception):
    """A toolset or a tool that there is not."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What tools are made of."""

    pool: Pool
    agentctl: Agentctl


DEFAULT: Final = "default"


# What these two work with takes 0.5 s of CPU to import, and few hosts ask for them.


def _leases(sources: Sources) -> Sequence[Tool]:
    from agentd.mcp.toolsets.leases import lease_tools  # noqa: PLC0415

    return lease_tools(sources.pool)


def _stats(sources: Sources) -> Sequence[Tool]:
    from agentd.mcp.toolsets.stats import stats_tools  # noqa: PLC0415

    return stats_tools(sources.pool)


_TOOLSETS: Final[Mapping[str, Callable[[Sources], Sequence[Tool]]]] = {
    DEFAULT: lambda sources: worker_tools(sources.pool),
    "agents": lambda sources: agent_tools(sources.agentctl),
    "stats": _stats,
    "sessions": lambda sources: session_tools(sources.agentctl),
    "leases": _leases,
    "worktrees": lambda sources: worktree_tools(sources.agentctl),
    "hire": lambda sources: hire_tools(sources.agentctl),
}

TOOLSETS: Final = tuple(_TOOLSETS)
"""Their names, the default first."""


def chosen_tools(sources: Sources, toolsets: Sequence[str], names: Sequence[str] | None = None) -> Sequence[Tool]:
    """Make the tools of toolsets, or only some of all.

    Parameters
    ----------
    names
        Of tools, of any toolset; ``None`` is all of the toolsets.

    Raises
    ------
    ToolsetError
        If there is none of a name.
    """
    for toolset in toolsets:
        if toolset not in _TOOLSETS:
            raise ToolsetError(f"there is no toolset {toolset!r}: there are {', '.join(TOOLSETS)}")
    if names is None:
        return [tool for toolset in dict.fromkeys(toolsets) for tool in _TOOLSETS[toolset](sources)]
    every = {tool.name: tool for make in _TOOLSETS.values() for tool in make(sources)}
    for name in names:
        if name not in every:
            raise ToolsetError(f"there is no tool {name!r}: there are {', '.join(every)}")
    return [every[name] for name in dict.fromkeys(names)]
