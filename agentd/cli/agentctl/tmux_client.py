"""tmux' own client, run so that the server it talks to gains nothing by it.

The server belongs to the agents' user, and tmux trusts servers: a client sends its whole environment, opens files that
the server names, and runs a command in its place when told to (``detach-client -E``, ``lock-client``). So the client
gets a small environment, and root's runs as the owner of the server's socket. Not by libtmux, which can do neither
and costs 300 ms to import.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TOLD = ("PATH", "TERM", "COLORTERM", "LANG", "LC_ALL", "LC_CTYPE")
"""Variables that the client needs."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom the client is run as."""

    uid: int
    gid: int
    groups: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client said."""

    status: int
    out: tuple[str, ...]
    """Lines, without blank ones at the end; bytes that are no UTF-8 as escapes."""
    err: str


@dataclass(frozen=True, slots=True)
class TmuxClient:
    """The client for the server on one socket."""

    socket: Path

    def run(self, *command: str, text: bytes | None = None) -> Answer:
        """Run tmux commands, with a text for those that read one (``load-buffer -``).

        Raises
        ------
        FileNotFoundError
            If there is no tmux on the PATH.
        """
        owner = self.owner()
        # -u, for tmux writes UTF-8 only where the locale is said to have it.
        argv = ("tmux", "-u", "-S", str(self.socket), *command)
        done = subprocess.run(
            argv,
            env=environment(os.environ),
            input=text or b"",
            capture_output=True,
            check=False,
            user=None if owner is None else owner.uid,
            group=None if owner is None else owner.gid,
            extra_groups=None if owner is None else owner.groups,
        )
        lines = done.stdout.decode("utf-8", "backslashreplace").split("\n")
        while lines and not lines[-1]:
            lines.pop()
        return Answer(done.returncode, tuple(lines), done.stderr.decode("utf-8", "backslashreplace").strip())

    def owner(self) -> Owner | None:
        """Whom to run the client as; ``None`` to stay who we are: not root, or the server is root's too."""
        if os.geteuid() != 0:
            return None
        try:
            # Not of what a link leads to: the agents' user may have put the link there.
            uid = self.socket.lstat().st_uid
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
    """What the client, and so the server, is told of our environment."""
    return {name: environ[name] for name in _TOLD if name in environ}
