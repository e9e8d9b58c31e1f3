"""Several users on one machine: root with agentd, the agents' one, and one who has nothing to do with any of it."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.agents import jcard
from tests.support.daemon import Daemon

AGENT_USER = "daemon"
STRANGER = "nobody"
"""Users that every system has, and nobody logs in as."""


def account(name: str) -> pwd.struct_passwd:
    if os.geteuid() != 0:
        pytest.skip("only root can be several users")
    try:
        return pwd.getpwnam(name)
    except KeyError:
        pytest.skip(f"there is no user {name}")


def run_as(name: str, argv: Sequence[str | Path], timeout: float = 30) -> subprocess.CompletedProcess[str]:
    """Run a command as another user, with that user's groups only."""
    entry = account(name)
    return subprocess.run(
        [str(word) for word in argv],
        user=entry.pw_uid,
        group=entry.pw_gid,
        extra_groups=[],
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/"},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def python_as(name: str, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a piece of Python as another user, with a Python that everybody can execute."""
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
    return run_as(name, [python, "-I", "-S", "-c", program, *arguments])


def start_guarded(daemon: Daemon, *agents: dict[str, object], flags: Sequence[str] = ()) -> None:
    """Declare agents of the agent user, and start the daemon as root."""
    daemon.write_jcard(jcard(*agents))
    daemon.start(f"--agent-user={AGENT_USER}", "--admin-group=adm", *flags, env={"LANG": "C.UTF-8"})
    daemon.wait_for(lambda: daemon.health()["config"]["valid"], what="the jcard is in force")
