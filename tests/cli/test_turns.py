"""agentctl ask, answer, last and usage, and what else knows of turns, against the real daemon."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.cli.support import Client
from tests.support import talking_claude
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.support.waiting import wait_for

LIMIT = ("--timeout", "30s")


@pytest.fixture
def talk(daemon: Daemon) -> Client:
    """A daemon with one agent that tells of its turns and one that does not."""
    program = daemon.bin / "claude"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S -X utf8 {talking_claude.__file__} "$@"\n')
    program.chmod(0o755)
    daemon.write_jcard(
        jcard(
            {"name": "a", "harness": "claude-code", "workdir": str(daemon.workdir), "grace_period": "2s"},
            {"name": "mute", "command": ["cat"]},
        )
    )
    daemon.start()
    daemon.wait_for(lambda: (agent := daemon.agent("a")) is not None and agent["activity"] == "idle", what="a is idle")
    daemon.wait_state("mute", "running")
    return Client(daemon.folder, daemon.places)


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Commands that run beside the test."""
    running: list[subprocess.Popen[str]] = []
    yield running
    for command in running:
        command.kill()
        command.communicate()


def test_the_answer_is_printed_as_the_program_recorded_it(talk: Client) -> None:
    done = talk("ask", "A", "how many\nfiles?", *LIMIT)
    assert (done.status, done.out, done.err) == (0, "I hear: how many\nfiles?\n", "")
    document = talk("ask", "a", "--json", "again?", *LIMIT).document
    assert isinstance(document, dict)
    assert (document["name"], document["outcome"], document["text"]) == ("a", "completed", "I hear: again?")
    assert talk("last", "a").out == "I hear: again?\n"
    assert talk("ask", "a", "--stream", "and now?", *LIMIT).out.strip() == "I hear: and now?"


@pytest.mark.thorough
def test_an_agent_that_has_just_been_started_is_waited_for(talk: Client, daemon: Daemon) -> None:
    program = daemon.bin / "claude"
    program.write_text(program.read_text().replace("exec", "sleep 1\nexec"))
    talk("restart", "a", "--wait")
    done = talk("ask", "a", "are you there?", *LIMIT)
    assert (done.status, done.out, done.err) == (0, "I hear: are you there?\n", "")


@pytest.mark.thorough
def test_why_an_agent_takes_no_messages_is_told_in_the_daemons_words(talk: Client, daemon: Daemon) -> None:
    (daemon.bin / "claude").write_text("#!/bin/sh\nexec sleep 600\n")
    once = {"name": "once", "harness": "claude-code", "prompt": "do it", "workdir": str(daemon.workdir)}
    daemon.write_jcard(jcard(once))
    daemon.wait_for(lambda: (now := daemon.agent("once")) is not None and now["activity"] == "working", what="it works")
    refused = talk("ask", "once", "hello", *LIMIT)
    assert refused.status == 1
    assert "once takes no messages here: it has a prompt, so a run of it is one turn" in refused.err
    assert 'mode = "interactive"' in refused.err


def test_what_is_asked_meanwhile_is_told_and_answered_from_elsewhere(
    talk: Client, daemon: Daemon, started: list[subprocess.Popen[str]]
) -> None:
    started.append(talk.start("ask", "a", "may I build?", *LIMIT))
    assert talk("wait", "a", "--for", "waiting_permission", *LIMIT).out == "a is waiting_permission\n"
    assert daemon.agents()["a"]["activity_text"] == "may I build?"
    assert talk("answer", "a", "deny").out == "a: denied\n"
    out, err = started[0].communicate(timeout=30)
    assert (started[0].returncode, out) == (0, "decided: deny\n")
    assert "a asks: may I build?: agentctl answer a allow|deny" in err
    refused = talk("answer", "a", "allow")
    assert refused.status == 1
    assert "waits for no answer" in refused.err


def test_a_message_waits_until_it_is_the_users_move(
    talk: Client, daemon: Daemon, started: list[subprocess.Popen[str]]
) -> None:
    started.append(talk.start("ask", "a", "slow one", *LIMIT))
    assert talk("wait", "a", "--for", "working", *LIMIT).status == 0
    late = talk("ask", "a", "next", "--timeout", "300ms")
    assert late.status == 1
    assert "a is still at another turn, and the time is over" in late.err
    started.append(talk.start("ask", "a", "the next", *LIMIT))
    (daemon.workdir / "go").touch()
    assert [command.communicate(timeout=30)[0] for command in started] == ["I hear: slow one\n", "I hear: the next\n"]


