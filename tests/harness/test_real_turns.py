"""A scripted conversation with the real Claude Code, told turn by turn by its own records."""

from __future__ import annotations

import os
import signal

import pytest

from tests.daemon.test_turns import post
from tests.harness.driven import DEADLINE, REAL, DrivenCli, agentctl
from tests.harness.real_clis import REAL_CLIS, RealCli
from tests.support.daemon import AgentJson

pytestmark = REAL

CLAUDE = next(cli for cli in REAL_CLIS if cli.harness == "claude-code")
ASK = (
    'STUB-TOOL:AskUserQuestion {"questions":[{"question":"Which colour?","header":"Colour","multiSelect":false,'
    '"options":[{"label":"Red","description":"warm"},{"label":"Blue","description":"cold"}]}]}'
)


@pytest.fixture
def cli() -> RealCli:
    if not CLAUDE.package.installed:
        pytest.skip("claude-code is not installed; run tests/harness/install-clis claude-code")
    return CLAUDE


def view(driven: DrivenCli) -> dict[str, object]:
    status, found = post(driven.daemon, "/v1/turns/agent", method="GET")
    assert status == 200
    assert isinstance(found, dict)
    return found


def wait_activity(driven: DrivenCli, activity: str) -> AgentJson:
    daemon = driven.daemon
    daemon.wait_state("agent", "running", timeout=DEADLINE)
    daemon.wait_for(lambda: daemon.agents()["agent"]["activity"] == activity, DEADLINE, what=f"it is {activity}")
    return daemon.agents()["agent"]


def ask(driven: DrivenCli, text: str) -> None:
    """Send a message, and wait until its turn has begun."""
    before = turns(driven, "turn_started")
    agentctl(driven, "send", "agent", text)
    driven.daemon.wait_for(lambda: turns(driven, "turn_started") > before, DEADLINE, what=f"{text!r} is taken")


def turns(driven: DrivenCli, kind: str) -> int:
    events = driven.daemon.get("/v1/events")
    assert isinstance(events, list)
    return sum(event["kind"] == kind for event in events)


def ended(driven: DrivenCli, prompt: str) -> dict[str, object]:
    """Wait for the end of the turn of this message."""

    def last() -> dict[str, object] | None:
        found = view(driven)["last"]
        return found if isinstance(found, dict) and found["prompt"] == prompt else None

    return driven.daemon.wait_for(last, DEADLINE, what=f"the turn of {prompt!r} has ended")


def wait_outcomes(driven: DrivenCli, *outcomes: str) -> None:
    """Wait until the journal tells of the ends of these turns: they come to it from another thread."""

    def told() -> list[object]:
        events = driven.daemon.get("/v1/events")
        assert isinstance(events, list)
        return [event["data"]["outcome"] for event in events if event["kind"] == "turn_ended"]

    driven.daemon.wait_for(lambda: told() == list(outcomes), DEADLINE, what=f"turns ended: {', '.join(outcomes)}")


def test_a_message_and_a_permission_that_is_given(driven: DrivenCli) -> None:
    daemon = driven.daemon
    driven.declare()
    first = wait_activity(driven, "idle")
    assert first["conversation"] is not None

    ask(driven, "hello there")
    turn = ended(driven, "hello there")
    assert (turn["outcome"], turn["text"]) == ("completed", "STUB-REPLY: hello there")
    daemon.wait_for(lambda: turns(driven, "turn_usage") == 1, DEADLINE, what="its usage is told")

    allowed = f"STUB-BASH:echo yes > {daemon.workdir}/allowed"
    ask(driven, allowed)
    assert "echo yes" in str(wait_activity(driven, "waiting_permission")["activity_text"])
    assert post(daemon, "/v1/turns/agent/answer", {"decision": "allow"})[0] == 200
    turn = ended(driven, allowed)
    assert (turn["outcome"], turn["text"]) == ("completed", f"STUB-REPLY: {allowed}")
    assert (daemon.workdir / "allowed").read_text() == "yes\n"


def test_a_permission_that_is_denied(driven: DrivenCli) -> None:
    daemon = driven.daemon
    driven.declare()
    wait_activity(driven, "idle")
    denied = f"STUB-BASH:echo no > {daemon.workdir}/denied"
    ask(driven, denied)
    wait_activity(driven, "waiting_permission")
    assert post(daemon, "/v1/turns/agent/answer", {"decision": "deny", "text": "not now"})[0] == 200
    assert ended(driven, denied)["outcome"] == "completed"
    assert not (daemon.workdir / "denied").exists()


