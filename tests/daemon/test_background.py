"""Tools that still run after their turn, with a real daemon and real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from agentd.turns.background import shown
from tests.cli.support import Client
from tests.daemon.test_events import events
from tests.daemon.test_turns import post
from tests.support.agents import jcard
from tests.support.daemon import Daemon

AGENT = Path(__file__).parents[1] / "support" / "tool_agent.py"


@pytest.fixture
def client(daemon: Daemon) -> Client:
    return Client(daemon.folder, daemon.places)


def start(daemon: Daemon, **fields: object) -> None:
    command = [sys.executable, "-I", "-S", str(AGENT)]
    daemon.write_jcard(jcard({"name": "a", "command": command, "workdir": str(daemon.workdir), **fields}))
    daemon.start()
    daemon.wait_for(lambda: ">" in daemon.screen("a"), what="it takes a line")


def doing(daemon: Daemon) -> tuple[str | None, str | None]:
    agent = daemon.agents()["a"]
    return agent["activity"], agent["activity_text"]


def wait_doing(daemon: Daemon, activity: str, text: str | None) -> None:
    daemon.wait_for(lambda: doing(daemon) == (activity, text), what=f"it is {activity}: {text}")


def test_what_tools_leave_running_is_work_until_it_ends(daemon: Daemon, client: Client) -> None:
    start(daemon)
    # The agent talks to it: it is no tool, though it began in the turn.
    assert client("send", "a", "server sleep 4711").status == 0
    daemon.wait_for(lambda: "did server" in daemon.screen("a"), what="it has run")
    assert client("send", "a", "tool sleep 4712").status == 0
    wait_doing(daemon, "working", "in the background: sleep 4712")
    assert daemon.agents()["a"]["activity_source"] == "process"
    tool = pids(daemon)
    # It is the user's move all the same, and another turn takes nothing back.
    assert post(daemon, "/v1/turns/a/messages", {"id": "m", "text": "orphan sleep 4713"})[0] == 202
    wait_doing(daemon, "working", "in the background: sleep 4712, sleep 4713")
    for pid in {*tool, *pids(daemon)}:
        # The end of one may be the end of the next.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_doing(daemon, "idle", None)


def pids(daemon: Daemon) -> list[int]:
    return list(map(int, (daemon.workdir / "pids").read_text().split()))


def kinds(client: Client) -> dict[str, str]:
    """The kind of each process, by its pid."""
    rows = [line.split("\t") for line in client("ps", "a").out.splitlines()]
    return {pid: kind for _, kind, _, _, each in rows for pid in each.split()}


@pytest.mark.thorough
def test_orphans_of_an_idle_agent_are_ended_and_its_servers_and_tools_are_not(daemon: Daemon, client: Client) -> None:
    start(daemon, reap="idle:1s")
    for line in ("server sleep 4714", "tool sleep 4715", "orphan sleep 4716"):
        assert client("send", "a", line).status == 0
        did = f"did {line.split()[0]}"
        daemon.wait_for(partial(lambda did: did in daemon.screen("a"), did), what="it has run")
    daemon.wait_for(lambda: [each for each in events(daemon) if each["kind"] == "orphan_ended"], what="it is ended")
    [ended] = [each for each in events(daemon) if each["kind"] == "orphan_ended"]
    data = cast("dict[str, object]", ended["data"])
    assert (data["command"], data["signal"]) == ("sleep", "SIGTERM")
    left = kinds(client)
    assert str(data["pid"]) not in left
    assert sorted(left.values()) == ["agent", "server", "tool"]
    assert left[str(daemon.agents()["a"]["pid"])] == "agent"
    wait_doing(daemon, "working", "in the background: sleep 4715")
    measured = daemon.request("GET", "/metrics").body.decode()
    assert 'agentd_agent_processes{agent="a",kind="server"} 1' in measured
    daemon.write_jcard("# nobody\n")
    daemon.wait_gone("a")
    assert 'agentd_agent_processes{agent="a"' not in daemon.request("GET", "/metrics").body.decode()


def test_few_and_short_names_are_shown() -> None:
    assert shown(["a", "b", "c", "d", "e"]) == ("a", "b", "c", "and 2 more")
    (long,) = shown(["x" * 100])
    assert (len(long), long[-1]) == (60, "…")
