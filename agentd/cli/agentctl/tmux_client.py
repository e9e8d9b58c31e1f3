"""Run the tmux client so that the server gains nothing by it.

The server belongs to the agents' user, and tmux trusts servers: a client sends its whole environment, opens files that
the server names, and runs commands for it (``detach-client -E``, ``lock-client``). So the client gets a small
environment, and root's runs as the owner of the server's socket.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_PASSED = ("PATH", "TERM", "COLORTERM", "LANG", "LC_ALL", "LC_CTYPE")
"""Variables that the client needs."""

LONGEST_ANSWER = 20.0
"""Seconds for one command: a server may be stopped, or have hooks that never end."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The user who runs the client."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def run_client(socket: Path, *command: str, text: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run tmux commands, with `text` as their standard input (``load-buffer -``).

    Raises
    ------
    FileNotFoundError
        If there is no tmux on the PATH.
    subprocess.TimeoutExpired
        If the server does not answer.
    """
    owner = owner_of(socket)
    return subprocess.run(
        # Without -u, tmux writes UTF-8 only in a UTF-8 locale.
        ("tmux", "-u", "-S", str(socket), *command),
        env=environment(os.environ),
        input=text or b"",
        capture_output=True,
        check=False,
        timeout=LONGEST_ANSWER,
        user=None if owner is None else owner.uid,
        group=None if owner is None else owner.gid,
        extra_groups=None if owner is None else owner.groups,
    )


def owner_of(socket: Path) -> Owner | None:
    """Decide who runs the client; ``None`` for ourselves, if we are not root or the server is root's."""
    if os.geteuid() != 0:
        return None
    try:
        # Not the owner of a link's target: the agents' user may have made the link.
        uid = socket.lstat().st_uid
    except OSError:
        return None
    if uid == 0:
        return None
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Owner(uid, uid, ())
    return Owner(uid, entry.pw_gid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)))


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Choose the variables that the client, and so the server, gets."""
    return {name: environ[name] for name in _PASSED if name in environ}