def test_a_question(driven: DrivenCli) -> None:
    daemon = driven.daemon
    driven.declare()
    wait_activity(driven, "idle")
    ask(driven, ASK)
    assert wait_activity(driven, "waiting_input")["activity_text"] == "Which colour?"
    assert post(daemon, "/v1/turns/agent/answer", {"decision": "answer", "text": "Blue"})[0] == 200
    assert ended(driven, ASK)["outcome"] == "completed"


def test_a_permission_that_is_given_at_the_terminal(driven: DrivenCli) -> None:
    daemon = driven.daemon
    driven.declare()
    wait_activity(driven, "idle")
    at_terminal = f"STUB-BASH:echo typed > {daemon.workdir}/typed"
    ask(driven, at_terminal)
    wait_activity(driven, "waiting_permission")
    driven.wait_on_screen("Do you want to proceed?")
    agentctl(driven, "keys", "agent", "Enter")
    assert ended(driven, at_terminal)["outcome"] == "completed"
    assert (daemon.workdir / "typed").read_text() == "typed\n"


def test_interrupts_and_errors(driven: DrivenCli) -> None:
    daemon = driven.daemon
    driven.declare()
    wait_activity(driven, "idle")
    ask(driven, "STUB-SLEEP:60")
    wait_activity(driven, "working")
    assert post(daemon, "/v1/turns/agent/interrupt")[0] == 200
    assert ended(driven, "STUB-SLEEP:60")["outcome"] == "interrupted"
    # It gives the message back into the box.
    agentctl(driven, "keys", "agent", "C-u")

    ask(driven, "STUB-STATUS:401 please")
    turn = ended(driven, "STUB-STATUS:401 please")
    assert (turn["outcome"], turn["failure"]) == ("failed", "auth_error")
    wait_activity(driven, "auth_error")
    ask(driven, "STUB-STATUS:429 please")
    turn = ended(driven, "STUB-STATUS:429 please")
    assert (turn["outcome"], turn["failure"]) == ("failed", "usage_limit")
    wait_activity(driven, "usage_limit")


def test_another_conversation_and_a_death_in_a_turn(driven: DrivenCli) -> None:
    daemon = driven.daemon
    driven.declare()
    first = wait_activity(driven, "idle")
    ask(driven, "before clear")
    ended(driven, "before clear")
    agentctl(driven, "send", "agent", "/clear")
    daemon.wait_for(
        lambda: daemon.agents()["agent"]["conversation"] != first["conversation"], DEADLINE, what="it is another one"
    )
    ask(driven, "after clear")
    assert ended(driven, "after clear")["text"] == "STUB-REPLY: after clear"
    wait_activity(driven, "idle")

    ask(driven, "STUB-SLEEP:61")
    pid = daemon.agents()["agent"]["pid"]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    daemon.wait_state("agent", "failed", timeout=DEADLINE)
    wait_outcomes(driven, "completed", "completed", "lost")


def test_without_hooks_dialogs_are_answered_by_their_keys(driven: DrivenCli) -> None:
    daemon = driven.daemon
    driven.declare(args=["--settings", "{}"])
    wait_activity(driven, "idle")

    def answered(message: str, activity: str, answer: str, outcome: str) -> None:
        ask(driven, message)
        wait_activity(driven, activity)
        agentctl(driven, "answer", "agent", answer)
        turn = ended(driven, message)
        assert turn["outcome"] == outcome
        assert view(driven)["requests"] == []

    def writes(name: str) -> str:
        return f"STUB-BASH:echo {name} > {daemon.workdir}/{name}"

    answered(writes("allowed"), "waiting_permission", "allow", "completed")
    answered(writes("denied"), "waiting_permission", "deny", "interrupted")
    answered(ASK, "waiting_input", "Blue", "completed")
    answered(f"again {ASK}", "waiting_input", "deny", "interrupted")
    assert [each.name for each in daemon.workdir.iterdir()] == ["allowed"]
    events = daemon.get("/v1/events")
    assert isinstance(events, list)
    decided = [event["data"]["decision"] for event in events if event["kind"] == "turn_permission_resolved"]
    assert decided == ["allow", "deny", "answer", "deny"]

    ask(driven, writes("at-terminal"))
    wait_activity(driven, "waiting_permission")
    daemon.wait_for(lambda: view(driven)["requests"], DEADLINE, what="what it asks is told")
    agentctl(driven, "keys", "agent", "1")
    assert ended(driven, writes("at-terminal"))["outcome"] == "completed"
