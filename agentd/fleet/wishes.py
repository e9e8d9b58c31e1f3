"""What a jcard wishes of a fleet. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agentd.fleet.plans import Wish
from agentd.model.spec import AgentSpec

Path = tuple[str | int, ...]


def wishes_of(agents: Iterable[AgentSpec], tables: Mapping[str, Path]) -> tuple[Wish, ...]:
    """Give a wish for each agent that is to run; replicas of one table are a group.

    Parameters
    ----------
    agents, tables
        As `agentd.jcard.load.load_jcard` gives them.
    """
    enabled = [agent for agent in agents if agent.enabled]
    first: dict[Path, str] = {}
    several: set[Path] = set()
    for agent in enabled:
        path = tables[agent.name]
        if first.setdefault(path, agent.name) != agent.name:
            several.add(path)
    return tuple(
        Wish(
            agent.name,
            agent.place,
            first[tables[agent.name]] if tables[agent.name] in several else None,
            agent.policy.priority,
        )
        for agent in enabled
    )
