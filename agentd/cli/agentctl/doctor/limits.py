"""Check what holds each agent to its limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agentd.cli.agentctl.doctor.finding import Finding, ok, warning
from agentd.limits.groups import RunGroups
from agentd.model.limits import LIMIT_FIELDS
from agentd.model.spec import AgentSpec
from agentd.model.status import AgentStatus
from agentd.systemd.run import reachable_manager
from agentd.text.quoting import quote, some

_ADVICE = "docs/how-to/limits.md says what holds them; MemoryMax= of a unit limits all of its agents together"


def check_limits(agents: Sequence[AgentSpec], shown: Sequence[AgentStatus] | None) -> Iterator[Finding]:
    """Say of each limit what enforces it.

    Parameters
    ----------
    agents
        As declared, of which is told what would hold while no daemon can be asked.
    shown
        As the daemon shows them.
    """
    found: dict[tuple[str | None, str | None], dict[str, list[str]]] = {}
    for agent, name, by, reason in _of_daemon(shown) if shown is not None else _foreseen(agents):
        found.setdefault((by, reason), {}).setdefault(agent, []).append(name)
    verb = "is" if shown is not None else "would be"
    for (by, reason), names in found.items():
        fields = ", ".join(name for name in LIMIT_FIELDS if any(name in each for each in names.values()))
        what = f"{fields} of agent {some(list(names), quote)} {verb}"
        if by is not None:
            yield ok("limits", f"{what} held by {by}")
        else:
            yield warning("limits", f"{what} not enforced: {reason}", _ADVICE)


def _of_daemon(shown: Sequence[AgentStatus]) -> Iterator[tuple[str, str, str | None, str | None]]:
    for agent in shown:
        for name in LIMIT_FIELDS if agent.limits is not None else ():
            limit = getattr(agent.limits, name)
            if limit is not None:
                yield agent.name, name, limit.enforced_by, limit.reason


def _foreseen(agents: Sequence[AgentSpec]) -> Iterator[tuple[str, str, str | None, str | None]]:
    groups = RunGroups(reachable_manager())
    for agent in agents:
        for name in agent.policy.limits.declared() if agent.enabled else ():
            by, reason = groups.foreseen(name)
            yield agent.name, name, by, reason
