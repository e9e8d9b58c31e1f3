"""What must be there before a launch: the workdir and the program; else a reason that a person can act on."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from agentd.supervise.user import AgentUser

PATH_INHERITED = "agentd's own"
"""Where a PATH comes from that agentd was started with."""
PATH_SET = "set by env or a secret"
"""Where a PATH comes from that an agent's own variables give it."""


class PreflightError(RuntimeError):
    """Something that a launch needs is missing; the text says what and where it was sought."""


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
    if not user.may_enter(found.st_mode, found.st_uid, found.st_gid):
        raise PreflightError(f"user {user.name} may not enter the workdir {workdir}; change its mode or owner")


def find_program(
    program: str, environment: Mapping[str, str], workdir: Path, user: AgentUser, origin: str = PATH_INHERITED
) -> str:
    """Look up a program as the agent's own shell would, on the agent's PATH and with its permissions.

    Parameters
    ----------
    origin
        Where that PATH comes from, for the error.

    Raises
    ------
    PreflightError
        If there is none, with its name and the PATH searched.
    """
    if "/" in program:
        path = workdir / program
        if _executable(path, user):
            return str(path)
        raise PreflightError(f"the program {path} {_why_not(path)}")
    search = environment.get("PATH", "")
    for folder in search.split(":"):
        # An empty entry means the working directory (POSIX, XBD 8.3). Strings, not Path: with 33 entries and 300 agents
        # joining paths took 0.3 s of the daemon's time.
        candidate = os.path.join(workdir, folder, program)  # noqa: PTH118
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
    ) -> str:
        """Look up a program as `find_program` does.

        Raises
        ------
        PreflightError
            If there is none.
        """
        key = program, environment.get("PATH", ""), workdir
        known = self._found.get(key)
        if known is not None and _executable(known, user):
            return known
        found = self._found[key] = find_program(program, environment, workdir, user, origin)
        return found


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
    return stat.S_ISREG(found.st_mode) and user.may_execute(found.st_mode, found.st_uid, found.st_gid)
