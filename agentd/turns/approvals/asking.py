"""What an agent asks for, as rules are matched against it."""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agentd.turns.approvals.matching import Asked, AskedPath, Folder
from agentd.turns.approvals.shell import Script, read_line, read_words
from agentd.turns.conversation import Request

_COMMAND: Final = ("command", "cmd")
_FILES: Final = ("file_path", "filePath", "notebook_path", "absolute_path", "path", "dir_path")
_OTHERS: Final = "mcp__"
"""What tools of MCP servers begin with: what they mean by a command or a path is theirs to say."""
_UNBOUND: Final = "dangerouslyDisableSandbox"
"""With this, Claude Code would run the command without its own sandbox."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a tool is given, before its paths are looked up."""

    known: bool
    script: Script | None = None
    files: tuple[str, ...] = ()


NOTHING_KNOWN: Final = Given(known=False)


def given_of(request: Request) -> Given:
    """Read what a tool is given."""
    arguments = request.arguments
    if arguments is None or request.name.startswith(_OTHERS) or arguments.get(_UNBOUND):
        return NOTHING_KNOWN
    command = next((arguments[key] for key in _COMMAND if key in arguments), None)
    if command is not None:
        script = _script(command)
        return NOTHING_KNOWN if script is None else Given(known=True, script=script)
    return _files(arguments)


def _script(command: object) -> Script | None:
    if isinstance(command, str):
        return read_line(command)
    if isinstance(command, list) and all(isinstance(each, str) for each in command):
        return read_words(command)
    return None


def _files(arguments: Mapping[str, object]) -> Given:
    files = [arguments[key] for key in _FILES if key in arguments]
    if not all(isinstance(each, str) and each and "\0" not in each for each in files):
        return NOTHING_KNOWN
    return Given(known=True, files=tuple(map(str, files)))


def resolved_paths(given: Given, workdir: str) -> tuple[tuple[AskedPath, ...], Folder]:
    """Follow the symbolic links of its files; blocks, on paths that the agent controls."""
    paths = [path if path.startswith("/") else f"{workdir.rstrip('/')}/{path}" for path in given.files]
    found = tuple(AskedPath(path, _resolved(path)) for path in paths)
    return found, Folder(workdir, _resolved(workdir))


def _resolved(path: str) -> str | None:
    try:
        return os.path.realpath(path)
    except OSError:
        return None


def asked_of(agent: str, request: Request, given: Given, found: tuple[tuple[AskedPath, ...], Folder] | None) -> Asked:
    """Put together what is asked; without `found`, what its files lead to is not known."""
    if found is None:
        paths = tuple(AskedPath(path, None) for path in given.files)
        return Asked(agent, request.name, given.known, given.script, paths)
    return Asked(agent, request.name, given.known, given.script, *found)
