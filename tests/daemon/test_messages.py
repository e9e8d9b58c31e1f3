"""Messages to agents by the turns socket: queued, delivered once, followed to their answers, over any kill."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import sys
import threading
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from agentd.text.messages import LARGEST
from agentd.turns.messages.store import FILE
from tests.daemon.test_turns import Unix, post, socket_of
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.support.waiting import wait_for

PROGRAM = Path(__file__).parents[1] / "support" / "listening_agent.py"

Json = dict[str, object]


class Listener:
    """An agent that is talked to."""

    def __init__(self, daemon: Daemon, name: str = "a", *args: str, **fields: object) -> None:
        self.daemon, self.name = daemon, name
        self.workdir = daemon.folder / name
        self.workdir.mkdir()
        command = [sys.executable, "-I", "-S", "-X", "utf8", str(PROGRAM), *args]
        self.table = {"name": name, "command": command, "workdir": str(self.workdir), "grace_period": "1s", **fields}

    def send(self, message: str, text: str, **more: object) -> tuple[int, Json]:
        status, found = post(self.daemon, f"/v1/turns/{self.name}/messages", {"id": message, "text": text, **more})
        return status, cast("Json", found)

    def message(self, message: str) -> Json:
        status, found = post(self.daemon, f"/v1/turns/{self.name}/messages/{message}", method="GET")
        assert status == 200, found
        return cast("Json", cast("Json", found)["message"])

    def wait(self, message: str, status: str) -> Json:
        def reached() -> Json | None:
            found = self.message(message)
            return found if found["status"] == status else None

        return wait_for(
            reached,
            30,
            what=f"{message} is {status}",
            explain=lambda: f"{self.message(message)}\n{self.heard()}\n{self.daemon.explain()}",
        )

    def heard(self) -> list[str]:
        path = self.workdir / "heard"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def go(self) -> None:
        (self.workdir / "go").touch()


class Following:
    """A stream that is followed in a thread."""

    def __init__(self, daemon: Daemon, name: str, query: str = "") -> None:
        self.lines: list[Json] = []
        connection = Unix(socket_of(daemon))
        connection.request("GET", f"/v1/turns/{name}/stream{query}")
        self._answer = connection.getresponse()
        assert self._answer.status == 200
        assert self._answer.getheader("Content-Type") == "application/x-ndjson"
        self._connection = connection
        self.over = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for line in self._answer:
                self.lines.append(json.loads(line))
        except OSError:
            pass
        self.over.set()

    def kinds(self) -> list[str]:
        return [str(line["kind"]) for line in list(self.lines)]

    def close(self) -> None:
        self._connection.sock.close()


def started(daemon: Daemon, *listeners: Listener) -> Listener:
    daemon.write_jcard(jcard(*(listener.table for listener in listeners)))
    daemon.start("--on-shutdown=keep")
    for listener in listeners:
        daemon.wait_state(listener.name, "running")
        # One that has said nothing counts as reading after 1 s. Python may take longer on a loaded machine, and then
        # discards what was typed before it has set up its terminal.
        daemon.wait_for(partial(reads, daemon, listener.name), what=f"{listener.name} says that it is ready")
    return listeners[0]


def reads(daemon: Daemon, name: str) -> bool:
    found = daemon.agent(name)
    return found is not None and found["activity"] == "idle"


@pytest.fixture
def agent(daemon: Daemon) -> Listener:
    return started(daemon, Listener(daemon))


def test_a_message_is_delivered_and_answered(agent: Listener) -> None:
    following = Following(agent.daemon, "a")
    status, accepted = agent.send("m1", "hello\nyou")
    assert status == 202
    assert cast("Json", accepted["message"])["status"] == "queued"
    done = agent.wait("m1", "ended")
    assert (done["outcome"], done["final_text"], done["text"]) == ("completed", "I hear: hello\nyou", "hello\nyou")
    assert cast("Json", done["usage"])["input_tokens"] == len("hello\nyou")
    agent.daemon.wait_for(lambda: "ended" in statuses(following), what="all is told")
    lines = [line for line in following.lines if line["kind"] not in ("activity", "alive")]
    kinds = ["started", "message", "text_delta", "text_delta", "usage", "ended", "message"]
    # That it was handed over may be noted after its turn has begun.
    assert statuses(following) in (
        ["queued", "delivering", "delivered", "started", "ended"],
        ["queued", "delivering", "started", "ended"],
    )
    assert [line["kind"] for line in lines if line.get("status") != "delivered"][-7:] == kinds
    numbers = [cast("int", line["n"]) for line in following.lines]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    ended = next(line for line in lines if line["kind"] == "ended")
    assert (ended["turn"], ended["message"]) == (done["turn"], "m1")


def statuses(following: Following) -> list[object]:
    return [line["status"] for line in list(following.lines) if line["kind"] == "message"]


def test_messages_wait_for_their_turn_and_one_is_delivered_once(agent: Listener) -> None:
    agent.send("m1", "slow one")
    agent.wait("m1", "started")
    for number in range(2, 5):
        agent.send(f"m{number}", f"message {number}")
    assert agent.message("m2")["status"] == "queued"
    assert agent.send("m2", "message 2")[0] == 202
    assert agent.send("m2", "another text")[0] == 409
    agent.go()
    assert agent.wait("m4", "ended")["final_text"] == "I hear: message 4"
    assert agent.heard() == ["slow one", "message 2", "message 3", "message 4"]
    assert agent.send("m2", "message 2")[1]["message"] == agent.message("m2")
    assert agent.message("m2")["status"] == "ended"


def test_a_message_waits_for_an_agent_that_is_not_there_yet(daemon: Daemon) -> None:
    agent = Listener(daemon, enabled=False)
    daemon.write_jcard(jcard(agent.table))
    daemon.start("--on-shutdown=keep")
    daemon.wait_state("a", "disabled")
    assert agent.send("m1", "hello")[0] == 202
    assert agent.send("m2", "too late", expires_s=0.1)[0] == 202
    agent.wait("m2", "expired")
    status, withdrawn = post(daemon, "/v1/turns/a/messages/m1", method="DELETE")
    assert (status, cast("Json", cast("Json", withdrawn)["message"])["status"]) == (200, "withdrawn")
    agent.send("m3", "hello")
    daemon.kill()
    daemon.write_jcard(jcard({**agent.table, "enabled": True}))
    daemon.start("--on-shutdown=keep")
    assert agent.wait("m3", "ended")["final_text"] == "I hear: hello"
    assert agent.heard() == ["hello"]
    assert agent.message("m1")["status"] == "withdrawn"
    assert post(daemon, "/v1/turns/a/messages/m3", method="DELETE")[0] == 409


@pytest.mark.thorough
def test_a_kill_in_a_turn_loses_neither_the_turn_nor_those_that_wait(agent: Listener) -> None:
    daemon = agent.daemon
    agent.send("m1", "slow one")
    agent.send("m2", "two")
    agent.wait("m1", "started")
    following = Following(daemon, "a")
    daemon.kill()
    daemon.wait_for(following.over.is_set, what="the stream is over")
    daemon.start("--on-shutdown=keep")
    daemon.wait_state("a", "running")
    # What was not kept yet when it was killed is told again.
    agent.wait("m1", "started")
    later = Following(daemon, "a", "?after=5")
    agent.go()
    assert agent.wait("m1", "ended")["final_text"] == "I hear: slow one"
    assert agent.wait("m2", "ended")["final_text"] == "I hear: two"
    assert agent.heard() == ["slow one", "two"]
    daemon.wait_for(lambda: later.kinds().count("ended") == 2, what="both ends are told")
    assert later.kinds()[0] == "gap"


@pytest.mark.thorough
def test_a_turn_that_ended_while_agentd_was_away_is_settled(agent: Listener) -> None:
    daemon = agent.daemon
    agent.send("m1", "slow one")
    agent.wait("m1", "started")
    daemon.kill()
    agent.go()
    daemon.start("--on-shutdown=keep")
    assert agent.wait("m1", "ended")["final_text"] == "I hear: slow one"
    assert agent.send("m2", "two")[0] == 202
    agent.wait("m2", "ended")


@pytest.mark.thorough
def test_a_program_is_answered_once_what_it_told_is_kept(agent: Listener) -> None:
    assert agent.send("m1", "slow one")[0] == 202
    agent.wait("m1", "started")
    with contextlib.closing(sqlite3.connect(agent.daemon.state / FILE, isolation_level=None)) as disk:
        # As one that takes long to write.
        disk.execute("BEGIN IMMEDIATE")
        agent.go()
        agent.wait("m1", "ended")
        agent.daemon.kill()
    agent.daemon.start("--on-shutdown=keep")
    # What was not kept is told again, by a program that was not answered.
    agent.wait("m1", "ended")
    assert agent.send("m2", "two")[0] == 202
    agent.wait("m2", "ended")
    assert agent.heard() == ["slow one", "two"]


@pytest.mark.thorough
def test_a_message_to_an_agent_that_is_being_ended_waits_for_its_next_run(daemon: Daemon) -> None:
    # Its program does not end by C-c, and SIGTERM comes half a minute later.
    agent = started(daemon, Listener(daemon, grace_period="60s"))
    pid = daemon.agents()["a"]["pid"]
    assert pid is not None
    daemon.write_jcard(jcard({**agent.table, "env": {"CHANGED": "yes"}}))
    daemon.wait_state("a", "stopping")
    assert agent.send("m1", "hello")[0] == 202
    assert agent.message("m1")["status"] == "queued"
    os.kill(pid, signal.SIGKILL)
    assert agent.wait("m1", "ended")["final_text"] == "I hear: hello"
    assert agent.heard() == ["hello"]


@pytest.mark.thorough
def test_an_agent_that_ends_in_a_turn_loses_it_and_keeps_the_others(daemon: Daemon) -> None:
    agent = started(daemon, Listener(daemon, restart="on-failure", max_restarts=1))
    agent.send("m1", "die")
    agent.send("m2", "hello")
    done = agent.wait("m1", "ended")
    assert (done["outcome"], done["final_text"]) == ("lost", None)
    assert agent.wait("m2", "ended")["final_text"] == "I hear: hello"
    assert agent.heard() == ["die", "hello"]


@pytest.mark.thorough
def test_messages_to_an_agent_that_is_not_declared_any_more_fail(daemon: Daemon) -> None:
    agent, other = Listener(daemon), Listener(daemon, "b")
    started(daemon, agent, other)
    following = Following(daemon, "a")
    agent.send("m1", "forever")
    agent.send("m2", "hello")
    agent.wait("m1", "started")
    daemon.write_jcard(jcard(other.table))
    assert "not declared any more" in str(agent.wait("m2", "failed")["error"])
    assert agent.wait("m1", "ended")["outcome"] == "lost"
    assert agent.send("m3", "hello")[0] == 404
    daemon.wait_for(following.over.is_set, what="its stream is over")
    assert [line for line in following.lines if line.get("status") == "ended"][-1]["message"] == "m1"


@pytest.mark.thorough
def test_a_hundred_may_wait_and_no_more(agent: Listener) -> None:
    agent.send("m", "forever")
    agent.wait("m", "started")
    statuses = [agent.send(f"m{number}", f"message {number}")[0] for number in range(102)]
    assert statuses == [202] * 100 + [429] * 2


NO_MESSAGES: list[tuple[Json, int]] = [
    ({"id": "m", "text": ""}, 400),
    ({"id": "m", "text": "\x1b\x07"}, 400),
    ({"id": "m"}, 400),
    ({"id": "m", "text": 5}, 400),
    ({"text": "hello"}, 400),
    ({"id": "../m", "text": "hello"}, 400),
    ({"id": "m" * 200, "text": "hello"}, 400),
    ({"id": "m", "text": "hello", "expires_s": -1}, 400),
    ({"id": "m", "text": "hello", "expires_s": True}, 400),
    ({"id": "m", "text": "\ud800"}, 400),
    # The largest message is read, however it is written.
    ({"id": "../m", "text": "\u00e4" * (LARGEST // 2)}, 400),
    ({"id": "m", "text": "x" * (LARGEST + 1)}, 413),
    ({"id": "m", "text": "x" * 4 * LARGEST}, 413),
]
NO_REQUESTS = [
    ("GET", "/v1/turns/a/messages/nothing", 404),
    ("DELETE", "/v1/turns/a/messages/nothing", 404),
    ("GET", "/v1/turns/..%2f..%2fetc/messages/m", 404),
    ("GET", "/v1/turns/a/messages/..%2f..", 400),
    ("GET", "/v1/turns/nobody/stream", 404),
    ("GET", "/v1/turns/%00/stream", 404),
    ("GET", "/v1/turns/a/stream?after=x", 400),
    ("GET", "/v1/turns/a/stream?after=99999999999999999999", 400),
    ("DELETE", "/v1/turns/a", 404),
]


def test_hostile_requests_are_refused(agent: Listener) -> None:
    daemon = agent.daemon
    answers = [post(daemon, "/v1/turns/a/messages", body)[0] for body, _ in NO_MESSAGES]
    assert answers == [status for _, status in NO_MESSAGES]
    answers = [post(daemon, path, method=method)[0] for method, path, _ in NO_REQUESTS]
    assert answers == [status for *_, status in NO_REQUESTS]
    assert agent.heard() == []


def test_agents_whose_turns_are_not_told_take_no_messages(daemon: Daemon) -> None:
    common = {"workdir": str(daemon.workdir), "enabled": False}
    off = {"name": "off", "command": ["cat"], "turns": False, **common}
    once = {"name": "once", "harness": "claude-code", "prompt": "do it", **common}
    own = {"name": "own", "command": ["cat"], "prompt": "do it", **common}
    daemon.write_jcard(jcard(off, once, own))
    daemon.start()
    daemon.wait_state("once", "disabled")
    for name, reason in (("off", "turns = false"), ("once", 'mode = "interactive"'), ("own", 'mode = "interactive"')):
        status, error = post(daemon, f"/v1/turns/{name}/messages", {"id": "m", "text": "hello"})
        assert status == 409
        assert "takes no messages here" in str(error)
        assert reason in cast("dict[str, str]", error)["error"]


def test_its_text_stands_in_no_file_that_others_may_read(agent: Listener) -> None:
    agent.send("m1", "a secret thing")
    agent.wait("m1", "ended")
    found = list(agent.daemon.folder.rglob("messages.db*"))
    assert found
    assert all(path.stat().st_mode & 0o077 == 0 for path in found)
    assert not list(agent.daemon.folder.rglob("*.turns-paste"))