@pytest.mark.thorough
def test_a_message_to_a_busy_agent_is_queued_by_agentd(talk: Client, daemon: Daemon) -> None:
    assert talk("send", "a", "slow one").out == "8 characters to a: recorded\n"
    assert talk("send", "a", "the next").out == "8 characters to a: queued\n"
    assert "the next" not in daemon.screen("a")
    (daemon.workdir / "go").touch()
    wait_for(lambda: talk("last", "a").out == "I hear: the next\n", 30, what="it was delivered")


@pytest.mark.thorough
def test_a_draft_holds_a_message_back_until_the_time_is_over(talk: Client, daemon: Daemon) -> None:
    assert talk("send", "a", "half a thought", "--no-enter").status == 0
    held = talk("send", "a", "hello", "--timeout", "300ms")
    assert held.status == 1
    assert "nothing was sent: a takes no message" in held.err
    assert "half a thought" in held.err
    assert "hello" not in daemon.screen("a")
    late = talk("ask", "a", "hello", "--timeout", "300ms")
    assert (late.status, "the time is over" in late.err) == (1, True)
    assert talk("last", "a").status == 1, "no turn has begun"


@pytest.mark.thorough
def test_a_turn_that_failed_is_a_failure(talk: Client) -> None:
    done = talk("ask", "a", "fail please", *LIMIT)
    assert done.status == 1
    assert "the turn of a was failed" in done.err
    assert talk("wait", "a", "--for", "usage_limit", *LIMIT).status == 0
    assert talk("last", "a").status == 1


def test_send_says_that_it_is_recorded(talk: Client) -> None:
    assert talk("send", "a", "hello").out == "5 characters to a: recorded\n"


@pytest.mark.thorough
def test_an_agent_that_does_not_tell_of_its_turns_is_said_to(talk: Client) -> None:
    done = talk("ask", "mute", "hello", "--timeout", "300ms")
    assert done.status == 1
    assert "the program of mute does not tell when a turn ends" in done.err
    assert "no turn of mute has ended" in talk("last", "mute").err


@pytest.mark.thorough
def test_the_last_answer_of_a_run_that_ended_is_in_the_events(talk: Client) -> None:
    assert talk("ask", "a", "remember", *LIMIT).status == 0
    talk("stop", "a", "--wait")
    assert talk("last", "a").out == "I hear: remember\n"
    ended = talk("ask", "a", "hello", *LIMIT)
    assert (ended.status, "a is not running, it is disabled" in ended.err) == (1, True)


@pytest.mark.thorough
def test_usage_says_nothing_that_no_program_told(talk: Client) -> None:
    assert talk("ask", "a", "hello", *LIMIT).status == 0
    rows = talk("usage", "--agents").rows
    assert [row[0] for row in rows] == ["a", "mute"]
    assert rows[1] == ["mute", "0", *["-"] * 8]
    document = talk("usage", "mute", "--json").document
    assert document == [
        {
            "name": "mute",
            "turns": 0,
            "input_tokens": None,
            "output_tokens": None,
            "cache_read_tokens": None,
            "cache_write_tokens": None,
            "source": None,
            "at": None,
            "age_seconds": None,
            "cost_usd": None,
            "cost_source": None,
            "cost_at": None,
            "cost_age_seconds": None,
            "quota": None,
            "runs": [],
        }
    ]


@pytest.mark.thorough
def test_status_shows_whoever_needs_somebody_first(
    talk: Client, daemon: Daemon, started: list[subprocess.Popen[str]]
) -> None:
    daemon.write_jcard(daemon.jcard.read_text() + jcard({"name": "0-first", "command": ["cat"]}))
    daemon.wait_state("0-first", "running")
    started.append(talk.start("ask", "a", "may I?", *LIMIT))
    talk("wait", "a", "--for", "waiting_permission", *LIMIT)
    assert [row[0] for row in talk("status").rows] == ["0-first", "a", "mute"]
    assert [row[0] for row in talk("status", "--attention").rows] == ["a", "0-first", "mute"]
    agents = json.loads(talk("status", "--attention", "--json").out)["agents"]
    assert [agent["name"] for agent in agents] == ["a", "0-first", "mute"]
    talk("answer", "a", "allow")
    wait_for(lambda: started[0].poll() is not None)


