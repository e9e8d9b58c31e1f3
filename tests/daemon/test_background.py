"""Tools that still run after their turn, with a real daemon and real processes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from agentd.turns.background import shown
from tests.cli.support import Client
from tests.support.agents import jcard
from tests.support.daemon import AgentJson, Daemon

AGENT = Path(__file__).parents[1] / "support" / "tool_agent.py"


@pytest.fixture
def client(daemon: Daemon) -> Client:
    env = {"AGENTD_API_SOCKET": str(daemon.api_socket), "AGENTD_TMUX_SOCKET": str(daemon.tmux_socket)}
    return Client(daemon.folder, {**env, "AGENTD_CONFIG": str(daemon.jcard)})


def start(daemon: Daemon) -> None:
    command = [sys.executable, "-I", "-S", str(AGENT)]
    daemon.write_jcard(jcard({"name": "a", "command": command, "workdir": str(daemon.workdir)}))
    daemon.start()
    daemon.wait_for(lambda: ">" in daemon.screen("a"), what="it takes a line")


def doing(daemon: Daemon) -> tuple[str | None, str | None]:
    agent = daemon.agents()["a"]
    return agent["activity"], agent["activity_text"]


def wait_doing(daemon: Daemon, activity: str, text: str | None) -> AgentJson:
    daemon.wait_for(lambda: doing(daemon) == (activity, text), what=f"it is {activity}: {text}")
    return daemon.agents()["a"]


@pytest.mark.parametrize(
    "line",
    ["tool sleep 4711", "shell sleep 4711 & sleep 4712 & wait", "orphan sleep 4711", "server sleep 4711"],
)
def test_what_a_tool_leaves_running_is_work_until_it_ends(daemon: Daemon, client: Client, line: str) -> None:
    start(daemon)
    assert client("send", "a", line).status == 0
    if line.startswith("server"):
        # It was started in the turn, too, but the agent talks to it.
        daemon.wait_for(lambda: doing(daemon)[0] == "idle", what="its turn has ended")
        assert client("send", "a", "tool sleep 4713").status == 0
        assert wait_doing(daemon, "working", "in the background: sleep 4713")["activity_source"] == "process"
        return
    names = "sleep 4711, sleep 4712" if line.startswith("shell") else "sleep 4711"
    wait_doing(daemon, "working", f"in the background: {names}")
    # It takes messages all the same, and a turn of its own is work of another kind.
    assert client("send", "a", "nothing").status == 0
    daemon.wait_for(lambda: "did nothing" in daemon.screen("a"), what="it did")
    wait_doing(daemon, "working", f"in the background: {names}")
    for pid in map(int, (daemon.workdir / "pids").read_text().split()):
        os.kill(pid, signal.SIGKILL)
    if not line.startswith("shell"):
        wait_doing(daemon, "idle", None)


def test_few_and_short_names_are_shown() -> None:
    assert shown(["a", "b", "c", "d", "e"]) == ("a", "b", "c", "and 2 more")
    (long,) = shown(["x" * 100])
    assert (len(long), long[-1]) == (60, "…")
