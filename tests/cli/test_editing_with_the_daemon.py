"""Edits that a real daemon then acts on, and waiting for that."""

from __future__ import annotations

from typing import cast

import pytest

from tests.cli.support import Client
from tests.support.agents import jcard, misbehaving
from tests.support.daemon import AgentJson, Daemon


@pytest.fixture
def running(daemon: Daemon) -> Client:
    """A daemon with two agents that run, and the client told where it is."""
    daemon.write_jcard(jcard({"name": "worker", "command": ["cat"]}, {"name": "other", "command": ["cat"]}))
    daemon.start()
    client = Client(daemon.folder, daemon.places)
    for name in ("worker", "other"):
        daemon.wait_state(name, "running")
    return client


def observed(client: Client, *call: str) -> dict[str, AgentJson]:
    """Make an edit, wait, and give what was observed then."""
    done = client("--json", call[0], "--wait", "--timeout", "20s", *call[1:])
    assert (done.status, done.err) == (0, ""), call
    document = cast("dict[str, list[AgentJson]]", done.document)
    return {agent["name"]: agent for agent in document["observed"]}


@pytest.mark.thorough
def test_waiting_returns_once_the_agent_is_as_edited(running: Client, daemon: Daemon) -> None:
    before = daemon.agents()

    assert observed(running, "stop", "worker")["worker"]["state"] == "disabled"
    assert daemon.agents()["worker"]["state"] == "disabled"
    assert "worker" not in daemon.sessions()

    started = observed(running, "start", "WORKER")["worker"]
    assert started["state"] == "running"

    again = observed(running, "restart", "worker")["worker"]
    assert again["state"] == "running"
    assert again["pid"] not in (before["worker"]["pid"], started["pid"])

    # A change of policy leaves the process alone, and the plan says that nothing is left to be done.
    same = observed(running, "set", "worker", "restart=always", "timeout=1h")["worker"]
    assert (same["pid"], same["deadline"] is None) == (again["pid"], False)
    assert observed(running, "set", "worker", "env.LEVEL=2")["worker"]["pid"] != again["pid"]
    assert daemon.agents()["other"]["pid"] == before["other"]["pid"]


def test_waiting_returns_once_agents_have_come_and_gone(running: Client, daemon: Daemon) -> None:
    before = daemon.agents()

    assert [agent["state"] for agent in observed(running, "scale", "worker", "2").values()] == ["running"] * 2
    assert sorted(daemon.agents()) == ["other", "worker-0", "worker-1"]
    assert list(observed(running, "scale", "worker", "1")) == ["worker"]

    renamed = observed(running, "rename", "worker", "clerk")["clerk"]
    assert (renamed["state"], renamed["session"]) == ("running", "clerk")
    assert sorted(daemon.agents()) == ["clerk", "other"]

    added = observed(running, "add", "third", "--harness", "custom", "--", "sleep", "1000")["third"]
    assert added["state"] == "running"
    assert added["pid"] is not None
    done = running("remove", "third", "--wait")
    assert done.out.endswith("third is gone\n")
    assert sorted(daemon.agents()) == ["clerk", "other"]

    # Nobody else was touched by any of it.
    assert daemon.agents()["other"]["pid"] == before["other"]["pid"]
    assert running("validate").status == 0


@pytest.mark.thorough
def test_waiting_tells_of_agents_that_do_not_run_well_and_of_time_that_is_over(running: Client, daemon: Daemon) -> None:
    done = running("add", "broken", "--harness", "custom", "--wait", "--", "no-such-program")
    assert done.status == 1
    assert "broken is failed" in done.err

    ready = daemon.folder / "ready"
    deaf = misbehaving("--ignore", "INT,TERM", "--ready", ready, "--forever")
    done = running("add", "stubborn", "--harness", "custom", "grace_period=2s", "--wait", "--", *deaf)
    assert done.status == 0, done.err
    daemon.wait_for(ready.exists, what="the agent is deaf by now")
    done = running("stop", "stubborn", "--wait", "--timeout", "200ms")
    assert done.status == 1
    assert "the edit is made, but after 200ms" in done.err
    daemon.wait_state("stubborn", "stopping")
    assert observed(running, "remove", "stubborn") == {}
    assert "stubborn" not in daemon.agents()


def test_waiting_goes_by_the_content_that_the_daemon_has_read(running: Client, daemon: Daemon) -> None:
    # An edit and its undoing within one settling time: the daemon may never see the first.
    assert running("stop", "worker").status == 0
    assert observed(running, "start", "worker")["worker"]["state"] == "running"
    daemon.jcard.write_text("[[agents]")
    daemon.wait_for(lambda: not daemon.health()["config"]["valid"], what="the file is refused")
    done = running("stop", "worker", "--wait")
    assert done.status == 1
    assert "not valid TOML" in done.err
