"""The daemon fixture is only evidence once it has been seen to notice what a daemon leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.support.agents import Recorded, jcard, misbehaving
from tests.support.daemon import Daemon
from tests.support.processes import marked
from tests.support.waiting import WaitError, wait_for_file

pytestmark = pytest.mark.thorough  # of what the tests stand on, which every other shows too


def test_a_daemon_runs_an_agent_with_folders_of_its_own(daemon: Daemon) -> None:
    record = daemon.folder / "record.json"
    agent = {"name": "a", "command": misbehaving("--record", record, "--forever"), "workdir": str(daemon.workdir)}
    daemon.write_jcard(jcard(agent))
    daemon.start()
    pid = daemon.wait_state("a", "running")["pid"]
    wait_for_file(record)
    recorded: Recorded = json.loads(record.read_text())
    assert (recorded["pid"], recorded["cwd"]) == (pid, str(daemon.workdir))
    assert daemon.sessions().count("a") == 1
    assert daemon.health()["pid"] == daemon.pid
    assert daemon.stop() == 0
    assert daemon.left_behind() == []


def test_an_operator_can_type_and_read(daemon: Daemon) -> None:
    daemon.write_jcard(jcard({"name": "a", "command": misbehaving("--echo")}))
    daemon.start()
    daemon.wait_for(lambda: "ready for input" in daemon.screen("a"))
    daemon.type("a", "hello there")
    daemon.wait_for(lambda: "you said: hello there" in daemon.screen("a"))


def test_what_a_killed_daemon_leaves_is_seen_and_then_ended(daemon_factory: Callable[[], Daemon]) -> None:
    daemon = daemon_factory()
    daemon.write_jcard(jcard({"name": "a", "command": misbehaving("--grandchildren", 1, "--silence", "--forever")}))
    daemon.start()
    daemon.wait_state("a", "running")
    daemon.kill()
    seen = "\n".join(daemon.left_behind())
    assert "misbehaving_agent" in seen
    assert str(daemon.tmux_socket) in seen
    daemon.stopped_cleanly = True
    problems = "\n".join(daemon.close())
    assert "left behind after a clean stop" in problems
    assert "misbehaving_agent" in problems
    assert marked(str(daemon.folder)) == []


def test_a_wait_that_fails_shows_the_agents_and_the_log(daemon: Daemon) -> None:
    daemon.start()
    with pytest.raises(WaitError, match=r"(?s)agent a is running.*--- agents\n\[\].*--- end of agentd's log\n.*"):
        daemon.wait_state("a", "running", timeout=0.05)
