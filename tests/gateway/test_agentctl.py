"""agentctl's commands of the gateway, against a real one."""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import Any

import pytest

from tests.cli.support import TmuxServer
from tests.gateway.stand_in import declare
from tests.support.daemon import program
from tests.support.forked import run_agentctl
from tests.support.gateway import Gateway
from tests.support.waiting import wait_for


@pytest.fixture(autouse=True)
def _running(gateway: Gateway) -> None:
    declare(gateway)
    gateway.daemon.start()
    gateway.start()


def agentctl(gateway: Gateway, *arguments: str, status: int = 0) -> str:
    env = gateway.daemon.environment(AGENTD_GATEWAY_URL=gateway.url)
    done = run_agentctl(["agentctl", *arguments], env=env, cwd=gateway.daemon.folder, timeout=60)
    assert done.returncode == status, done
    return done.stdout


def test_a_session_a_message_its_run_and_its_events(gateway: Gateway) -> None:
    session = agentctl(gateway, "--field", "session.id", "session", "create", "--agent", "helper").strip()
    sent = ("message", "send", "--session-id", session, "--text", "hello", "--idempotency-key", "k1")
    run = agentctl(gateway, "--field", "run.id", *sent).strip()
    assert agentctl(gateway, "--field", "run.id", *sent).strip() == run
    assert agentctl(gateway, "--field", "run.status", "run", "wait", "--run-id", run) == "succeeded\n"
    assert agentctl(gateway, "--field", "run.result_text", "run", "get", run) == "You said: hello\n"
    assert agentctl(gateway, "--field", "diagnostics.likely_issue", "run", "diagnose", "--run-id", run) == "none\n"
    assert agentctl(gateway, "--field", "diagnostics.queue_counts.queued_count", "run", "diagnose", run) == "0\n"
    page = json.loads(agentctl(gateway, "events", "list", "--session-id", session))
    kinds = [event["event_type"] for event in page["events"]]
    assert agentctl(gateway, "--field", "event_type", "events", "tail", "--session-id", session, "-n", "3") == (
        "".join(f"{kind}\n" for kind in kinds[-3:])
    )
    listed = agentctl(gateway, "--format", "json", "session", "list", "--status", "open")
    assert [each["id"] for each in json.loads(listed)["sessions"]] == [session]
    assert ", " not in listed
    assert agentctl(gateway, "--field", "alive_workers", "daemon", "status") == "4\n"
    assert agentctl(gateway, "--field", "queue_counts.queued_count", "daemon", "status") == "0\n"
    assert agentctl(gateway, "--field", "session.status", "session", "close", session) == "closed\n"


def test_a_child_asks_its_parent_and_a_cancel_reaches_it(gateway: Gateway) -> None:
    parent = agentctl(gateway, "--field", "session.id", "session", "create", "--agent", "helper").strip()
    run = agentctl(gateway, "--field", "run.id", "message", "send", "STUB-SLEEP:60", "--session-id", parent).strip()
    spawned = json.loads(agentctl(gateway, "tool", "session-spawn", "--parent-run-id", run, "--task", "STUB-SLEEP:60"))
    child = spawned["run"]["id"]
    reply = ("tool", "session-reply-parent", "--run-id", child, "--request-kind", "question", "--text", "which branch?")
    assert agentctl(gateway, "--field", "parent_session_id", *reply).strip() == parent
    assert agentctl(gateway, "--field", "run.status", "run", "wait", child, "--timeout-s", "0", status=1)
    sent = ("tool", "session-send", "--session-id", spawned["session"]["id"], "--text", "main")
    assert agentctl(gateway, "--field", "message.role", *sent)
    canceled = agentctl(gateway, "--field", "run.status", "run", "transition", run, "--to-status", "canceled")
    assert canceled == "canceled\n"
    assert agentctl(gateway, "--field", "run.status", "tool", "session-wait", "--run-id", child) == "canceled\n"


def connect(gateway: Gateway, said: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("agentctl"), "--gateway", gateway.url, "connect", *arguments],
        input=said,
        env=gateway.daemon.environment(),
        cwd=gateway.daemon.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_conversation_from_a_pipe(gateway: Gateway) -> None:
    done = connect(gateway, "first\n\nUSE-TOOL second\n/exit\nnever said\n", "helper", "/tmp")
    assert done.stdout == (
        "You said: Now let us work on working dir: /tmp\nYou said: first\nYou said: USE-TOOL second\n"
    )
    assert "[Bash] ls" in done.stderr
    assert done.returncode == 0
    session = done.stderr.rpartition("--session ")[2].strip()
    again = connect(gateway, "third\n", "--session", session)
    assert (again.returncode, again.stdout) == (0, "You said: third\n")
    failed = connect(gateway, "STUB-FAIL:auth_error\n", "--session", session)
    assert failed.returncode == 1
    assert "the turn failed: " in failed.stderr


def test_a_program_is_asked_for_permission_too(gateway: Gateway) -> None:
    done = connect(gateway, "ASK-PERMISSION one\n\ny\nASK-QUESTION two\nBlue\nASK-PERMISSION three\nno\n", "helper")
    assert done.stdout.splitlines() == [
        "You said: ASK-PERMISSION one (allowed)",
        "You said: ASK-QUESTION two (Blue)",
        "You said: ASK-PERMISSION three (denied: no reason)",
    ]
    assert done.stderr.count("allow Bash: ls? [y/n/always]") == 2
    assert "it asks: Which colour? (Blue, Red):" in done.stderr


