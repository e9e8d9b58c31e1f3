"""A Debian with a real systemd, booted in a container from a tree that scripts/debian-tree made."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.daemon import AgentJson
from tests.support.waiting import wait_for

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BOOT_LIMIT = 60.0
_COMMAND_LIMIT = 120.0


@dataclass(slots=True)
class Machine:
    """One boot of a tree; what it writes lives in memory and is gone afterwards."""

    tree: Path
    console: Path
    binds: Mapping[Path, str] = field(default_factory=dict)
    """Folders of ours that it sees, and where."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """For the commands run in it."""
    _process: subprocess.Popen[bytes] | None = None
    _init: int = 0

    def boot(self) -> None:
        """Start it, and wait until systemd says that it runs."""
        command = [
            "systemd-nspawn", f"--directory={self.tree}", "--boot", "--volatile=overlay",
            "--register=no", "--keep-unit", "--link-journal=no", "--console=pipe", f"--machine=agentd-{os.getpid()}",
            *(f"--bind={ours}:{theirs}" for ours, theirs in self.binds.items()),
        ]  # fmt: skip
        with self.console.open("wb") as console:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT, start_new_session=True
            )
        wait_for(self._has_init, _BOOT_LIMIT, what="systemd starts", explain=self.console.read_text)
        # Answers once the start's jobs are done, whatever became of them.
        wait_for(
            lambda: (
                self.run("systemctl is-system-running --wait", check=False).stdout.strip() in ("running", "degraded")
            ),
            _BOOT_LIMIT,
            what="systemd runs",
            explain=self.console.read_text,
        )

    def _has_init(self) -> bool:
        """Look for systemd: systemd-nspawn has other children before."""
        assert self._process is not None
        assert self._process.poll() is None, f"systemd-nspawn ended:\n{self.console.read_text()}"
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for child in children:
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                    self._init = int(child)
                    return True
        return False

    def run(
        self,
        script: str,
        *,
        user: str = "root",
        check: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Execute a shell script in it, as one of its users, and return what it printed."""
        variables = {"PATH": _PATH, "LANG": "C.UTF-8", "TERM": "xterm", **self.environment, **(environment or {})}
        command = [
            "nsenter", f"--target={self._init}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup",
            "--root", "--wd",
            "env", "-i", *(f"{name}={value}" for name, value in variables.items()),
            "bash", "-c", _as(user, f"set -e; cd ~; {script}"),
        ]  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_COMMAND_LIMIT, stdin=subprocess.DEVNULL
        )
        assert not check or done.returncode == 0, f"{script}\nended with {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def said(self, script: str, *, user: str = "root") -> str:
        """Execute a script; return its output without white space around it."""
        return self.run(script, user=user).stdout.strip()

    def ours(self, path: str) -> Path:
        """Where a file of it is for us, in a folder that it shares with us."""
        for ours, theirs in self.binds.items():
            if Path(path).is_relative_to(theirs):
                return ours / Path(path).relative_to(theirs)
        raise ValueError(f"{path} is in none of {list(self.binds.values())}")

    def power_off(self) -> float:
        """Shut it down, and return the seconds that took."""
        assert self._process is not None
        begun = time.monotonic()
        self.run("systemctl --no-block poweroff")
        self._process.wait(_BOOT_LIMIT)
        return time.monotonic() - begun

    def end(self) -> None:
        """End it, if it still runs: without asking."""
        if self._process is None or self._process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._init, signal.SIGKILL)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _as(user: str, script: str) -> str:
    if user == "root":
        return f"export HOME=/root; {script}"
    return shlex.join(["runuser", "-u", user, "--", "bash", "-c", f"export HOME=~{user}; {script}"])


@dataclass(frozen=True, slots=True)
class Installation:
    """agentd in a machine: how it is asked, and how its unit is operated."""

    machine: Machine
    api_socket: str
    user: str = "root"
    systemctl: str = "systemctl"
    journalctl: str = "journalctl --unit=agentd"

    def agents(self) -> Sequence[AgentJson]:
        """What the API says of the agents; nothing while it does not answer."""
        done = self.machine.run(
            f"curl --silent --fail --max-time 5 --unix-socket {self.api_socket} http://localhost/v1/agents",
            user=self.user,
            check=False,
        )
        return json.loads(done.stdout) if done.returncode == 0 else ()

    def running_pids(self, count: int = 3) -> dict[str, int]:
        """Wait until all agents run; their pids."""
        seen: Sequence[AgentJson] = ()

        def all_run() -> bool:
            nonlocal seen
            seen = self.agents()
            return len(seen) == count and all(agent["state"] == "running" for agent in seen)

        wait_for(all_run, 60, what=f"{count} agents run", explain=lambda: f"{seen}\n{self.log()}")
        return {agent["name"]: agent["pid"] or 0 for agent in seen}

    def log(self) -> str:
        """The unit's journal."""
        return self.machine.said(f"{self.journalctl} --no-pager --output=cat", user=self.user)

    def unit(self, verb: str) -> None:
        """``systemctl VERB agentd``."""
        self.machine.run(f"{self.systemctl} {verb}", user=self.user)

    def main_pid(self) -> int:
        """The daemon's."""
        return int(self.machine.said(f"{self.systemctl} show --property=MainPID --value agentd", user=self.user))
