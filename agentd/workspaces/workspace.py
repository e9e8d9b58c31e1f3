"""Create a workspace: write missing files, and never touch existing ones.

A shell script does it as the agents' user: so nothing that an agent put there, such as a link in place of a folder,
makes root write elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from agentd.process.runner import Runner, RunnerError
from agentd.text.quoting import shell_quote
from agentd.workspaces.roles import INSTRUCTION_LINKS, INSTRUCTIONS

WORKSPACES: Final = "workspaces"
"""Folder of the workspaces, in the data directory."""

_MADE = b"made "


class WorkspaceError(RuntimeError):
    """A workspace cannot be created; the message says why."""


def make_workspace(runner: Runner, folder: Path, texts: Mapping[str, str]) -> list[str]:
    """Write the missing files of a workspace.

    Parameters
    ----------
    runner
        Runs the script as the agents' user.
    folder
        The workspace; created with its parents if it is missing.
    texts
        Text by path in the workspace. If instructions are among them, the names that other harnesses look for become
        links to them.

    Returns
    -------
    What was created, as paths in the workspace.

    Raises
    ------
    WorkspaceError
        If something cannot be created.
    """
    links = INSTRUCTION_LINKS if INSTRUCTIONS in texts else ()
    try:
        said = runner.must(_script(folder, texts, links), f"as user {runner.user.name}")
    except RunnerError as error:
        raise WorkspaceError(str(error)) from error
    return [os.fsdecode(line.removeprefix(_MADE)) for line in said.splitlines() if line.startswith(_MADE)]


def _script(folder: Path, texts: Mapping[str, str], links: tuple[str, ...]) -> bytes:
    # With noclobber, > creates a file with O_EXCL: it never writes to an existing file or a link's target.
    lines = [b"set -eC", b"umask 077", b"mkdir -p -- " + shell_quote(folder), b"cd -- " + shell_quote(folder)]
    for name, text in texts.items():
        parent = str(PurePosixPath(name).parent)
        if parent != ".":
            lines.append(b"mkdir -p -- " + shell_quote(parent))
        lines.append(_unless_there(name, b"printf %s " + shell_quote(text) + b" >" + shell_quote(name)))
    lines += [
        _unless_there(name, b"ln -s -- " + shell_quote(INSTRUCTIONS) + b" " + shell_quote(name)) for name in links
    ]
    return b"\n".join(lines) + b"\n"


def _unless_there(name: str, command: bytes) -> bytes:
    path, report = shell_quote(name), shell_quote(_MADE.decode() + name)
    return b"if ! [ -e %b ] && ! [ -L %b ]; then %b; printf '%%s\\n' %b; fi" % (path, path, command, report)
