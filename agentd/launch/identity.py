"""Who agents run as, who may use the sockets, and what agents inherit."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass

from agentd.launch.inheritance import inherited
from agentd.launch.login import Login, merge_paths
from agentd.launch.preflight import PATH_INHERITED
from agentd.model.user import AgentUser

ADMIN_GROUP = "admin"
"""The group that root admits to the sockets, where it exists."""


class IdentityError(ValueError):
    """A user or group that cannot be used; the text names the flag."""


@dataclass(frozen=True, slots=True)
class AdminGroup:
    """The group that may use the sockets."""

    name: str
    gid: int

    def members(self) -> tuple[str, ...]:
        """Names of its members, those included whose primary group it is."""
        try:
            listed = grp.getgrgid(self.gid).gr_mem
        except KeyError:
            return ()
        primary = [entry.pw_name for entry in pwd.getpwall() if entry.pw_gid == self.gid]
        return tuple(sorted({*listed, *primary}))


def admin_group(name: str | None) -> AdminGroup | None:
    """Find the admin group.

    Raises
    ------
    IdentityError
        If the named one does not exist.
    """
    wanted = name
    if wanted is None:
        if os.geteuid() != 0:
            return None
        wanted = ADMIN_GROUP
    try:
        return AdminGroup(wanted, grp.getgrnam(wanted).gr_gid)
    except KeyError:
        if name is None:
            return None
        raise IdentityError(f"--admin-group: there is no group {name!r}") from None


def base_environment(user: AgentUser, environ: Mapping[str, str], login: Login, *, root: bool) -> dict[str, str]:
    """What every agent inherits: a clean environment from root, else the daemon's own without what concerns it only.

    To a clean one belongs what a login gives the agents' user. The daemon's own ``PATH`` comes before the login's.
    """
    if root:
        kept = {name: environ[name] for name in ("PATH", "LANG") if name in environ}
        path = merge_paths(kept.get("PATH", ""), login.variables.get("PATH", ""))
        own = {"HOME": str(user.home), "USER": user.name, "LOGNAME": user.name, "SHELL": user.shell}
        return {**login.variables, **kept, **({"PATH": path} if path else {}), **own}
    return inherited(environ)


def path_origin(user: AgentUser, login: Login) -> str:
    """Say where the PATH of an agent that does not set its own comes from."""
    if login.problem is not None:
        return f"{PATH_INHERITED} alone, as {login.problem}"
    if "PATH" in login.variables:
        return f"{PATH_INHERITED}, then that of a login of {user.name}"
    return PATH_INHERITED


def server_environment(user: AgentUser, environ: Mapping[str, str], shell: str) -> dict[str, str]:
    """The tmux server's own environment, small and without secrets: agents get theirs from the launcher."""
    kept = {name: environ[name] for name in ("PATH", "LANG", "TMUX_TMPDIR") if name in environ}
    return (
        {"LANG": "C.UTF-8"}
        | kept
        | {"HOME": str(user.home), "USER": user.name, "SHELL": shell, "TERM": "xterm-256color"}
    )
