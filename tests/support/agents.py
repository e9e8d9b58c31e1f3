"""Jcards made of scripted agents."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import tomlkit

_BARE = re.compile(r"[A-Za-z0-9_-]+")

SCRIPT = Path(__file__).with_name("misbehaving_agent.py")


def misbehaving(*options: str | int | Path, python: str = sys.executable) -> list[str]:
    """Build the ``command`` of an agent that runs the scripted one; its options stand in its own help.

    Isolated and without site-packages: it starts in half the time, and coverage leaves it alone.
    A test that runs it as another user passes a ``python`` that this user can read.
    """
    return [python, "-I", "-S", "-X", "utf8", str(SCRIPT), *(str(option) for option in options)]


def jcard(*agents: Mapping[str, object], **top: object) -> str:
    """Write ``[[agents]]`` tables as TOML; ``harness`` is ``custom`` where an agent does not say."""
    if not agents:
        return tomlkit.dumps({**top, "agents": []})
    lines = _table("", top) if top else []
    for agent in agents:
        lines += ["[[agents]]", *_table("agents.", {"harness": "custom", **agent})]
    return "\n".join(lines)


def _table(prefix: str, table: Mapping[str, object]) -> list[str]:
    """Write a table as tomlkit does, which takes ten times as long: 5 ms for a usual jcard, a thousand times."""
    tables = {name: value for name, value in table.items() if isinstance(value, Mapping)}
    lines = [f"{_key(name)} = {_value(value)}" for name, value in table.items() if name not in tables]
    if lines or not tables:
        lines.append("")
    for name, value in tables.items():
        path = f"{prefix}{_key(name)}"
        below = _table(f"{path}.", value)
        lines += below if below[0].startswith("[") else [f"[{path}]", *below]
    return lines


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _value(name)


def _value(value: object) -> str:
    match value:
        case bool() | int():
            return str(value).lower()
        case str() if value.isprintable() and '"' not in value and "\\" not in value:
            return f'"{value}"'
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
        case Mapping():
            return f"{{{', '.join(f'{_key(name)} = {_value(inner)}' for name, inner in value.items())}}}"
        case _:
            return tomlkit.item(value).as_string()


class Recorded(TypedDict):
    """What ``--record`` writes. Bytes that are not UTF-8 are lone surrogates."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    pid: int
    parent: int
    group: int
    session: int
    uid: int
    gid: int
    groups: list[int]
    foreground: bool
    """Whether it is the terminal's foreground process group."""
    terminals: list[bool]
    """Whether stdin, stdout and stderr are terminals."""
    size: list[int] | None
    """Columns and rows."""
    ignored_signals: list[int]
    """As inherited."""
    open_files: list[int]
