"""Checks that a launch's workdir and program are there, or says what to do."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from agentd.files.answering import NotAnsweringError, Way
from agentd.files.looks import Looks
from agentd.files.permissions import may_enter, may_execute
from agentd.launch.interpreters import interpreter_of
from agentd.model.user import AgentUser
from agentd.text.quoting import quote

PATH_INHERITED = "agentd's own"
"""Where a PATH comes from that agentd was started with."""
PATH_SET = "set by env or a secret"
"""Where a PATH comes from that an agent's own variables give it."""

_MOST_REMEMBERED: Final = 10_000
"""Places of programs: each conversation of the gateway has a workdir of its own."""


class PreflightError(RuntimeError):
    """Something that a launch needs is missing; the text says what and where it was sought."""


Go = Callable[[str | Path], None]
"""Told of each path before it is touched."""


def _straight(_path: str | Path) -> None:
    """Check nothing on the way to a path."""


def check_workdir(workdir: Path, user: AgentUser) -> None:
    """Check that the agent can be in its workdir.

    Raises
    ------
    PreflightError
        If it is missing, not a folder, or closed to the agent's user.
    """
    try:
        found = workdir.stat()
    except FileNotFoundError:
        raise PreflightError(f"the workdir {workdir} does not exist; create it or change workdir") from None
    except OSError as error:
        raise PreflightError(f"cannot look at the workdir {workdir}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise PreflightError(f"expected the workdir {workdir} to be a folder; change workdir")
    if not may_enter(user, found):
        raise PreflightError(f"user {user.name} may not enter the workdir {workdir}; change its mode or owner")


def find_program(
    program: str,
    environment: Mapping[str, str],
    workdir: Path,
    user: AgentUser,
    origin: str = PATH_INHERITED,
    go: Go = _straight,
) -> str:
    """Look up a program as the agent's own shell would, on the agent's PATH and with its permissions.

    Parameters
    ----------
    origin
        Where that PATH comes from, for the error.
    go
        Told of each place before it is looked at.

    Raises
    ------
    PreflightError
        If there is none, with its name and the PATH searched.
    """
    if "/" in program:
        path = workdir / program
        go(path)
        if _executable(path, user):
            return str(path)
        raise PreflightError(f"the program {path} {_why_not(path)}")
    search = environment.get("PATH", "")
    for folder in search.split(":"):
        # An empty entry means the working directory (POSIX, XBD 8.3). Strings, not Path: with 33 entries and 300 agents
        # joining paths took 0.3 s of the daemon's time.
        candidate = os.path.join(workdir, folder, program)  # noqa: PTH118
        go(candidate)
        if _executable(candidate, user):
            return candidate
    words = "; a command is written as a list, each word by itself" if " " in program else ""
    raise PreflightError(
        f'cannot find the program "{program}" on the agent\'s PATH ({search}), which is {origin};'
        f" install it or set PATH in env{words}"
    )


class ProgramCache:
    """Remembers where programs were found, and looks again only if they are no longer there."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, Path], str] = {}

    def find(
        self,
        program: str,
        environment: Mapping[str, str],
        workdir: Path,
        user: AgentUser,
        origin: str = PATH_INHERITED,
        go: Go = _straight,
    ) -> str:
        """Look up a program as `find_program` does.

        Raises
        ------
        PreflightError
            If there is none.
        """
        key = program, environment.get("PATH", ""), workdir
        known = self._found.get(key)
        if known is not None:
            go(known)
            if _executable(known, user):
                return known
        found = find_program(program, environment, workdir, user, origin, go)
        if len(self._found) >= _MOST_REMEMBERED:
            # At once, since other threads may be looking.
            self._found.clear()
        self._found[key] = found
        return found


def check_interpreter(
    program: str,
    environment: Mapping[str, str],
    workdir: Path,
    user: AgentUser,
    origin: str = PATH_INHERITED,
    *,
    programs: ProgramCache | None = None,
    go: Go = _straight,
) -> None:
    """Check that what runs a script is there; the kernel would only say that there is no such file.

    Parameters
    ----------
    program
        Its path, as `find_program` gives it.
    programs
        What remembers where programs were found.

    Raises
    ------
    PreflightError
        If its interpreter is missing, or the program that ``env`` would look up for it.
    """
    go(program)
    named = interpreter_of(program, user)
    if named is None:
        return
    interpreter, sought = named
    path = workdir / interpreter
    go(path)
    if not _executable(path, user):
        raise PreflightError(
            f"the program {program} is a script for the interpreter {quote(str(path))}, which {_why_not(path)}; "
            "install that, or change the script's first line"
        )
    if sought is not None:
        try:
            (programs or ProgramCache()).find(sought, environment, workdir, user, origin, go)
        except PreflightError as error:
            raise PreflightError(f"the program {program} is a script for {quote(sought)}: {error}") from None


class Preflight:
    """Looks before each launch, off the event loop; launches that need the same share one look.

    Parameters
    ----------
    looks
        What it looks with.
    """

    def __init__(self, looks: Looks, user: AgentUser) -> None:
        self.looks = looks
        self._user = user
        self._programs = ProgramCache()
        self._under_way: dict[tuple[Path, str, str], asyncio.Future[None]] = {}

    async def check_folder(self, folder: Path) -> None:
        """Check that a folder is there.

        Raises
        ------
        PreflightError
            If it is not, or does not answer.
        """
        try:
            there = await self.looks.look(folder, folder.is_dir)
        except OSError as error:
            raise PreflightError(f"cannot look at {folder}: {error.strerror}") from None
        if not there:
            raise PreflightError(f"expected {folder} to be a folder")

    async def check(self, workdir: Path, program: str, environment: Mapping[str, str], origin: str) -> None:
        """Check that the workdir and the program are there.

        Raises
        ------
        PreflightError
            If one of them is not, or does not answer.
        """
        key = workdir, program, environment.get("PATH", "")
        under_way = self._under_way.get(key)
        if under_way is None:
            look = partial(self._look, workdir, program, environment, origin)
            under_way = self._under_way[key] = self.looks.along(look)
            under_way.add_done_callback(lambda future: self._looked(key, future))
        # Shielded: an agent that no longer waits does not end the others' look.
        try:
            await asyncio.shield(under_way)
        except NotAnsweringError as error:
            raise PreflightError(
                f"{error.strerror}: it is on the way to the workdir {workdir} or to the program {program!r}; "
                "mount it again, or unmount it"
            ) from None

    def _looked(self, key: tuple[Path, str, str], future: asyncio.Future[None]) -> None:
        del self._under_way[key]
        if not future.cancelled():
            # Retrieved here, since whoever asked may be gone.
            future.exception()

    def _look(self, workdir: Path, program: str, environment: Mapping[str, str], origin: str, way: Way) -> None:
        way.to(workdir)
        check_workdir(workdir, self._user)
        found = self._programs.find(program, environment, workdir, self._user, origin, way.to)
        check_interpreter(found, environment, workdir, self._user, origin, programs=self._programs, go=way.to)


def _why_not(path: Path) -> str:
    try:
        path.stat()
    except FileNotFoundError:
        return "does not exist"
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"
    return "is not executable"


def _executable(path: str | Path, user: AgentUser) -> bool:
    try:
        found = os.stat(path)  # noqa: PTH116 (called for every entry of a PATH)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and may_execute(user, found)
