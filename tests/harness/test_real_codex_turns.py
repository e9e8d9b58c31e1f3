"""A scripted conversation with the real Codex, told turn by turn by its own record."""

from __future__ import annotations

import os
import signal

import pytest

from tests.daemon.test_turns import post
from tests.harness.driven import DEADLINE, REAL, DrivenCli, agentctl
from tests.harness.real_clis import REAL_CLIS, RealCli
from tests.harness.test_real_messages import message_of, send, wait_status
from tests.harness.test_real_turns import ask, ended, turns, view, wait_activity, wait_outcomes

pytestmark = REAL

CODEX = next(cli for cli in REAL_CLIS if cli.harness == "codex")


@pytest.fixture
def cli() -> RealCli:
    if not CODEX.package.installed:
        pytest.skip("codex is not installed; run tests/harness/install-clis codex")
    return CODEX


def wait_outcome(driven: DrivenCli, prompt: str) -> tuple[object, object, object]:
    turn = ended(driven, prompt)
    return turn["outcome"], turn["text"], turn["failure"]


@pytest.mark.parametrize("record", ["app-server", "rollout"])
def test_a_day_is_told_turn_by_turn(driven: DrivenCli, record: str) -> None:
    daemon = driven.daemon
    # A folder more is what the terminal program takes without a server of its own alone.
    local = ["--add-dir", str(daemon.home)] if record == "rollout" else []
    driven.declare(args=["-a", "on-request", *local])
    wait_activity(driven, "idle")

    ask(driven, "hello there")
    assert wait_outcome(driven, "hello there") == ("completed", "STUB-REPLY: hello there", None)
    first = wait_activity(driven, "idle")
    assert first["activity_source"] == record
    assert first["conversation"] is not None
    daemon.wait_for(lambda: turns(driven, "turn_usage") == 1, DEADLINE, what="its usage is told")

    wanted = daemon.workdir / "allowed"
    asked = (
        f'STUB-TOOL:exec_command {{"cmd":"touch {wanted}","sandbox_permissions":"require_escalated",'
        '"justification":"May I touch it?"}'
    )
    ask(driven, asked)
    waiting = wait_activity(driven, "waiting_permission")
    assert waiting["activity_source"] == ("screen" if record == "rollout" else record)
    daemon.wait_for(lambda: view(driven)["requests"], DEADLINE, what="it can be answered")
    assert post(daemon, "/v1/turns/agent/answer", {"decision": "allow"})[0] == 200
    assert wait_outcome(driven, asked) == ("completed", f"STUB-REPLY: {asked}", None)
    assert wanted.exists()
    wait_activity(driven, "idle")

    ask(driven, "STUB-SLEEP:60")
    assert wait_activity(driven, "working")["activity_source"] == record
    assert post(daemon, "/v1/turns/agent/interrupt")[0] == 200
    assert wait_outcome(driven, "STUB-SLEEP:60") == ("interrupted", None, None)

    ask(driven, "STUB-STATUS:401 please")
    assert wait_outcome(driven, "STUB-STATUS:401 please") == ("failed", None, "auth_error")
    wait_activity(driven, "auth_error")

    agentctl(driven, "send", "agent", "/new")
    ask(driven, "after new")
    assert wait_outcome(driven, "after new") == ("completed", "STUB-REPLY: after new", None)
    assert wait_activity(driven, "idle")["conversation"] not in (None, first["conversation"])

    ask(driven, "STUB-SLEEP:61")
    pid = daemon.agents()["agent"]["pid"]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    daemon.wait_state("agent", "failed", timeout=DEADLINE)
    wait_outcomes(driven, "completed", "completed", "interrupted", "failed", "completed", "lost")


def test_a_conversation_survives_a_death_in_a_turn(driven: DrivenCli) -> None:
    daemon = driven.daemon
    driven.declare(restart="always", resume=True)
    wait_activity(driven, "idle")
    ask(driven, "remember this")
    ended(driven, "remember this")
    first = wait_activity(driven, "idle")
    ask(driven, "STUB-SLEEP:60")
    assert first["pid"] is not None
    os.kill(first["pid"], signal.SIGKILL)
    daemon.wait_for(lambda: turns(driven, "turn_ended") == 2, DEADLINE, what="the turn is lost")
    daemon.wait_for(lambda: daemon.agents()["agent"]["pid"] not in (None, first["pid"]), DEADLINE, what="it runs again")
    assert wait_activity(driven, "idle")["activity_source"] == "app-server"
    driven.wait_on_screen("remember this")

    ask(driven, "and now")
    assert wait_outcome(driven, "and now") == ("completed", "STUB-REPLY: and now", None)
    assert wait_activity(driven, "idle")["conversation"] == first["conversation"]
    assert turns(driven, "turn_started") == 3


@pytest.mark.parametrize("hidden", [True, False])
def test_the_offer_of_another_model_is_kept_from_opening_or_seen(driven: DrivenCli, hidden: bool) -> None:
    # Without a server of its own, as messages are typed below the dialog then.
    shows = [] if hidden else ["-c", "notice.hide_rate_limit_model_nudge=false"]
    driven.declare(args=["--add-dir", str(driven.daemon.home), *shows])
    wait_activity(driven, "idle")
    ask(driven, "STUB-LIMIT:1 please")
    assert ended(driven, "STUB-LIMIT:1 please")["failure"] == "usage_limit"
    if hidden:
        ask(driven, "and now?")
        assert wait_outcome(driven, "and now?") == ("completed", "STUB-REPLY: and now?", None)
        assert "Approaching rate limits" not in driven.daemon.screen("agent", history=True)
    else:
        driven.wait_on_screen("Approaching rate limits")
        send(driven, "m1", "and now?")
        driven.daemon.wait_for(lambda: message_of(driven, "m1")["error"], DEADLINE, what="it is held back")
        driven.daemon.tmux("send-keys", "-t", "=agent:", "Escape")
        assert wait_status(driven, "m1", "ended")["final_text"] == "STUB-REPLY: and now?"
