"""Who says what the models of agents use, and cost. Pure."""

from __future__ import annotations

from typing import Final

_COST: Final = {"claude-code": "status line"}
"""Where a harness does not say the cost where it says the tokens."""

_SILENT: Final = frozenset({"codex", "gemini-cli"})
"""Harnesses that never say a cost."""


def usage_source(harness: str) -> str:
    """Say where the tokens are from."""
    return f"{harness}'s own record"


def cost_source(harness: str) -> str:
    """Say where the cost is from."""
    return f"{harness}'s {_COST[harness]}" if harness in _COST else usage_source(harness)


def says_cost(harness: str) -> bool:
    """Whether a harness may say what its turns cost; a program of one's own, and one by ACP, may or may not."""
    return harness not in _SILENT
