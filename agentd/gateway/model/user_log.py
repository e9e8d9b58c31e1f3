"""The lines of a managed agent's log, from those of agentd's stream. Pure."""

from __future__ import annotations

from typing import Final

from agentd.gateway.model.follow import Line
from agentd.text.timestamps import rfc3339_milliseconds

_SHOWN: Final = {
    "started": ("prompt",),
    "text": ("text",),
    "tool_started": ("name", "text"),
    "tool_completed": ("tool", "ok"),
    "permission_asked": ("name", "text"),
    "permission_resolved": ("decision",),
    "question_asked": ("text",),
    "ended": ("outcome", "failure", "error"),
    "activity": ("activity",),
}
"""What is told of each kind; pieces of texts are not, since the text comes whole."""

_LONGEST: Final = 4000
"""Characters of a line."""


def log_line(line: Line, agent: str) -> str | None:
    """Write a line; ``None`` if it says nothing that a log should have."""
    kind, at = str(line.get("kind")), line.get("at")
    fields = _SHOWN.get(kind)
    if fields is None or not isinstance(at, int | float):
        return None
    told = [str(line[name]) for name in fields if line.get(name) not in (None, "")]
    text = " ".join(" ".join(told).split())
    return f"{rfc3339_milliseconds(at)} {agent} {kind}{f' {text}' if text else ''}"[:_LONGEST]
