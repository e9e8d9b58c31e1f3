"""Rendering by the harness."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agentd.gateway.model.errors import InvalidRequestError
from agentd.gateway.model.wanted import WantedAgent
from agentd.gateway.render import claude, codex, gemini, opencode
from agentd.gateway.render.rendered import Rendered

HARNESSES: Final = ("claude-code", "codex", "gemini-cli", "opencode")
"""Those of whose configuration it is known how."""


def render(agent: WantedAgent, folder: Path) -> Rendered:
    """Render an agent.

    Raises
    ------
    InvalidRequestError
        If its harness has no notion of something.
    """
    match agent.harness:
        case "claude-code":
            return claude.render(agent)
        case "codex":
            return codex.render(agent, folder)
        case "gemini-cli":
            return gemini.render(agent)
        case "opencode":
            return opencode.render(agent)
        case _:
            known = ", ".join(HARNESSES)
            raise InvalidRequestError(
                "harness", f"found {agent.harness}, expected one of {known}: it reads no definition"
            )
