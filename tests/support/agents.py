"""Jcards made of scripted agents."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import tomlkit

SCRIPT = Path(__file__).with_name("misbehaving_agent.py")


def misbehaving(*options: str | int | Path, python: str = sys.executable) -> list[str]:
    """Build the ``command`` of an agent that runs the scripted one; its options stand in its own help.

    Isolated and without site-packages: it starts in half the time, and coverage leaves it alone.
    A test that runs it as another user passes a ``python`` that this user can read.
    """
    return [python, "-I", "-S", "-X", "utf8", str(SCRIPT), *(str(option) for option in options)]


def jcard(*agents: Mapping[str, object], **top: object) -> str:
    """Write ``[[agents]]`` tables as TOML; ``harness`` is ``custom`` where an agent does not say."""
    return tomlkit.dumps({**top, "agents": [{"harness": "custom", **agent} for agent in agents]})


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
