"""Making a workspace: files that are missing are written, what is there is never touched.

A shell script run as the agents' user does it, so that nothing the agent put there (a link where a folder was) makes
root write where the agent may not.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from agentd.launch.launcher import quote
from agentd.process.runner import Runner, RunnerError
from agentd.workspaces.roles import INSTRUCTION_LINKS, INSTRUCTIONS

WORKSPACES: Final = "workspaces"
"""Folder of workspaces, in the data directory."""

_MADE = b"made "


class WorkspaceError(RuntimeError):
    """A workspace cannot be made; the text says why."""


def make_workspace(runner: Runner, folder: Path, texts: Mapping[str, str]) -> list[str]:
    """Write the files of a workspace that are missing.

    Parameters
    ----------
    runner
        Runs the script as the agents' user.
    folder
        The workspace, made with its parents where it is missing.
    texts
        Text by path in the workspace. Where instructions are among them, the names that other harnesses look for are
        made links to them.

    Returns
    -------
    What was made, as paths in the workspace.

    Raises
    ------
    WorkspaceError
        If something cannot be made.
    """
    links = INSTRUCTION_LINKS if INSTRUCTIONS in texts else ()
    done = _run(runner, _script(folder, texts, links))
    return [os.fsdecode(line.removeprefix(_MADE)) for line in done.splitlines() if line.startswith(_MADE)]


def _run(runner: Runner, script: bytes) -> bytes:
    try:
        done = runner.script(script)
    except RunnerError as error:
        raise WorkspaceError(str(error)) from error
    if done.status != 0:
        raise WorkspaceError(f"as user {runner.user.name}: {done.reason}")
    return done.out


def _script(folder: Path, texts: Mapping[str, str], links: tuple[str, ...]) -> bytes:
    # With noclobber, > makes a file with O_EXCL: neither an existing file nor a link's target is ever written to.
    lines = [
        b"set -eC",
        b"umask 077",
        b"mkdir -p -- " + quote(os.fsencode(folder)),
        b"cd -- " + quote(os.fsencode(folder)),
    ]
    for name, text in texts.items():
        path = quote(name)
        parent = str(PurePosixPath(name).parent)
        if parent != ".":
            lines.append(b"mkdir -p -- " + quote(parent))
        lines.append(
            b"if ! [ -e " + path + b" ] && ! [ -L " + path + b" ]; then printf %s " + quote(text) + b" >" + path
            + b"; printf '%s\\n' " + quote(_MADE.decode() + name) + b"; fi"
        )  # fmt: skip
    for name in links:
        path = quote(name)
        lines.append(
            b"if ! [ -e " + path + b" ] && ! [ -L " + path + b" ]; then ln -s -- " + quote(INSTRUCTIONS) + b" " + path
            + b"; printf '%s\\n' " + quote(_MADE.decode() + name) + b"; fi"
        )  # fmt: skip
    return b"\n".join(lines) + b"\n"
