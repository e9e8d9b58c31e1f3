"""What a login gives the agents' user: the PATH on which its programs are, and where certificates and proxies are.

Root starts agents with a clean environment, in which a service manager's PATH is often too short: NixOS, a version
manager and ``~/.local/bin`` put the coding agents on the PATH of their user's login alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from agentd.files.worker import in_thread
from agentd.model.user import AgentUser

LOGIN_LIMIT = 5.0
"""Seconds that a login may take; one with a version manager for node takes 0.5 to 1."""

TAKEN = frozenset({
    "PATH",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "NIX_SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
    "LANG", "LOCALE_ARCHIVE", "TZDIR", "NIX_PATH", "NIX_PROFILES",
})  # fmt: skip
"""The variables that agents get from a login: where programs, certificates, locales and proxies are; no others."""

_NO_LOGIN = frozenset({"nologin", "false"})
"""Shells of users who do not log in: nothing is missing."""
_LONGEST = 256 * 1024
"""Bytes of an environment; Linux gives a program 128 KiB for one variable."""
_CHUNK = 65536
_KILLED_LIMIT = 1.0
"""Seconds for a process to go that was killed."""


@dataclass(frozen=True, slots=True)
class Login:
    """What a login shell said."""

    variables: Mapping[str, str] = field(default_factory=dict)
    """Those of `TAKEN` that it set."""
    problem: str | None = None
    """Why nothing is known of a login; ``None`` if it is, or if there is none to ask."""


def read_login(user: AgentUser, environ: Mapping[str, str], limit: float = LOGIN_LIMIT) -> Login:
    """Ask the agents' user's login shell for its environment; blocks for `limit` seconds at most.

    The shell is executed as that user, without a terminal, and what it prints before it is passed over. Only a user
    that agentd must become is asked: otherwise the environment is agentd's own already.

    Parameters
    ----------
    environ
        The daemon's environment: a login starts with its ``PATH`` and ``LANG``.
    limit
        Seconds.
    """
    if not user.switch or Path(user.shell).name in _NO_LOGIN:
        return Login()
    mark = secrets.token_hex(8)
    # A leading dash in its name makes any shell a login shell; csh knows no other way beside a command.
    argv = [f"-{Path(user.shell).name}", "-c", f"echo; echo {mark}; exec /usr/bin/env -0"]
    own = {name: environ[name] for name in ("PATH", "LANG") if name in environ}
    try:
        process = subprocess.Popen(
            argv,
            executable=user.shell,
            env={**own, "HOME": str(user.home), "USER": user.name, "LOGNAME": user.name, "SHELL": user.shell},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            user=user.uid,
            group=user.gid,
            extra_groups=user.groups,
        )
    except OSError as error:
        return Login(problem=f"the login shell {user.shell} of {user.name} cannot be run: {error.strerror}")
    assert process.stdout is not None
    with process.stdout as pipe:
        said, timely = _read(pipe, limit)
    # What the shell left in the background too.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # On a file system that does not answer not even SIGKILL ends it; then the next process to be started reaps it.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_KILLED_LIMIT)
    _, found, listed = said.partition(f"\n{mark}\n".encode())
    if found and listed.endswith(b"\0"):
        return Login(_taken(listed))
    why = "said nothing of its environment" if timely else f"did not come to its end within {limit:g} s"
    return Login(problem=f"the login shell {user.shell} of {user.name} {why}")


async def ask_login(user: AgentUser, environ: Mapping[str, str]) -> Login:
    """Ask as `read_login` does, in a thread that nobody waits for if the shell's own file does not answer."""
    try:
        async with asyncio.timeout(LOGIN_LIMIT + 2 * _KILLED_LIMIT):
            return await in_thread("login", partial(read_login, user, environ))
    except TimeoutError:
        return Login(problem=f"the login shell {user.shell} of {user.name} does not answer")


def _read(pipe: IO[bytes], limit: float) -> tuple[bytes, bool]:
    """Read to the end; the second value says whether that came in time."""
    until = time.monotonic() + limit
    said = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while (left := until - time.monotonic()) > 0 and len(said) < _LONGEST:
            if selector.select(left):
                part = os.read(pipe.fileno(), _CHUNK)
                if not part:
                    return said, True
                said += part
    return said, False


def _taken(listed: bytes) -> dict[str, str]:
    pairs = (entry.decode(errors="replace").partition("=") for entry in listed.split(b"\0"))
    return {name: value for name, _, value in pairs if name in TAKEN and value and value.isprintable()}


def merge_paths(first: str, second: str) -> str:
    """Append to a PATH, which stays as it is, the absolute folders of another one that it lacks."""
    there = set(first.split(":"))
    more = dict.fromkeys(folder for folder in second.split(":") if folder.startswith("/") and folder not in there)
    return ":".join([first, *more] if first else more)
