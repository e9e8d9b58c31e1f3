"""The resources' addresses. Pure."""

from __future__ import annotations

from typing import Final, Literal, get_args
from urllib.parse import quote, unquote

Part = Literal["transcript", "events", "screen"]
"""What of an agent there is to read."""

PARTS: Final[tuple[Part, ...]] = get_args(Part)

ONBOARDING: Final = "agentd://onboarding"
SKILL: Final = "agentd://skill.md"

_AGENTS: Final = "agentd://agents/"
AGENT_TEMPLATE: Final = _AGENTS + "{name}/"


def agent_uri(agent: str, part: str) -> str:
    """Give the address of a part of an agent."""
    return f"{_AGENTS}{quote(agent, safe='')}/{part}"


def agent_of(uri: str) -> tuple[str, Part] | None:
    """Read the address of a part of an agent; ``None`` if it is no such."""
    name, slash, last = uri.removeprefix(_AGENTS).partition("/")
    part = next((each for each in PARTS if each == last), None)
    if not uri.startswith(_AGENTS) or not slash or not name or part is None:
        return None
    return unquote(name), part
