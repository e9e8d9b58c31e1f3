"""Scripted conversations with real agents by the Agent Client Protocol: Gemini CLI, and OpenCode as another one."""

from __future__ import annotations

import os
import signal

import pytest

from tests.daemon.test_turns import post
from tests.harness.driven import DEADLINE, REAL, DrivenCli, agentctl
from tests.harness.real_clis import REAL_CLIS, RealCli
from tests.harness.test_real_turns import ask, ended, turns, view, wait_activity

pytestmark = REAL

COMMANDS = {
    "gemini-cli": ["gemini", "--acp", "-m", "gemini-2.5-pro"],
    "opencode": ["opencode", "acp"],
}


@pytest.fixture(params=COMMANDS)
def cli(request: pytest.FixtureRequest) -> RealCli:
    found = next(cli for cli in REAL_CLIS if cli.harness == request.param)
    if not found.package.installed:
        pytest.skip(f"{found.harness} is not installed; run tests/harness/install-clis {found.harness}")
    return found


def declare(driven: DrivenCli, **fields: object) -> None:
    driven.declare(harness="acp", command=COMMANDS[driven.cli.harness], model="", **fields)


def answer(driven: DrivenCli, decision: str, text: str = "") -> None:
    given = {"decision": decision, "text": text}
    status, said = post(driven.daemon, "/v1/turns/agent/answer", given)
    assert status == 200, said


def test_messages_tools_permissions_errors_and_an_interrupt(driven: DrivenCli) -> None:
    daemon = driven.daemon
    if driven.cli.harness == "opencode":
        driven.env["OPENCODE_CONFIG_CONTENT"] = driven.env["OPENCODE_CONFIG_CONTENT"].replace(
            "{", '{"permission": {"bash": "ask"}, ', 1
        )
    declare(driven)
    first = wait_activity(driven, "idle")
    assert (first["conversation"] is not None, first["activity_source"]) == (True, "hooks")
    ask(driven, "hello there")
    turn = ended(driven, "hello there")
    assert (turn["outcome"], turn["text"]) == ("completed", "STUB-REPLY: hello there")
    assert turn["usage"] == {
        "input_tokens": 10,
        "output_tokens": 5,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "cost_usd": None,
    }
    driven.wait_on_screen("STUB-REPLY: hello there")

    allowed = f"STUB-BASH:echo yes > {daemon.workdir}/allowed"
    ask(driven, allowed)
    assert "echo yes" in str(wait_activity(driven, "waiting_permission")["activity_text"])
    answer(driven, "allow")
    turn = ended(driven, allowed)
    assert (turn["outcome"], turn["text"]) == ("completed", f"STUB-REPLY: {allowed}")
    assert (daemon.workdir / "allowed").read_text() == "yes\n"
    daemon.wait_for(lambda: turns(driven, "turn_tool_completed") == 1, DEADLINE, what="the tool has run")

    denied = f"STUB-BASH:echo no > {daemon.workdir}/denied"
    ask(driven, denied)
    wait_activity(driven, "waiting_permission")
    requests = view(driven)["requests"]
    assert isinstance(requests, list)
    answer(driven, "deny")
    assert ended(driven, denied)["outcome"] == "completed"
    assert not (daemon.workdir / "denied").exists()

    at_terminal = f"STUB-BASH:echo key > {daemon.workdir}/key"
    ask(driven, at_terminal)
    wait_activity(driven, "waiting_permission")
    # Gemini CLI offers "for this session" first.
    number = 1 + next(at for at, name in enumerate(requests[0]["choices"]) if name in ("Allow", "Allow once"))
    agentctl(driven, "keys", "agent", str(number), "Enter")
    assert ended(driven, at_terminal)["outcome"] == "completed"
    assert (daemon.workdir / "key").read_text() == "key\n"

    ask(driven, "STUB-STATUS:401 please")
    turn = ended(driven, "STUB-STATUS:401 please")
    assert (turn["outcome"], turn["failure"]) == ("failed", "auth_error")
    assert wait_activity(driven, "auth_error")

    ask(driven, "STUB-SLEEP:60")
    wait_activity(driven, "working")
    assert post(daemon, "/v1/turns/agent/interrupt")[0] == 200
    assert ended(driven, "STUB-SLEEP:60")["outcome"] == "interrupted"
    ask(driven, "STUB-SLEEP:61")
    agentctl(driven, "interrupt", "agent")
    assert ended(driven, "STUB-SLEEP:61")["outcome"] == "interrupted"


def test_a_conversation_goes_on_after_a_death_in_a_turn(driven: DrivenCli) -> None:
    daemon = driven.daemon
    declare(driven, restart="always", resume=True, restart_delay="1s")
    first = wait_activity(driven, "idle")
    ask(driven, "hello there")
    ended(driven, "hello there")
    ask(driven, "STUB-SLEEP:60")
    pid = daemon.agents()["agent"]["pid"]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    daemon.wait_for(lambda: daemon.agents()["agent"]["pid"] not in (pid, None), DEADLINE, what="the next run")
    assert wait_activity(driven, "idle")["conversation"] == first["conversation"]
    # What was said before is shown again.
    driven.wait_on_screen("STUB-REPLY: hello there")
    ask(driven, "once more")
    turn = ended(driven, "once more")
    assert (turn["outcome"], turn["text"]) == ("completed", "STUB-REPLY: once more")
    daemon.wait_for(
        lambda: outcomes(driven) == ["completed", "lost", "completed"], DEADLINE, what="all turns are in the journal"
    )


def outcomes(driven: DrivenCli) -> list[object]:
    events = driven.daemon.get("/v1/events")
    assert isinstance(events, list)
    return [event["data"]["outcome"] for event in events if event["kind"] == "turn_ended"]
