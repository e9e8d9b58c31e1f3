"""Agents of the Agent Client Protocol in a jcard: talked to over agentd's own end, and errors that one can act on."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import cast

import psutil
import pytest

from tests.cli.support import Client
from tests.daemon.test_messages import Json, Listener
from tests.daemon.test_turns import post
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.turns.acp_run import EITHER, SCRIPTED

GRACE = 60.0
"""Seconds; a stop that took as long as half of it was not C-c's."""


class Scripted(Listener):
    """An agent of the protocol that is talked to."""

    def __init__(self, daemon: Daemon, command: tuple[str, ...], **fields: object) -> None:
        Listener.__init__(self, daemon, "a")
        self.sessions = self.workdir / "sessions"
        self.sessions.mkdir()
        self.table |= {
            "harness": "acp",
            "command": [*command, "--sessions", str(self.sessions)],
            "grace_period": f"{GRACE:g}s",
            **fields,
        }

    def activity(self) -> str | None:
        shown = self.daemon.agents().get(self.name)
        return None if shown is None else shown["activity"]

    def is_(self, activity: str) -> None:
        self.daemon.wait_for(lambda: self.activity() == activity, 60, what=f"{self.name} is {activity}")


@pytest.mark.thorough
@pytest.mark.parametrize("command", EITHER)
def test_turns_go_on_while_agentd_is_away_and_the_conversation_after_a_death(
    daemon: Daemon, command: tuple[str, ...]
) -> None:
    agent = Scripted(daemon, command, restart="always", resume=True, restart_delay="0.1s")
    daemon.write_jcard(jcard(agent.table))
    daemon.start("--on-shutdown=keep")
    agent.is_("idle")
    conversation = daemon.agents()["a"]["conversation"]
    agent.send("m1", "say one\nask rm x\nsay  two")
    agent.is_("waiting_permission")
    agent.send("m2", "say next")
    assert agent.message("m2")["status"] == "queued"
    pid = daemon.agents()["a"]["pid"]
    daemon.kill()
    daemon.start("--on-shutdown=keep")
    agent.is_("waiting_permission")
    assert daemon.agents()["a"]["pid"] == pid
    assert post(daemon, "/v1/turns/a/answer", {"decision": "allow"})[0] == 200
    assert agent.wait("m1", "ended")["final_text"] == " two"
    assert agent.wait("m2", "ended")["final_text"] == "next"

    agent.send("m3", "say going\nsleep")
    agent.wait("m3", "started")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    done = agent.wait("m3", "ended")
    assert done["outcome"] == "lost"
    agent.send("m4", "say back")
    assert agent.wait("m4", "ended")["final_text"] == "back"
    assert daemon.agents()["a"]["conversation"] == conversation
    (session,) = agent.sessions.iterdir()
    assert session.read_text().splitlines()[-1] == "say back"
    # What the former run left is gone, the agent with its renderer.
    running = daemon.agents()["a"]["pid"]
    assert running is not None
    (child,) = psutil.Process(running).children()
    assert child.cmdline()[1:2] == [command[1]]
    # The agent itself has no way to agentd.
    assert "AGENTD_HOOK" not in child.environ()
    daemon.write_jcard(jcard({**agent.table, "enabled": False}))
    daemon.wait_state("a", "disabled", timeout=GRACE / 2 - 5)


def test_a_person_sends_several_lines_asks_and_answers(daemon: Daemon) -> None:
    agent = Scripted(daemon, SCRIPTED, prompt="say started", restart="always")
    daemon.write_jcard(jcard(agent.table))
    daemon.start()
    client = Client(daemon.folder, daemon.places)
    daemon.wait_for(lambda: "started" in client("last", "a").out, 60, what="the prompt was its first turn")
    assert client("send", "a", "say one\nsay  two", "--timeout", "60s").status == 0
    daemon.wait_for(lambda: client("last", "a").out == "one two\n", 60, what="the paste was one message")
    assert client("ask", "a", "say hello", "--timeout", "60s").out == "hello\n"
    assert client("send", "a", "ask rm x", "--timeout", "60s").status == 0
    agent.is_("waiting_permission")
    assert client("answer", "a", "Allow for this session").status == 0
    daemon.wait_for(lambda: client("last", "a").out == "[always]\n", 60, what="the option was chosen by its name")
    daemon.wait_for(
        lambda: "Allow for this session, by agentd" in daemon.screen("a", history=True), what="tmux shows who decided"
    )


def test_what_cannot_run_says_what_to_do(daemon: Daemon) -> None:
    agents: list[Json] = [
        {"name": "none", "harness": "acp"},
        {"name": "missing", "harness": "acp", "command": ["no-such-agent", "--acp"]},
        {"name": "boxed", "harness": "acp", "command": ["cat"], "type": "sandboxed"},
        {"name": "once", "harness": "acp", "command": ["cat"], "mode": "oneshot", "prompt": "x"},
        {"name": "mute", "harness": "acp", "command": ["false"]},
    ]
    daemon.write_jcard(jcard(*agents))
    daemon.start()
    expected = {
        "none": 'acp needs the agent\'s command line: command = ["gemini", "--acp"]',
        "missing": 'cannot find the program "no-such-agent" on the agent\'s PATH',
        "boxed": "the harness acp cannot be sandboxed",
        "once": 'remove mode = "oneshot"',
        "mute": "exit status 1",
    }
    for name, words in expected.items():
        assert words in (daemon.wait_state(name, "failed", timeout=60)["error"] or "")
    daemon.wait_for(lambda: "ended before it had opened a session" in daemon.screen("mute"), what="tmux shows why")
    env = {"AGENTD_API_SOCKET": str(daemon.api_socket), "AGENTD_CONFIG": str(daemon.jcard)}
    found = Client(daemon.folder, env)("validate", "--json")
    errors = cast("list[Json]", cast("Json", found.document)["errors"])
    assert {error["agent"] for error in errors} == {"none", "boxed", "once"}
    examined = Client(daemon.folder, {**env, "AGENTD_TMUX_SOCKET": str(daemon.tmux_socket)})("doctor")
    assert 'missing: cannot find the program "no-such-agent"' in examined.out


@pytest.mark.thorough
def test_without_turns_it_is_shown_all_the_same(daemon: Daemon) -> None:
    agent = Scripted(daemon, SCRIPTED, turns=False, prompt="say shown")
    daemon.write_jcard(jcard(agent.table))
    daemon.start()
    daemon.wait_for(lambda: "\nshown" in daemon.screen("a"), 60, what="the first turn is shown")
    assert agent.activity() in (None, "unknown")
    assert Path(agent.workdir).is_dir()