@pytest.mark.thorough
def test_the_mailbox_says_what_became_of_each_message(talk: Client, daemon: Daemon) -> None:
    assert talk("send", "a", "--id", "m1", "slow one").out == "8 characters to a: recorded\n"
    assert talk("send", "A", "--id", "m2", "and then\nthat").out == "13 characters to a: queued\n"
    again = talk("send", "a", "--id", "m2", "--json", "and then\nthat").document
    assert isinstance(again, dict)
    assert (again["outcome"], again["message"]) == ("queued", "m2")
    other = talk("send", "a", "--id", "m2", "another text")
    assert (other.status, "has another text" in other.err) == (1, True)
    assert talk("send", "a", "--id", "m3", "no more").status == 0
    assert talk("mailbox", "a", "m3", "--withdraw", "--field", "status").out == "withdrawn\n"
    (daemon.workdir / "go").touch()
    wait_for(lambda: talk("mailbox", "a", "m2", "--field", "status").out == "ended\n", 30, what="it has ended")
    rows = [line.split("\t") for line in talk("mailbox", "a").out.splitlines()]
    sender = pwd.getpwuid(os.geteuid()).pw_name
    assert [(row[1], row[2], row[5], row[6], row[8]) for row in rows] == [
        ("m1", "ended", "hooks", sender, "slow one"),
        ("m2", "ended", "hooks", sender, "and then that"),
        ("m3", "withdrawn", "-", sender, "no more"),
    ]
    shown = talk("mailbox", "a", "m2").out
    assert "and then\nthat\n" in shown
    assert "answer:\nI hear: and then" in shown
    assert "says hooks" in shown
    nobody = talk("mailbox", "muet")
    assert (nobody.status, nobody.out, 'no agent "muet": did you mean mute?' in nobody.err) == (0, "", True)


@pytest.mark.thorough
def test_a_message_waits_for_an_agent_that_does_not_run_and_its_expiry_is_told(talk: Client) -> None:
    assert talk("stop", "a", "--wait").status == 0
    refused = talk("send", "a", "hello")
    assert (refused.status, "a is not running" in refused.err) == (1, True)
    assert talk("send", "a", "--expires", "1h", "--id", "later", "hello").out == "5 characters to a: queued\n"
    assert talk("send", "a", "--expires", "10ms", "--id", "late", "too late").status == 0
    wait_for(lambda: talk("mailbox", "--undelivered").out, 30, what="one has expired")
    late = talk("mailbox", "a", "late")
    assert (late.status, "waited for longer than its sender allowed" in late.out) == (1, True)
    (told,) = json.loads(talk("events", "--kind", "message_undelivered", "--json").out)
    assert told["data"] == {"message": "late", "sender": f"uid:{os.geteuid()}", "status": "expired"}
    assert talk("start", "a", "--wait").status == 0
    wait_for(lambda: talk("mailbox", "a", "later", "--field", "final_text").out == "I hear: hello\n", 30, what="answer")
    # It is left with agentd for one that runs, too.
    assert talk("send", "a", "--expires", "1h", "--id", "now", "hello").status == 0
    wait_for(lambda: talk("mailbox", "a", "now", "--field", "status").out == "ended\n", 30, what="it has ended")
    assert talk("mailbox", "a", "none").status == talk("mailbox", "--withdraw").status - 1 == 1
    typed = talk("send", "a", "--id", "x", "--force", "hello")
    assert (typed.status, "--no-enter and --force" in typed.err) == (2, True)


def test_usage_is_of_the_providers_and_of_the_agents(talk: Client) -> None:
    document = talk("usage", "--json").document
    assert isinstance(document, dict)
    codex = next(each for each in document["providers"] if each["provider"] == "codex")
    # It may be installed here, or not.
    assert (codex["usable"], codex["windows"]) == (codex["unusable_reason"] is None, [])
    assert [each["name"] for each in document["agents"]] == ["a", "mute"]
    assert document["agents"] == talk("usage", "--agents", "--json").document
    (alone,) = talk("usage", "--provider", "codex").rows
    assert alone[:2] == ["codex", "yes" if codex["usable"] else "no"]
    names = [row[0] for row in talk("usage").rows]
    assert "codex" in names
    assert names[-2:] == ["a", "mute"]
    for both in (["a", "--refresh"], ["--agents", "--provider", "all"]):
        assert talk("usage", *both).status == 2


@pytest.mark.thorough
def test_an_error_of_talking_is_an_object_with_the_next_command(talk: Client, daemon: Daemon) -> None:
    def refused(*call: str) -> object:
        done = talk(*call, "--json")
        assert done.status == 1
        assert isinstance(done.document, dict)
        error = done.document["error"]
        return (error["code"], error["details"]["example"])

    assert talk("ask", "a", "hello", *LIMIT).status == 0
    assert refused("answer", "a", "allow") == ("nothing_asked", "agentctl status a")
    assert refused("collect", "nobody") == ("not_found", "agentctl list")
    assert talk("stop", "a", "--wait").status == 0
    daemon.wait_state("a", "disabled")
    for call in (["send", "a", "hi"], ["keys", "a", "Enter"], ["interrupt", "a"], ["answer", "a", "allow"]):
        assert refused(*call) == ("not_running", "agentctl status a")
