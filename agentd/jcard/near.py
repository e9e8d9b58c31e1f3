"""Guess what an unknown name was meant to be."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

from agentd.jcard.table import AgentTable
from agentd.text.quoting import quote

_OTHER_WORDS: Final = {
    "cwd": "workdir",
    "dir": "workdir",
    "directory": "workdir",
    "working_directory": "workdir",
    "working_dir": "workdir",
    "cmd": "command",
    "environment": "env",
    "environ": "env",
    "instances": "replicas",
    "count": "replicas",
    "disabled": "enabled",
    "packages": "extra_packages",
}
"""Other programs' names of some fields, too different to be found by similarity."""

_TABLES: Final = ("agent", "agents")
_FURTHER: Final = {"triggers": {"agent"}, "notify": {"on"}, "pools": {"slots"}, "approve": {"decision"}}
"""The other arrays of tables, and the fields that each of their tables must have."""
_PARTS: Final = {
    "gateway": frozenset({"listen", "database", "max_concurrency", "hosts", "origins", "tokens", "channels"}),
    "budget": frozenset({"usd", "day", "turns", "on_breach"}),
    "otel": frozenset({"endpoint", "headers", "content"}),
}
"""The tables for parts of agentd, and fields by which each of them is known."""
_SURE: Final = 0.75
"""Similarity that a top-level name needs: "agnets" has 0.83, "events" 0.67."""


def near_field(key: str) -> str | None:
    """Find the field of an agent that a key was probably meant as."""
    lower = key.casefold()
    fields = list(AgentTable.model_fields)
    if lower in fields:
        return lower
    known = _OTHER_WORDS.get(lower.replace("-", "_"))
    return known or next(iter(get_close_matches(lower, fields, n=1)), None)


def did_you_mean(name: str | None) -> str:
    """Add the guess to a message, if there is one."""
    return f"; did you mean {quote(name)}?" if name is not None else ""


def outside_a_table(key: str, value: object) -> bool:
    """Whether a top-level key was probably meant for an agent, whose table has no header above it."""
    return key == "harness" and isinstance(value, str)


def meant_as_agents(key: str, value: object) -> str | None:
    """Say how to write a top-level key that was probably meant as ``agent`` or ``agents``.

    A jcard may hold tables of other programs. So a name that differs in more than case counts only if its tables name
    a harness.
    """
    tables = value if isinstance(value, list) else [value]
    if key in _TABLES or not all(isinstance(table, dict) for table in tables):
        return None
    lower = key.casefold()
    if lower not in _TABLES and not (_names_harness(tables) and get_close_matches(lower, _TABLES, n=1, cutoff=_SURE)):
        return None
    return "[[agents]]" if isinstance(value, list) else "[agent]"


def meant_as_further(key: str, value: object) -> str | None:
    """Say how to write a top-level key that was probably meant as ``triggers``, ``notify``, ``pools`` or ``approve``.

    It counts only if each of its tables has what such a table must have: a jcard may hold tables of other programs.
    """
    tables = value if isinstance(value, list) else [value]
    if key in _FURTHER or not tables or not all(isinstance(table, dict) for table in tables):
        return None
    near = get_close_matches(key.casefold(), _FURTHER, n=1, cutoff=_SURE)
    fields = [set(table) for table in tables if isinstance(table, dict)]
    return next((f"[[{name}]]" for name in near if all(each >= _FURTHER[name] for each in fields)), None)


def meant_as_part(key: str, value: object) -> str | None:
    """Say how to write a top-level key that was probably meant as ``gateway``, ``budget`` or ``otel``.

    It counts only if its table has a field that such a table has: a jcard may hold tables of other programs.
    """
    if key in _PARTS or not isinstance(value, dict):
        return None
    near = get_close_matches(key.casefold(), _PARTS, n=1, cutoff=_SURE)
    return next((f"[{name}]" for name in near if not _PARTS[name].isdisjoint(value)), None)


def _names_harness(tables: Sequence[object]) -> bool:
    return any(isinstance(table, dict) and any(key.casefold() == "harness" for key in table) for table in tables)
