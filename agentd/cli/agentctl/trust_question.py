"""See on an agent's screen whether its harness asks to trust the folder."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from agentd.cli.agentctl.client import Api, ApiError, view
from agentd.cli.agentctl.lookup import agent_path, harness_facts
from agentd.harness.base import NO_FACTS, HarnessFacts
from agentd.model.events import EventKind
from agentd.model.screen import Screen
from agentd.model.status import AgentStatus

_LONGEST: Final = 15.0
"""Seconds until a program that starts shows its prompt or its question: 0.6 to 2.2 measured, much more under load."""

_STILL: Final = 3.0
"""Seconds after which one that shows something else is taken to have started all the same."""

_LOOK_AFTER: Final = 0.1

_FRAMES = re.compile(r"[\s\u2500-\u257f]+")
"""Separates the words of a sentence that is wrapped, perhaps in a frame."""


def asked(facts: HarnessFacts, screen: str) -> str | None:
    """Find the harness' question on a screen, if it is worded as in the versions we know."""
    if facts.trust is None or (facts.ready_marker is not None and facts.ready_marker in screen):
        # Once the harness is ready, the sentence can only be part of a conversation.
        return None
    shown = _FRAMES.sub(" ", screen)
    return next((question for question in facts.trust.questions if question in shown), None)


def waits_for(api: Api, agent: AgentStatus) -> str | None:
    """Say which question a running agent waits at, and what to do; ``None`` if none is seen.

    Raises
    ------
    UnreachableError
        If no daemon answers.
    """
    return _waits_at(agent, _screen(api, agent))


def _waits_at(agent: AgentStatus, screen: str) -> str | None:
    question = asked(_facts(agent), screen)
    return None if question is None else f"waits for an answer: {question}; agentctl attach {agent.name}"


def first_seen(api: Api, agent: AgentStatus) -> tuple[str | None, str | None]:
    """Watch an agent that has just started until it asks, is trusted, or is ready.

    Returns
    -------
    The file in which agentd had its harness trust its folder, or what the agent waits for; at most one of them.

    Raises
    ------
    UnreachableError
        If no daemon answers.
    """
    facts = _facts(agent)
    trusted = trusted_by(api, agent)
    shown, changed = "", time.monotonic()
    end = changed + _LONGEST
    while trusted is None and facts.trust is not None and time.monotonic() < end:
        before, shown = shown, _screen(api, agent)
        waiting = _waits_at(agent, shown)
        if waiting is not None:
            return None, waiting
        if shown != before:
            changed = time.monotonic()
        still = bool(shown.strip()) and time.monotonic() > changed + _STILL
        ready = still or (facts.ready_marker is not None and facts.ready_marker in shown)
        time.sleep(_LOOK_AFTER)  # noqa: TID251 (a person waits, and a screen tells of no changes)
        # The journal may lag a little, also behind an agent that was ready at once.
        trusted = trusted_by(api, agent)
        if ready:
            break
    return trusted, None


def trusted_by(api: Api, agent: AgentStatus) -> str | None:
    """Name the file in which agentd had the agent's harness trust its folder, if it did."""
    query = urlencode({"agent": agent.name, "kind": EventKind.TRUSTED.value, "tail": 1})
    try:
        events = api.get(f"/v1/events?{query}")
    except ApiError:
        # The daemon has no events.
        return None
    event = events[-1] if isinstance(events, list) and events else None
    data = event.get("data") if isinstance(event, dict) else None
    if not isinstance(data, dict) or not Path(agent.workdir).is_relative_to(str(data.get("folder"))):
        return None
    return str(data.get("path")) if data.get("harness") == agent.harness else None


def _facts(agent: AgentStatus) -> HarnessFacts:
    return harness_facts(agent.harness) if agent.running else NO_FACTS


def _screen(api: Api, agent: AgentStatus) -> str:
    if _facts(agent).trust is None:
        return ""
    try:
        return "\n".join(view(Screen, api.get(f"{agent_path(agent.name, '/screen')}?format=json")).lines)
    except ApiError:
        # It has just ended, or its terminal cannot be read.
        return ""
