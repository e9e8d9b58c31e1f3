"""An agent in a real sandbox that does what the test says, and servers that it may or may not reach."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.conftest import Sandboxed
from tests.sandbox.egress.servers import Authority, Server, serving
from tests.support.daemon import Daemon

LOOP = """
mkfifo orders.$AGENTD_AGENT
while :; do
  sh orders.$AGENTD_AGENT >part.$AGENTD_AGENT 2>&1
  mv part.$AGENTD_AGENT answer.$AGENTD_AGENT
done
"""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Certificates of the servers."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl")
    return Authority(tmp_path)


@pytest.fixture
def server(authority: Authority) -> Iterator[Server]:
    """A TLS server."""
    with serving(authority) as server:
        yield server


class Guests:
    """Agents that execute what the test writes into a FIFO in their workdir."""

    def __init__(self, sandboxed: Sandboxed, authority: Authority) -> None:
        self.sandboxed, self.daemon = sandboxed, sandboxed.daemon
        self.trusted = authority.trusted
        shutil.copy(self.trusted, self.daemon.workdir / "ca.pem")

    def table(self, name: str = "a", **fields: object) -> dict[str, object]:
        """An agent's table."""
        fields = {"type": "sandboxed", "network": "none", "secrets": [], "workdir": "work", **fields}
        return {"name": name, "command": ["sh", "-c", LOOP], **fields}

    def native(self, name: str) -> dict[str, object]:
        """The table of an agent without a sandbox."""
        return {"name": name, "secrets": [], "workdir": "work", "command": ["sh", "-c", LOOP]}

    def start(self, text: str) -> None:
        """Start agentd with these agents; it trusts the test's servers."""
        self.daemon.write_jcard(text)
        environ = {"LANG": "C.UTF-8", "SSL_CERT_FILE": str(self.trusted), "NODE_EXTRA_CA_CERTS": ""}
        self.daemon.start(*self.sandboxed.flags, env=environ)

    def do(self, command: str, name: str = "a", timeout: float = 20) -> str:
        """Have an agent execute shell commands; what they print."""
        orders, answer = (self.daemon.workdir / f"{each}.{name}" for each in ("orders", "answer"))

        def ready() -> bool:
            agent = self.daemon.agent(name) if self.daemon.running else None
            assert agent is None or agent["error"] is None, agent
            return orders.exists()

        self.daemon.wait_for(ready, what="the agent waits for orders")
        answer.unlink(missing_ok=True)
        descriptor = os.open(orders, os.O_RDWR)
        try:
            os.write(descriptor, command.encode())
            self.daemon.wait_for(lambda: _opened(descriptor), 10, what="the agent has read its orders")
        finally:
            os.close(descriptor)
        self.daemon.wait_for(answer.exists, timeout, what=f"{command} has ended")
        return answer.read_text(errors="replace")


def proxies(daemon: Daemon) -> list[int]:
    """Processes of this daemon's proxy: itself, and the one that enters sandboxes."""
    runtime, found = f"{daemon.tmux_socket}.runs", []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # All but this it keeps from its own user.
            argv = (process / "cmdline").read_text(errors="replace").split("\0")
            if "agentd.sandbox.egress.process" in argv and runtime in argv:
                found.append(int(process.name))
    return sorted(found)


def _opened(descriptor: int) -> bool:
    unread = bytearray(4)
    fcntl.ioctl(descriptor, termios.FIONREAD, unread)
    return not any(unread)


@pytest.fixture
def guests(sandboxed: Sandboxed, authority: Authority) -> Guests:
    """Nothing runs yet."""
    return Guests(sandboxed, authority)