def test_a_message_that_was_piped_before_a_question_does_not_answer_it(gateway: Gateway) -> None:
    with subprocess.Popen(
        [program("agentctl"), "--gateway", gateway.url, "connect", "helper"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=gateway.daemon.environment(),
        text=True,
    ) as talk:
        assert talk.stdin is not None
        assert talk.stdout is not None
        assert talk.stderr is not None
        talk.stdin.write("ASK-PERMISSION\nsomething else\n")
        talk.stdin.close()
        told = next(line for line in talk.stderr if "agentctl run answer" in line)
        answer = told[told.index("run answer") :].replace("allow|deny", "allow").split()
        agentctl(gateway, *answer)
        assert talk.stdout.read() == "You said: ASK-PERMISSION (allowed)\nYou said: something else\n"
        assert talk.wait(20) == 0


def test_a_conversation_at_a_terminal(gateway: Gateway) -> None:
    folder = gateway.daemon.folder
    tmux = TmuxServer(folder / "op.sock")
    command = shlex.join([program("agentctl"), "--gateway", gateway.url, "connect", "helper"])
    tmux.session("person", f"cd {folder}; {command}; echo [status $?]; exec cat")

    def shows(text: str) -> None:
        wait_for(lambda: text in tmux.screen("person"), 20, what=text, explain=lambda: tmux.screen("person"))

    def types(*keys: str) -> None:
        tmux("send-keys", "-t", "=person:", *keys)

    try:
        shows("helper>")
        types("ASK-PERMISSION", "Enter")
        shows("allow Bash: ls? [y/n/always]")
        types("y", "Enter")
        shows("You said: ASK-PERMISSION (allowed)")
        types("ASK-QUESTION", "Enter")
        shows("it asks: Which colour? (Blue, Red):")
        types("Blue", "Enter")
        shows("You said: ASK-QUESTION (Blue)")
        types("ASK-PERMISSION again", "Enter")
        wait_for(lambda: tmux.screen("person").count("allow Bash: ls? [y/n/always]") == 2, 20, what="it asks again")
        run = gateway.ask("GET", "/runs?status=awaiting_input")["runs"][0]["id"]
        asked = [event for event in _events(gateway) if event["event_type"] == "run.awaiting_input"][-1]
        gateway.ask("POST", f"/runs/{run}/answer", {"request_id": asked["data"]["request_id"], "decision": "deny"})
        shows("somebody else has answered")
        shows("You said: ASK-PERMISSION again (denied: no reason)")
        types("STUB-SLEEP:60", "Enter")
        gateway.daemon.wait_for(
            lambda: gateway.ask("GET", "/daemon/status")["queue_counts"]["running_count"] == 1, what="it works"
        )
        session = gateway.ask("GET", "/sessions")["sessions"][0]["id"]
        gateway.daemon.wait_for(
            lambda: gateway.ask("GET", f"/sessions/{session}")["active_run"]["started_at"], what="its turn began"
        )
        types("C-c")
        shows("the turn canceled")
        types("C-c")
        shows("C-c interrupts a turn; /exit leaves")
        types("/exit", "Enter")
        shows("[status 1]")
    finally:
        tmux.close()


def test_no_answer_is_made_up_at_a_terminal(gateway: Gateway) -> None:
    tmux = TmuxServer(gateway.daemon.folder / "op.sock")
    command = shlex.join([program("agentctl"), "--gateway", gateway.url, "connect", "helper"])
    tmux.session("person", f"cd {gateway.daemon.folder}; {command}; echo [status $?]; exec cat")

    def shows(text: str, times: int = 1) -> None:
        wait_for(
            lambda: tmux.screen("person").count(text) >= times, 20, what=text, explain=lambda: tmux.screen("person")
        )

    def types(*keys: str) -> None:
        tmux("send-keys", "-t", "=person:", *keys)

    try:
        shows("helper>")
        types("ASK-PERMISSION", "Enter")
        shows("[y/n/always]")
        types("Enter")
        shows("[y/n/always]", 2)
        types("perhaps", "Enter")
        shows("[y/n/always]", 3)
        types("y", "Enter")
        shows("You said: ASK-PERMISSION (allowed)")
        types("ASK-QUESTION", "Enter")
        shows("(Blue, Red):")
        types("/exit", "Enter")
        shows("agentctl run answer")
        shows("the conversation stays")
        shows("[status 0]")
        (run,) = gateway.ask("GET", "/runs?status=awaiting_input")["runs"]
        assert run["prompt"] == "ASK-QUESTION"
    finally:
        tmux.close()


def test_a_conversation_goes_on_over_a_restart_of_the_gateway(gateway: Gateway) -> None:
    with subprocess.Popen(
        [program("agentctl"), "--gateway", f"unix:{gateway.socket}", "connect", "helper"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=gateway.daemon.environment(),
        text=True,
    ) as talk:
        assert talk.stdin is not None
        assert talk.stdout is not None
        assert talk.stderr is not None
        talk.stdin.write("ASK-PERMISSION\n")
        talk.stdin.close()
        told = next(line for line in talk.stderr if "agentctl run answer" in line)
        gateway.restart()
        answer = told[told.index("run answer") :].replace("allow|deny", "allow").split()
        agentctl(gateway, *answer)
        assert talk.stdout.read() == "You said: ASK-PERMISSION (allowed)\n"
        assert "waiting for it" in talk.stderr.read()
        assert talk.wait(20) == 0


def _events(gateway: Gateway) -> list[Any]:
    session = gateway.ask("GET", "/sessions")["sessions"][0]["id"]
    return list(gateway.ask("GET", f"/sessions/{session}/events?limit=1000")["events"])


def test_nobody_of_that_name_to_connect_to(gateway: Gateway) -> None:
    done = connect(gateway, "hello\n", "nobody")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "agentctl: there is no agent nobody (not_found); agentctl list shows those that are\n"
