"""The coding agents' programs on this machine: where they are, their versions, and whether they can log in."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from agentd.files.answering import NotAnsweringError, along, within
from agentd.harness.base import Credentials
from agentd.launch.preflight import PreflightError, find_program
from agentd.model.user import AgentUser
from agentd.process.runner import Runner, RunnerError

LONGEST_QUESTION: Final = 20.0
"""Seconds for a program to print its version: 0.3 to 2.8 on an idle machine."""
_LONGEST_ANSWER: Final = 64 * 1024
"""Bytes."""

_LARGEST_CACHE: Final = 1 << 20


def program_of(name: str, environment: Mapping[str, str], user: AgentUser) -> tuple[str | None, str | None]:
    """Find a program as an agent would; give it, or why there is none. Blocks."""
    try:
        return along(lambda way: find_program(name, environment, Path("/"), user, go=way.to)), None
    except (PreflightError, NotAnsweringError) as error:
        return None, str(error)


def environment_of(pid: int | None, otherwise: Mapping[str, str]) -> Mapping[str, str]:
    """Read the environment that a process was started with, if allowed."""
    if pid is None:
        return otherwise
    try:
        pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return otherwise
    return {
        os.fsdecode(name): os.fsdecode(value) for name, _, value in (pair.partition(b"=") for pair in pairs if pair)
    }


def credentials_found(credentials: Credentials, environment: Mapping[str, str], home: Path) -> str | None:
    """Say which credentials there are; never their value.

    Parameters
    ----------
    environment
        The agent's; of its secrets only the names are needed.
    home
        Of the agents' user, where the environment names none.
    """
    variable = next((name for name in credentials.variables if environment.get(name)), None)
    if variable is not None:
        return f"{variable} is set"
    home = Path(environment.get("HOME") or home)
    for file in credentials.files:
        folder = environment.get(file.folder_variable) if file.folder_variable else None
        path = (Path(folder) if folder else home / file.folder) / file.name
        try:
            if within(path, lambda path=path: path.stat().st_size):  # type: ignore[misc]  # bound early
                return f"{path} is there"
        except OSError:
            continue
    return None


class NoVersionError(Exception):
    """A program says no version; the text says why."""


def version_of(program: str, environment: Mapping[str, str], user: AgentUser) -> str:
    """Ask a program for its version, as the agents' user: the program may be that user's to replace.

    Raises
    ------
    NoVersionError
        If it does not say one.
    """
    own = {name: environment[name] for name in ("LANG", "TMPDIR", "HOME") if name in environment}
    try:
        runner = Runner(user, environment)
        done = runner.run([program, "--version"], environment=own, limit=LONGEST_QUESTION, most=_LONGEST_ANSWER)
    except RunnerError as failure:
        raise NoVersionError(f"gave no version: {failure}") from None
    lines = done.out.decode("utf-8", "replace").strip().splitlines()
    if not lines or done.status != 0:
        raise NoVersionError(f"says no version (status {done.status})")
    return lines[0]


class KnownVersions:
    """Versions by program, kept in a file: asking Claude Code takes 0.3 s, and opencode 2.

    Parameters
    ----------
    file
        Where; a file that cannot be read or written only costs that time.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known = self._read()

    def get(self, program: str) -> str | None:
        """Give the version of a program, if it is the same file as when that was kept."""
        return self._known.get(_identity(program))

    def keep(self, found: Mapping[str, str]) -> None:
        """Keep versions, by program."""
        if not found:
            return
        known = {**self._known, **{_identity(program): version for program, version in found.items()}}
        part = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        try:
            self._file.parent.mkdir(mode=0o700, exist_ok=True)
            part.write_text(json.dumps(known))
            part.replace(self._file)
        except OSError:
            # They are asked for again.
            part.unlink(missing_ok=True)

    def _read(self) -> dict[str, str]:
        try:
            with self._file.open("rb") as file:
                known = json.loads(file.read(_LARGEST_CACHE))
        except (OSError, ValueError):
            return {}
        return {str(key): str(value) for key, value in known.items()} if isinstance(known, dict) else {}


def _identity(program: str) -> str:
    try:
        found = Path(program).stat()
    except OSError:
        return program
    return f"{os.path.realpath(program)} {found.st_mtime_ns} {found.st_size}"
