"""What the table of ``agentctl top`` shows of an agent. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from rich.text import Text

from agentd.cli.agentctl.attention import order
from agentd.cli.agentctl.status_view import detail, look
from agentd.model.states import Activity
from agentd.model.status import AgentStatus
from agentd.text.quoting import printable
from agentd.text.terminal import span

HEADING: Final = ("NAME", "ACTIVITY", "STATE", "UPTIME", "RUNS", "DETAIL")

_STYLES: Mapping[str, str] = {"1": "bold", "2": "dim", "31": "red", "32": "green", "33": "yellow", "36": "cyan"}
"""What rich calls the styles of our tables."""

_ACTIVITY_STYLES: Mapping[str, str] = {
    Activity.WAITING_PERMISSION: "bold yellow",
    Activity.WAITING_INPUT: "bold yellow",
    Activity.AUTH_ERROR: "bold red",
    Activity.USAGE_LIMIT: "bold magenta",
    Activity.WORKING: "green",
    Activity.IDLE: "cyan",
    Activity.UNKNOWN: "dim",
}


_LONGEST_NAME: Final = 32
"""Characters: one of 63, which there may be, pushed what the agent does out of a terminal of 80 columns."""


class Row(NamedTuple):
    """One line of the table."""

    name: str
    cells: tuple[Text, ...]
    """One for each of `HEADING`."""


def rows(agents: Iterable[AgentStatus], wanted: str = "", *, by_name: bool = False) -> list[Row]:
    """Give the lines of the table, whoever needs somebody first.

    Parameters
    ----------
    wanted
        Words that must all be in an agent's name, harness, state, activity or owner, without regard to case.
    by_name
        Whether to sort by name instead.
    """
    shown = [agent for agent in agents if _matches(agent, wanted.casefold().split())]
    shown.sort(key=(lambda agent: (0, agent.name)) if by_name else order)
    return [Row(agent.name, _cells(agent)) for agent in shown]


def _matches(agent: AgentStatus, words: Sequence[str]) -> bool:
    text = " ".join(filter(None, (agent.name, agent.harness, agent.state, agent.activity, agent.owner))).casefold()
    return all(word in text for word in words)


def _short(name: str) -> str:
    """Leave out the middle of a long name: beginnings are shared, and replicas differ at their ends."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME // 2]}…{name[1 - _LONGEST_NAME // 2 :]}"


def _cells(agent: AgentStatus) -> tuple[Text, ...]:
    seen = look(agent)
    said = agent.activity_text if agent.error is None else None
    return (
        Text(_short(printable(agent.name)), "bold"),
        Text(printable(agent.activity or ""), _ACTIVITY_STYLES.get(agent.activity or "", "")),
        Text(f"{seen.symbol} {printable(agent.state)}", _STYLES[seen.style]),
        Text(span(agent.uptime_seconds) if agent.running else "", justify="right"),
        Text(printable(agent.command or " ".join(filter(None, (agent.harness, agent.model))))),
        Text(printable(said or detail(agent)), "red" if agent.error is not None else ""),
    )
