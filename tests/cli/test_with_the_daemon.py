"""The client against the real daemon."""

from __future__ import annotations

import pytest

from tests.cli.support import Client
from tests.support.agents import jcard
from tests.support.daemon import Daemon


@pytest.fixture
def running(daemon: Daemon) -> Client:
    """A daemon with one agent that stays and one that is done, and the client told where it is."""
    daemon.write_secret("TOKEN", "s3cret")
    daemon.write_jcard(
        jcard(
            {"name": "worker", "command": ["cat"], "restart": "always"},
            {"name": "done", "command": ["echo", "all done"]},
        )
    )
    daemon.start()
    daemon.wait_state("done", "exited")
    client = Client(daemon.folder, daemon.places)
    assert client("wait", "worker", "--for", "running", "--timeout", "20s").status == 0
    assert client("wait", "done", "--for", "exited", "--timeout", "20s").status == 0
    return client


def test_the_file_in_force_plans_nothing_although_secrets_reach_the_agents(running: Client, daemon: Daemon) -> None:
    done = running("plan", daemon.jcard)
    assert (done.status, done.out) == (0, "")


def test_what_is_planned_for_a_file_is_what_the_daemon_then_does(running: Client, daemon: Daemon) -> None:
    text = jcard(
        {"name": "worker", "command": ["cat"], "restart": "no"},
        {"name": "done", "command": ["echo", "done again"]},
        {"name": "new", "command": ["cat"]},
    )
    other = daemon.folder / "other.toml"
    other.write_text(text)
    before = daemon.agents()
    assert [row[:3] for row in running("plan", other).rows] == [
        ["~", "restart", "done"],
        ["+", "start", "new"],
        ["=", "change", "worker"],
    ]
    daemon.write_jcard(text)

    daemon.wait_state("new", "running")
    daemon.wait_for(lambda: "done again" in daemon.screen("done"), what="the ended agent ran again")
    assert daemon.agents()["worker"]["pid"] == before["worker"]["pid"]
    assert running("plan", other).out == ""


def test_output_and_screen_of_an_agent_are_read(running: Client) -> None:
    assert running("logs", "done").out.startswith("all done\n")
    assert "all done" in running("screen", "done").out


def test_a_check_of_the_file_in_force_finds_its_agents(running: Client) -> None:
    assert [row[0] for row in running("validate").rows[:2]] == ["worker", "done"]


def test_waiting_and_following_go_on_over_a_crash_of_the_daemon(running: Client, daemon: Daemon) -> None:
    waiting = running.start("wait", "worker", "--for", "exited,failed", "--timeout", "60s")
    following = running.start("events", "-f", "-n0", "--agent", "worker", "--kind", "adopted", "--kind", "removed")
    daemon.wait_for(lambda: b"agentd_api_streams 2.0" in daemon.request("GET", "/metrics").body, what="both follow")
    daemon.kill()
    daemon.start()
    daemon.wait_state("worker", "running")
    assert waiting.poll() is None
    daemon.write_jcard(jcard({"name": "worker", "command": ["echo", "over"]}))
    out, err = waiting.communicate(timeout=30)
    assert (waiting.returncode, out) == (0, "worker is exited\n"), err
    assert "agentd is back" in err
    daemon.write_jcard("agents = []\n")
    daemon.wait_gone("worker")
    assert following.stdout is not None
    kinds = [following.stdout.readline().split("\t")[3] for _ in range(2)]
    assert kinds == ["adopted", "removed"]
    following.terminate()
    following.communicate(timeout=30)
