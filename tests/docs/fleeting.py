"""Somebody at the first host of a fleet of three, each with an agentd of its own, on this machine."""

from __future__ import annotations

import contextlib
import re
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from agentd.fleet.ray_node import ray_environment
from tests.docs.newcomer import ROOT, Newcomer, Shown, newcomer
from tests.support.daemon import program
from tests.support.ports import two_ports
from tests.support.waiting import wait_for

FLEET = "docs/how-to/fleet.md"
_AGENT = "/opt/agents/agent.py"
_START = 120.0

# Runs a command with the environment of the host that has the address.
_SSH = """\
#!/bin/sh
[ "$1" = -t ] && shift
address=$1
shift
. {folder}/$address.env
exec sh -c "$*"
"""


@dataclass(slots=True)
class Traveller(Newcomer):
    """Types on the first host; ``agentd-fleet`` runs on one after the other."""

    head: int = 0
    """The port of the fleet's head, 6379 on the page."""
    hosts: list[Newcomer] = field(default_factory=list)
    """The first is this one."""
    _fleet: list[tuple[subprocess.Popen[bytes], Path]] = field(default_factory=list)

    def type(self, command: str, keys: bytes = b"", seen: Callable[[str], bool] = bool) -> Shown:
        """Execute a command; ``agentd-fleet`` stays in a terminal of its host."""
        if command.startswith("agentd-fleet "):
            return Shown(self.named(self._begin(shlex.split(command)[1:])), 0)
        return Newcomer.type(self, command, keys, seen)

    def _begin(self, words: list[str]) -> str:
        number = len(self._fleet) + 1
        host, here = self.hosts[number - 1], f"127.0.0.{number + 1}"
        self._remember(host, here)
        words = [word.replace("10.0.0.1:6379", f"127.0.0.2:{self.head}").replace("10.0.0.1", here) for word in words]
        if words[0] == "head":
            words.append(f"--port={self.head}")
        words += [f"--name=h{number}", f"--ip={here}", f"--state-dir={host.folder}/f"]
        log = host.folder / "fleet.log"
        command = [program("agentd-fleet"), *words]
        said = "is a host of the fleet"

        def is_ready() -> bool:
            if said in log.read_text():
                return True
            if self._fleet[-1][0].poll() == 1:
                # On a busy machine Ray gives up at times: as its service does.
                self._fleet[-1] = (self._launch(host, command, log), log)
            return False

        self._fleet.append((self._launch(host, command, log), log))
        wait_for(is_ready, _START, what=said, explain=log.read_text)
        return re.sub(r"(?s).*(agentd-fleet: [^\n]*\n).*", r"…\n\1…\n", log.read_text())

    def _launch(self, host: Newcomer, command: list[str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            return subprocess.Popen(
                command, env=ray_environment(host.environment()), cwd=host.home, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    def _remember(self, host: Newcomer, address: str) -> None:
        lines = (f"export {name}={shlex.quote(value)}\n" for name, value in host.environment().items())
        (self.folder / f"{address}.env").write_text("".join(lines) + f"cd {host.home}\n")

    def named(self, text: str) -> str:
        """The same text with folders and addresses as the page has them."""
        for host in self.hosts[1:]:
            text = host.named(text)
        text = Newcomer.named(self, text).replace(str(ROOT / "examples/turns/agent.py"), _AGENT)
        text = re.sub(r"127\.0\.0\.(\d)\b", lambda found: f"10.0.0.{int(found[1]) - 1}", text)
        return text.replace(f":{self.head}", ":6379")

    def prepare(self) -> None:
        """Have ``ssh``, the page's jcard, and an agentd on each host."""
        ssh = self.programs / "ssh"
        ssh.write_text(_SSH.format(folder=self.folder))
        ssh.chmod(0o755)
        [jcard] = re.findall(r"(?s)```toml\n(.*?)```", (ROOT / FLEET).read_text())
        agent = str(ROOT / "examples/turns/agent.py")
        self.write("~/team.toml", jcard.replace(_AGENT, agent))
        for host in self.hosts:
            host.write("~/.config/agentd/jcard.toml", "")
            host.start()

    def leave(self) -> None:
        """End the fleet, its last host first, and then each agentd."""
        for process, _ in reversed(self._fleet):
            everyone = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(25)
            for left in psutil.wait_procs(everyone, timeout=5)[1]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    left.kill()
        self._fleet.clear()
        for host in self.hosts[1:]:
            host.leave()
        Newcomer.leave(self)


@contextmanager
def fleeting() -> Iterator[Traveller]:
    """A fleet that is yet to be begun; folders are short, since Ray has sockets below them."""
    with contextlib.ExitStack() as stack:
        first, *others = (stack.enter_context(newcomer()) for _ in range(3))
        made = Traveller(first.folder, head=stack.enter_context(two_ports()))
        made.hosts = [made, *others]
        try:
            made.prepare()
            yield made
        finally:
            made.leave()
