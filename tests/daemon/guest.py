"""A guest as stereOS is one, in a mount namespace: users agent and admin, its folders, stereosd writing and polling.

Nothing of it can be seen outside: ``/etc/passwd`` and ``/etc/group`` are covered by copies with the two users, ``/run``
and ``/var/lib`` by file systems of its own; a network of its own keeps the
names of its sockets from other guests. The namespace goes with its last process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TypedDict, cast

from tests.support.daemon import Daemon, Launch, Running, launch_program, program

AGENT, ADMIN = 64_201, 64_202
"""User and group ids that no distribution gives out by itself."""

_SETUP = """
set -e
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/group" /etc/group
mount -t tmpfs -o mode=755 guest /run
mount -t tmpfs -o mode=755 guest /var/lib
mkdir -m 755 /run/stereos
mkdir -m 700 /run/stereos/secrets
mkdir -m 750 /run/agentd
chown agent:admin /run/agentd
shift
exec "$@"
"""
"""As stereOS' tmpfiles and stereosd at its start leave the folders."""

_PROFILE = """
PATH="$HOME/agent-bin:$PATH"
SSL_CERT_FILE=/etc/ssl/guest.crt
export PATH SSL_CERT_FILE
"""

_SHELL = '#!/bin/sh\nexec bash --login "$@"\n'
"""stereOS' agent has a shell of its own kind, which becomes a login bash."""

_CLAUDE = """#!/bin/sh
{ pwd; printf '%s\\n' "$@"; } >>"$HOME/argv.$AGENTD_AGENT"
env >"$HOME/env.$AGENTD_AGENT"
exec sleep 600
"""
"""Only on the PATH of a login of agent."""


class Polled(TypedDict):
    """What stereosd reads of an agent; a null is Go's empty text."""

    name: str
    running: bool
    session: str
    restarts: int
    error: str


class Guest(Daemon):
    """agentd in such a guest, with the command line of a Go unit."""

    def __init__(self, folder: Path, launch: Launch = launch_program) -> None:
        super().__init__(folder, self._launch_inside)
        self._outside = launch
        self.agent_home = folder / "agent"
        self.shared = folder / "workspace"
        etc = folder / "etc"
        etc.mkdir()
        shell = folder / "agent-shell"
        _write(shell, _SHELL)
        tools = self.agent_home / "agent-bin"
        (self.agent_home / "workspace").mkdir(parents=True)
        tools.mkdir()
        _write(tools / "claude", _CLAUDE)
        (self.agent_home / ".bash_profile").write_text(_PROFILE)
        for path in (self.agent_home, self.agent_home / "workspace"):
            os.chown(path, AGENT, AGENT)
        users = [
            f"agent:x:{AGENT}:{AGENT}::{self.agent_home}:{shell}",
            f"admin:x:{ADMIN}:{ADMIN}::{folder}:/bin/bash",
        ]
        groups = [f"agent:x:{AGENT}:", f"admin:x:{ADMIN}:admin"]
        for name, lines in (("passwd", users), ("group", groups)):
            others = [
                each
                for each in Path("/etc", name).read_text().splitlines()
                if not each.startswith(("agent:", "admin:"))
            ]
            (etc / name).write_text("\n".join([*others, *lines]) + "\n")
        (folder / "etc/stereos").mkdir()
        self.jcard = folder / "etc/stereos/jcard.toml"

    def _launch_inside(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: IO[bytes]) -> Running:
        inside = [
            "unshare",
            "--mount",
            "--net",
            "--propagation",
            "private",
            "sh",
            "-c",
            _SETUP,
            "sh",
            f"{self.folder}/etc",
            *argv,
        ]
        process = self._outside(inside, env=env, cwd=cwd, log=log)
        root = Path(f"/proc/{process.pid}/root")
        self.api_socket = root / "run/stereos/agentd.sock"
        self.tmux_socket = root / "run/agentd/tmux.sock"
        self.secrets = root / "run/stereos/secrets"
        return process

    def command(self, *arguments: str) -> list[str]:
        """Build the command line of a unit: everything but the jcard stands where stereOS has it."""
        return [program("agentd"), "-config", str(self.jcard), "-debug=false", *arguments]

    def set_config(self, text: str) -> None:
        """Write the jcard as stereosd does: in place."""
        self.jcard.write_text(text)

    def inject_secret(self, name: str, value: str) -> None:
        """Write a secret as stereosd does: beside its place, then renamed."""
        temporary = self.secrets / f"{name}.tmp"
        with open(temporary, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(value)
        temporary.rename(self.secrets / name)

    def mount(self) -> None:
        """Mount the shared folder as stereosd does: its place is made, and it is agent's afterwards."""
        self.shared.mkdir(exist_ok=True)
        self.inside("mount", "-t", "tmpfs", "share0", self.shared)
        self.inside("chown", "agent:agent", self.shared)

    def inside(self, *argv: str | Path) -> None:
        """Run a command of the guest as root."""
        subprocess.run(["nsenter", "--target", str(self.pid), "--mount", *argv], check=True, timeout=30)

    def as_user(self, user: int, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the guest as a user with its own group alone."""
        enter = ["nsenter", "--target", str(self.pid), "--mount", f"--setuid={user}", f"--setgid={user}", "--wdns=/"]
        return subprocess.run([*enter, *argv], capture_output=True, text=True, check=False, timeout=30)

    def poll(self) -> dict[str, Polled]:
        """Ask as stereosd does, and read as its decoder does."""
        answer = self.request("GET", "/v1/agents")
        assert answer.status == 200
        agents = cast("list[dict[str, object]]", json.loads(answer.body))
        polled: dict[str, Polled] = {}
        for agent in agents:
            kinds = {"name": str, "running": bool, "session": str, "restarts": int, "error": str}
            read = {field: agent.get(field) or kind() for field, kind in kinds.items()}
            assert all(type(value) is kinds[field] for field, value in read.items()), agent
            polled[str(agent["name"])] = cast("Polled", read)
        return polled

    def wait_polled(self, name: str, *, running: bool) -> Polled:
        """Poll until an agent runs, or does not and says why."""

        def probe() -> Polled | None:
            found = self.poll().get(name)
            done = found is not None and found["running"] is running and (running or found["error"] != "")
            return found if done else None

        return self.wait_for(probe, 20, what=f"{name}: running is {running}")

    def seen(self, name: str, *, sandboxed: bool = False) -> dict[str, str]:
        """Give the environment that an agent's program saw; nothing before it ran."""
        home = self.agent_home / ".local/share/agentd/sandboxes" / name if sandboxed else self.agent_home
        path = home / f"env.{name}"
        text = path.read_text() if path.exists() else ""
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def python(*lines: str) -> list[str]:
    """Build the command of a piece of Python that every user can run."""
    interpreter = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
    return [interpreter, "-I", "-S", "-c", "\n".join(lines)]


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
