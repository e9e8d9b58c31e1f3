"""Agents to be talked to by agentctl, and the client that does it."""

from __future__ import annotations

from tests.cli.support import Client
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.support.waiting import wait_for

READS = ["sh", "-c", 'stty -echo; echo go; while read -r line; do printf "got <%s>\\n" "$line"; done']
"""An agent that reads lines, and shows only what it has read."""


def daemons_client(daemon: Daemon) -> Client:
    """Point agentctl at the daemon."""
    return Client(
        daemon.folder,
        {"AGENTD_API_SOCKET": str(daemon.api_socket), "AGENTD_TMUX_SOCKET": str(daemon.tmux_socket)},
    )


def start(daemon: Daemon, *commands: list[str], **fields: object) -> None:
    """Run agents ``a``, ``b``, ..., and wait until each has written ``go``."""
    names = "abcdef"[: len(commands)]
    agents = [{"name": name, "command": command, **fields} for name, command in zip(names, commands, strict=True)]
    daemon.write_jcard(jcard(*agents))
    daemon.start()
    for name in names:
        daemon.wait_state(name, "running")
        wait_for_text(daemon, name, "go")


def wait_for_text(daemon: Daemon, name: str, text: str) -> str:
    return wait_for(
        lambda: screen if text in (screen := daemon.screen(name, history=True)) else "",
        20,
        what=f"{text!r} is shown",
        explain=lambda: daemon.screen(name, history=True),
    )
