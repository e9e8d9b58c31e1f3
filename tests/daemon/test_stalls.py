"""Agents that do not go on, with a real daemon: a stand-in tells of its turns by AGENTD_HOOK."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

import pytest

from tests.cli.support import Client
from tests.daemon.test_messages import Json
from tests.daemon.test_turns import kinds, post
from tests.support import talking_claude
from tests.support.agents import jcard
from tests.support.daemon import AgentJson, Daemon, StalledJson

AGENT = Path(__file__).parents[1] / "support" / "stalled_agent.py"
SOON = "1s"
"""What a test waits for."""
LATE = "1h"


@pytest.fixture
def client(daemon: Daemon) -> Client:
    return Client(daemon.folder, daemon.places)


def start(daemon: Daemon, client: Client, line: str, stall: dict[str, object], **fields: object) -> None:
    """Run it, and have it take a line."""
    command = [sys.executable, "-I", "-S", str(AGENT), str(daemon.folder / "taken")]
    base: dict[str, object] = {"name": "a", "command": command, "workdir": str(daemon.workdir), "grace_period": "2s"}
    daemon.write_jcard(jcard({**base, "stall": stall, **fields}))
    daemon.start()
    daemon.wait_state("a", "running")
    daemon.wait_for(lambda: agent(daemon)["activity"] == "idle", what="it takes a line")
    assert client("send", "a", line).status == 0
    daemon.wait_for(lambda: taken(daemon)[-1:] == [line], what="it has taken it")


def agent(daemon: Daemon) -> AgentJson:
    return daemon.agents()["a"]


def taken(daemon: Daemon) -> list[str]:
    path = daemon.folder / "taken"
    return [line.partition(" ")[2] for line in path.read_text().splitlines()] if path.exists() else []


def stalled(daemon: Daemon) -> StalledJson:
    return daemon.wait_for(lambda: agent(daemon)["stalled"], what="it is seen not to go on")


def events(daemon: Daemon) -> list[tuple[str, str]]:
    """What was tried, and what was seen."""
    found = cast("list[dict[str, dict[str, str]]]", daemon.get("/v1/events?kind=stalled"))
    return [(each["data"]["stall_action"], str(each["reason"])) for each in found]


@pytest.mark.thorough
def test_a_model_that_never_answers_is_told_and_shown(daemon: Daemon, client: Client) -> None:
    start(daemon, client, "model", {"model": SOON, "tool": LATE})
    found = stalled(daemon)
    assert (found["phase"], found["action"], found["tried"], found["next"]) == ("model", "notify", 1, None)
    assert found["reason"].startswith("no word of its model for 1s: nothing in its program's record, no output")
    daemon.wait_for(lambda: events(daemon) == [("notify", found["reason"])], what="it is told")
    assert "stalled: no word of its model" in client("status").out
    assert "tried notify, nothing is left to try" in client("status", "a").out
    # Nothing else is done about it, and once its turn is over nothing is shown any more.
    assert client("interrupt", "a").status == 0
    daemon.wait_for(lambda: agent(daemon)["stalled"] is None, what="it has gone on")
    assert kinds(daemon).count("stalled") == 1


@pytest.mark.thorough
def test_its_turn_is_interrupted_and_it_takes_the_next_message(daemon: Daemon, client: Client) -> None:
    # Enough to heed the interrupt in, or it would be restarted.
    start(daemon, client, "model", {"model": "3s", "action": ["interrupt", "restart"]})
    daemon.wait_for(lambda: "turn_ended" in kinds(daemon), what="its turn was interrupted")
    assert [action for action, _ in events(daemon)] == ["interrupt"]
    daemon.wait_for(lambda: agent(daemon)["stalled"] is None, what="it has gone on")
    assert client("ask", "a", "hello", "--timeout", "30s").out == "done: hello\n"
    assert agent(daemon)["restarts"] == 0


def test_it_goes_on_with_its_conversation_and_is_told_to(daemon: Daemon, client: Client) -> None:
    talking_claude.install(daemon.bin)
    base: dict[str, object] = {"name": "a", "harness": "claude-code", "workdir": str(daemon.workdir)}
    stall = {"model": "2s", "action": ["resume"]}
    daemon.write_jcard(jcard({**base, "grace_period": "1s", "stall": stall}))
    daemon.start()
    daemon.wait_state("a", "running")
    daemon.wait_for(lambda: agent(daemon)["activity"] == "idle", what="it takes a message")
    # Its turn ends once a file is there that never is.
    assert client("send", "a", "slow one").status == 0
    ended = daemon.wait_for(lambda: answered(daemon, "I hear: continue"), what="it was told to go on, and has")
    assert ended["id"] == f"go-on.{ended['run']}"
    assert agent(daemon)["restarts"] > 0


def answered(daemon: Daemon, answer: str) -> Json | None:
    """A message of agentd itself with this answer."""
    _, found = post(daemon, "/v1/messages?agent=a&limit=50&undelivered=0", method="GET")
    for each in cast("dict[str, list[Json]]", found)["messages"]:
        _, whole = post(daemon, f"/v1/turns/a/messages/{each['id']}", method="GET")
        message = cast("dict[str, Json]", whole)["message"]
        if (message["sender"], message["status"], message["final_text"]) == ("agentd", "ended", answer):
            return message
    return None


@pytest.mark.thorough
def test_what_does_not_heed_is_launched_again_whatever_restart_says(daemon: Daemon, client: Client) -> None:
    start(daemon, client, "model", {"model": SOON, "action": ["restart"]}, restart="no")
    daemon.wait_for(lambda: agent(daemon)["restarts"] == 1, what="it was restarted")
    daemon.wait_for(lambda: agent(daemon)["activity"] == "idle", what="it takes a line again")
    daemon.wait_for(lambda: agent(daemon)["stalled"] is None, what="it is not at work any more")
    found = cast("list[dict[str, dict[str, str]]]", daemon.get("/v1/events?kind=stopped"))
    assert found[-1]["data"]["cause"] == "stalled"
    assert str(found[-1]["reason"]).startswith("it did not go on: no word of its model for 1s")
    assert [action for action, _ in events(daemon)] == ["restart"]


@pytest.mark.thorough
def test_a_build_that_takes_long_is_left_alone_and_one_that_hangs_is_not(daemon: Daemon, client: Client) -> None:
    start(daemon, client, "build 7", {"model": "3s", "tool": "3s"})
    daemon.wait_for(lambda: "turn_ended" in kinds(daemon), what="it has built, for longer than both budgets")
    assert events(daemon) == []
    assert client("send", "a", "hung").status == 0
    found = stalled(daemon)
    assert (found["phase"], found["action"]) == ("tool", "notify")
    assert found["reason"].startswith("its tool Bash has done nothing for ")
    assert found["reason"].endswith("nothing in its program's record, no output, no CPU")


@pytest.mark.thorough
def test_what_was_tried_is_kept_over_a_restart_of_agentd(daemon: Daemon, client: Client) -> None:
    start(daemon, client, "model", {"model": "2s", "tool": "2s", "action": ["notify", "restart"]})
    first = stalled(daemon)
    # What is not written yet goes with a daemon that is killed.
    daemon.wait_for(lambda: events(daemon), what="it is told")
    daemon.kill()
    daemon.start()
    daemon.wait_state("a", "running")
    # Unless the restart of agentd took longer than it has until the next action.
    daemon.wait_for(lambda: agent(daemon)["stalled"] == first or agent(daemon)["restarts"], what="it is known again")
    daemon.wait_for(lambda: agent(daemon)["restarts"] == 1, what="the next action is tried")
    daemon.wait_for(lambda: [action for action, _ in events(daemon)] == ["notify", "restart"], what="both are told")


@pytest.mark.thorough
def test_a_program_that_tells_nothing_is_known_by_what_it_prints(daemon: Daemon) -> None:
    silent = {"name": "silent", "command": ["sleep", "600"], "stall": {"tool": "3s"}}
    prints = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.3; done"
    loud = {"name": "loud", "command": ["sh", "-c", prints], "stall": {"tool": "5s"}}
    daemon.write_jcard(jcard(silent, loud))
    daemon.start()
    daemon.wait_state("silent", "running")
    found = daemon.wait_for(lambda: daemon.agents()["silent"]["stalled"], what="it is seen not to go on")
    assert found["reason"].endswith("no output, no CPU")
    daemon.tmux("send-keys", "-t", "=silent:", "x")
    daemon.wait_for(lambda: daemon.agents()["silent"]["stalled"] is None, what="its terminal shows what was typed")
    assert daemon.agents()["loud"]["stalled"] is None
