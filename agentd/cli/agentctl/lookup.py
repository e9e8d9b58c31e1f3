"""Find an agent by the name that an operator typed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agentd.cli.agentctl.client import NOT_FOUND, Api, ApiError, Json, view
from agentd.cli.agentctl.command import CommandError
from agentd.model.status import AgentStatus
from agentd.text.quoting import printable, quote

if TYPE_CHECKING:
    from agentd.harness.base import HarnessFacts

_SHOWN = 3
"""Most replicas that a message names."""


def find_agent(api: Api, name: str) -> AgentStatus:
    """Read the status of one agent; raises what `agent_document` does."""
    return view(AgentStatus, agent_document(api, name))


def agent_document(api: Api, name: str) -> Json:
    """Read one agent.

    Raises
    ------
    CommandError
        If there is none of this name; the text suggests similar names.
    UnreachableError
        If no daemon answers.
    ApiError
        If the daemon answers with another error.
    """
    if name:
        try:
            return api.get(agent_path(name))
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise
    names = [agent.name for agent in api.agents()]
    if name in names:
        # It was added between the two requests.
        return api.get(agent_path(name))
    raise unknown_agent(name, names)


def agent_path(name: str, below: str = "") -> str:
    """Build the path of an agent's resource."""
    from urllib.parse import quote as quote_url

    return f"/v1/agents/{quote_url(name, safe='')}{below}"


def harness_facts(name: str) -> HarnessFacts:
    """Find what is known of a harness; nothing if it is not installed here."""
    from agentd.harness.base import NO_FACTS
    from agentd.harness.builtin import BUILT_IN

    harness = BUILT_IN.get(name)
    if harness is None:
        # Entry points take 40 ms to look up.
        from agentd.harness.registry import load_harnesses

        harness = load_harnesses().harnesses.get(name)
    return NO_FACTS if harness is None else harness.facts


def unknown(api: Api, name: str) -> CommandError:
    """Say that the daemon has no such agent, and suggest others.

    Raises
    ------
    UnreachableError
        If no daemon answers.
    ApiError
        If the daemon answers with another error.
    """
    return unknown_agent(name, [agent.name for agent in api.agents()])


def unknown_agent(name: str, names: list[str], *, otherwise: str = "agentctl list shows all agents") -> CommandError:
    """Say that there is no such agent, and suggest similar names of `names`, or else `otherwise`."""
    from difflib import get_close_matches

    from agentd.model.pool import WORKER_NAME

    by_lower = {known.lower(): known for known in names}
    replicas = [known for lower, known in by_lower.items() if re.fullmatch(rf"{re.escape(name.lower())}-\d+", lower)]
    close = sorted(by_lower[match] for match in get_close_matches(name.lower(), by_lower, n=3))
    if replicas:
        more = ", …" if len(replicas) > _SHOWN else ""
        hint = f"name one of {', '.join(map(printable, replicas[:_SHOWN]))}{more}"
    elif close:
        hint = f"did you mean {' or '.join(map(printable, close))}?"
    elif names:
        hint = otherwise
    else:
        hint = "the daemon has no agents; agentctl add declares one"
    example = "agentctl workers" if re.fullmatch(WORKER_NAME, name) else "agentctl list"
    return CommandError(f"there is no agent {quote(name)}: {hint}", "not_found", example)
