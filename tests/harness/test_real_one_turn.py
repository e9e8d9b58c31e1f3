"""Runs of the real coding agents that end with their answer: one turn, told by their own records."""

from __future__ import annotations

import subprocess

import pytest

from tests.harness.driven import DEADLINE, REAL, DrivenCli
from tests.harness.test_real_turns import turns
from tests.support.daemon import program

pytestmark = REAL


def last(driven: DrivenCli, *arguments: str) -> subprocess.CompletedProcess[str]:
    sockets = [f"--api-socket={driven.daemon.api_socket}", f"--tmux-socket={driven.daemon.tmux_socket}"]
    return subprocess.run([program("agentctl"), *sockets, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("prompt", ["say it\nin two lines", "STUB-SLEEP:2\nand then"])
def test_the_answer_and_the_usage_are_told(driven: DrivenCli, prompt: str) -> None:
    daemon = driven.daemon
    driven.declare(mode="oneshot", prompt=prompt)
    daemon.wait_state("agent", "exited", timeout=DEADLINE)
    daemon.wait_for(lambda: turns(driven, "turn_ended") == 1, DEADLINE, what="the turn has ended")
    events = daemon.get("/v1/events")
    assert isinstance(events, list)
    data = next(event["data"] for event in events if event["kind"] == "turn_ended")
    assert data["outcome"] == "completed"
    assert data["text"] == f"STUB-REPLY: {driven.cli.received(prompt)}"
    assert last(driven, "last", "agent").stdout == f"{data['text']}\n"
    assert turns(driven, "turn_usage") == 1
    assert "\t10\t5\t" in last(driven, "usage", "agent").stdout


def test_a_failure_has_its_kind(driven: DrivenCli) -> None:
    daemon = driven.daemon
    driven.declare(mode="oneshot", prompt="STUB-STATUS:401 please")
    daemon.wait_state("agent", "failed", timeout=DEADLINE)
    daemon.wait_for(lambda: turns(driven, "turn_ended") == 1, DEADLINE, what="the turn has ended")
    events = daemon.get("/v1/events")
    assert isinstance(events, list)
    data = next(event["data"] for event in events if event["kind"] == "turn_ended")
    assert data["outcome"] == "failed"
    # Gemini CLI records no errors of a run like this.
    if driven.cli.harness != "gemini-cli":
        assert data["failure"] == "auth_error"
