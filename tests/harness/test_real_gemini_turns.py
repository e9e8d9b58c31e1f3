"""A scripted conversation with the real Gemini CLI, told turn by turn by its session file and its screen."""

from __future__ import annotations

import os
import signal

import pytest

from tests.daemon.test_turns import post
from tests.harness.driven import DEADLINE, REAL, DrivenCli, agentctl
from tests.harness.real_clis import REAL_CLIS, RealCli
from tests.harness.test_real_turns import ask, ended, wait_activity, wait_outcomes

pytestmark = REAL

GEMINI = next(cli for cli in REAL_CLIS if cli.harness == "gemini-cli")


@pytest.fixture
def cli() -> RealCli:
    if not GEMINI.package.installed:
        pytest.skip("gemini-cli is not installed; run tests/harness/install-clis gemini-cli")
    return GEMINI


def test_messages_permissions_errors_and_an_interrupt(driven: DrivenCli) -> None:
    daemon = driven.daemon
    driven.declare()
    first = wait_activity(driven, "idle")
    assert first["conversation"] is not None
    ask(driven, "hello there")
    turn = ended(driven, "hello there")
    assert (turn["outcome"], turn["text"]) == ("completed", "STUB-REPLY: hello there")

    allowed = f"STUB-BASH:echo yes > {daemon.workdir}/allowed"
    ask(driven, allowed)
    assert "echo yes" in str(wait_activity(driven, "waiting_permission")["activity_text"])
    answer(driven, "allow")
    turn = ended(driven, allowed)
    assert (turn["outcome"], turn["text"]) == ("completed", f"STUB-REPLY: {allowed}")
    assert (daemon.workdir / "allowed").read_text() == "yes\n"

    denied = f"STUB-BASH:echo no > {daemon.workdir}/denied"
    ask(driven, denied)
    wait_activity(driven, "waiting_permission")
    answer(driven, "deny")
    assert ended(driven, denied)["outcome"] == "interrupted"
    assert not (daemon.workdir / "denied").exists()

    ask(driven, "STUB-STATUS:401 please")
    turn = ended(driven, "STUB-STATUS:401 please")
    assert (turn["outcome"], turn["failure"]) == ("failed", "auth_error")

    ask(driven, "STUB-SLEEP:60")
    wait_activity(driven, "working")
    assert post(daemon, "/v1/turns/agent/interrupt")[0] == 200
    assert ended(driven, "STUB-SLEEP:60")["outcome"] == "interrupted"

    # It gives the message back into the box.
    agentctl(driven, "keys", "agent", "C-u")
    agentctl(driven, "send", "agent", "/clear")
    daemon.wait_for(
        lambda: daemon.agents()["agent"]["conversation"] != first["conversation"], DEADLINE, what="it is another one"
    )
    ask(driven, "after clear")
    assert ended(driven, "after clear")["text"] == "STUB-REPLY: after clear"


def test_a_conversation_goes_on_after_a_death_in_a_turn(driven: DrivenCli) -> None:
    daemon = driven.daemon
    driven.declare(restart="always", resume=True)
    first = wait_activity(driven, "idle")
    ask(driven, "hello there")
    ended(driven, "hello there")
    ask(driven, "STUB-SLEEP:60")
    pid = daemon.agents()["agent"]["pid"]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    daemon.wait_for(lambda: daemon.agents()["agent"]["pid"] not in (pid, None), DEADLINE, what="the next run")
    assert wait_activity(driven, "idle")["conversation"] == first["conversation"]
    ask(driven, "once more")
    turn = ended(driven, "once more")
    assert (turn["outcome"], turn["text"]) == ("completed", "STUB-REPLY: once more")
    wait_outcomes(driven, "completed", "lost", "completed")


def answer(driven: DrivenCli, decision: str) -> None:
    """Answer as soon as the request is known, a moment after the dialog shows."""
    driven.daemon.wait_for(
        lambda: post(driven.daemon, "/v1/turns/agent/answer", {"decision": decision})[0] == 200,
        DEADLINE,
        what="the request is answered",
    )
