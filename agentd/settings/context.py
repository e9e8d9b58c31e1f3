"""Resolve the agents' user and what a jcard's relative and default values refer to; read its bytes."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from agentd.files.regular import read_regular, without_mark
from agentd.model.spec import HarnessTraits, LoadContext
from agentd.model.user import AgentUser
from agentd.settings.folders import SettingsError, home_folder

AGENT_USER = "agent"
"""The user that root runs agents as, if it exists."""

AGENT_USER_WORKDIR = Path("/home/agent/workspace")
"""Default workdir for agents that run as `AGENT_USER`."""


_SHELL = "/bin/sh"

LARGEST_CONFIG = 16 * 1024 * 1024
"""Bytes; thousands of agents with long prompts are a tenth of it."""


class ConfigUnavailableError(Exception):
    """There is no jcard to read; the message says why and what to do."""


class ConfigMissingError(ConfigUnavailableError):
    """There is no such file."""


def resolve_agent_user(agent_user: str | None, environ: Mapping[str, str]) -> tuple[AgentUser, str | None]:
    """Decide which user the agents run as.

    Parameters
    ----------
    agent_user
        The configured name. ``None`` means `AGENT_USER`, or else root, if agentd is root; otherwise the invoking user.
    environ
        For ``HOME`` and ``SHELL`` of an invoking user other than root, which the agents inherit.

    Returns
    -------
    The user, and a warning for the log.

    Raises
    ------
    SettingsError
        If the user does not exist, or is another one and agentd is not root.
    """
    uid = os.geteuid()
    if uid != 0:
        return _invoking_user(agent_user, uid, environ), None
    if agent_user is not None:
        return _user_of(_named(agent_user)), None
    try:
        return _user_of(pwd.getpwnam(AGENT_USER)), None
    except KeyError:
        warning = f"there is no user {AGENT_USER}: agents run as root; name their user with --agent-user"
        return _user_of(pwd.getpwuid(0)), warning


def _invoking_user(agent_user: str | None, uid: int, environ: Mapping[str, str]) -> AgentUser:
    if agent_user is not None and (asked := _named(agent_user)).pw_uid != uid:
        raise SettingsError(f"--agent-user: only root can run agents as {asked.pw_name}; start agentd as that user")
    try:
        entry = pwd.getpwuid(uid)
        name, shell = entry.pw_name, entry.pw_shell
    except KeyError:
        # Containers may run as users that are in no database.
        name, shell = str(uid), ""
    return AgentUser(
        name=name,
        uid=uid,
        gid=os.getegid(),
        groups=tuple(os.getgroups()),
        home=home_folder(environ),
        shell=environ.get("SHELL") or shell or _SHELL,
        switch=False,
    )


def _named(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise SettingsError(f"--agent-user: there is no user {name!r}") from None


def _user_of(entry: pwd.struct_passwd) -> AgentUser:
    """Build the agents' user of a root agentd from the user database."""
    return AgentUser(
        name=entry.pw_name,
        uid=entry.pw_uid,
        gid=entry.pw_gid,
        groups=tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)),
        home=Path(entry.pw_dir),
        shell=entry.pw_shell or _SHELL,
        switch=entry.pw_uid != os.geteuid(),
    )


def resolve_data_dir(data_dir: Path | None, user: AgentUser) -> Path:
    """Give the folder of worktrees and workspaces: by default in the home of the agents' user."""
    return user.home / ".local" / "share" / "agentd" if data_dir is None else data_dir


def load_context(
    config: Path, agent_user: str, agent_home: Path, harnesses: Mapping[str, HarnessTraits], data_dir: Path
) -> LoadContext:
    """Build the context that the jcard ``config`` (an absolute path) is loaded in.

    Parameters
    ----------
    config
        Absolute path of the jcard.
    agent_user
        Name of the agents' user.
    agent_home
        Home of the agents' user.
    harnesses
        The registered harnesses by name.
    data_dir
        Folder of worktrees and workspaces, absolute.
    """
    folder = config.parent
    default_workdir = AGENT_USER_WORKDIR if agent_user == AGENT_USER else folder
    return LoadContext(folder, agent_home, default_workdir, harnesses, data_dir)


def read_config(path: Path) -> bytes:
    """Read a jcard's bytes.

    Raises
    ------
    ConfigUnavailableError
        If it is missing, empty (zero bytes count as missing: a file that is being written), unreadable, no regular
        file, or larger than `LARGEST_CONFIG`.
    """
    try:
        data = read_regular(path, LARGEST_CONFIG)
    except FileNotFoundError:
        raise ConfigMissingError(f"{path}: there is no such file: write it, or name another with --config") from None
    except OSError as error:
        raise ConfigUnavailableError(f"{path}: cannot be read: {error.strerror}") from error
    if not without_mark(data):
        raise ConfigUnavailableError(f"{path}: the file is empty (zero bytes), which counts as missing")
    return data
