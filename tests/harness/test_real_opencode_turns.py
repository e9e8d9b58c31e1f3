"""A scripted conversation with the real OpenCode, told turn by turn by its own server."""

from __future__ import annotations

import json

import pytest

from tests.daemon.test_turns import post
from tests.harness.driven import DEADLINE, REAL, DrivenCli, agentctl
from tests.harness.real_clis import REAL_CLIS, RealCli
from tests.harness.stub_dialects import INPUT_TOKENS, OUTPUT_TOKENS
from tests.harness.test_real_turns import ask, ended, turns, view, wait_activity
from tests.support.ports import a_port

pytestmark = REAL

OPENCODE = next(cli for cli in REAL_CLIS if cli.harness == "opencode")


@pytest.fixture
def cli() -> RealCli:
    if not OPENCODE.package.installed:
        pytest.skip("opencode is not installed; run tests/harness/install-clis opencode")
    return OPENCODE


ASKS = {"permission": {"bash": "ask"}}


def wait_heard(driven: DrivenCli, witness: str = "server") -> None:
    """Wait until its server says that it is idle; its screen may show that a second before."""
    wait_activity(driven, "idle")
    agents = driven.daemon.agents
    driven.daemon.wait_for(
        lambda: agents()["agent"]["activity_source"] == witness, DEADLINE, what=f"its {witness} is heard"
    )


def test_messages_permissions_and_an_interrupt(driven: DrivenCli) -> None:
    daemon = driven.daemon
    driven.declare()
    wait_heard(driven)
    ask(driven, "hello there")
    turn = ended(driven, "hello there")
    assert (turn["outcome"], turn["text"]) == ("completed", "STUB-REPLY: hello there")
    assert wait_activity(driven, "idle")["conversation"] is not None

    ask(driven, "STUB-SLEEP:60")
    wait_activity(driven, "working")
    assert post(daemon, "/v1/turns/agent/interrupt")[0] == 200
    assert ended(driven, "STUB-SLEEP:60")["outcome"] == "interrupted"
    agentctl(driven, "ask", "agent", "once more")


@pytest.mark.parametrize("args", [[], ["--hostname", "127.0.0.2"]])
def test_a_turn_that_a_person_began_is_told_whole_by_a_later_agentd(driven: DrivenCli, args: list[str]) -> None:
    daemon = driven.daemon
    asks = {"OPENCODE_CONFIG_CONTENT": json.dumps(json.loads(driven.env["OPENCODE_CONFIG_CONTENT"]) | ASKS)}
    driven.declare(args=args, env={**driven.env, **asks})
    wait_heard(driven, "plugin" if args else "server")
    # Before its first turn it may not take what is typed yet.
    ask(driven, "hello there")
    ended(driven, "hello there")
    typed = f"STUB-BASH:echo yes > {daemon.workdir}/allowed"
    daemon.tmux("send-keys", "-t", "=agent:", "-l", typed)
    driven.wait_on_screen("STUB-BASH")
    pressed = 0

    def asked() -> bool:
        nonlocal pressed
        pressed += 1
        if pressed % 60 == 1:
            # A loaded program takes the first for a part of what was typed.
            daemon.tmux("send-keys", "-t", "=agent:", "Enter")
        return daemon.agents()["agent"]["activity"] == "waiting_permission"

    daemon.wait_for(asked, DEADLINE, what="it asks")
    daemon.kill()
    daemon.start()
    daemon.wait_for(lambda: view(driven)["requests"], DEADLINE, what="what it asks is told")
    assert post(daemon, "/v1/turns/agent/answer", {"decision": "allow"})[0] == 200
    turn = ended(driven, typed)
    assert (turn["outcome"], turn["text"]) == ("completed", f"STUB-REPLY: {typed}")

    def used() -> list[object]:
        last = view(driven)["last"]
        assert isinstance(last, dict)
        usage = last["usage"] or {}
        return [usage.get("input_tokens"), usage.get("output_tokens")]

    daemon.wait_for(lambda: used() == [2 * INPUT_TOKENS, 2 * OUTPUT_TOKENS], DEADLINE, what="what it used is told")


def test_a_server_that_the_user_has_set_up_is_followed(driven: DrivenCli) -> None:
    with a_port() as port:
        driven.declare(args=["--port", str(port)])
        assert wait_activity(driven, "idle")["activity_source"] in ("server", "screen")
        ask(driven, "hello there")
        turn = ended(driven, "hello there")
        assert (turn["outcome"], turn["text"]) == ("completed", "STUB-REPLY: hello there")
        wait_heard(driven)


# -- by the plugin

ELSEWHERE = ["--hostname", "127.0.0.2"]
"""A server that agentd does not follow."""


def test_where_the_server_cannot_be_followed_a_plugin_tells(driven: DrivenCli) -> None:
    daemon = driven.daemon
    asks = {"OPENCODE_CONFIG_CONTENT": json.dumps(json.loads(driven.env["OPENCODE_CONFIG_CONTENT"]) | ASKS)}
    driven.declare(args=ELSEWHERE, env={**driven.env, **asks})
    wait_heard(driven, "plugin")
    assert view(driven)["granularity"] == "token"
    ask(driven, "hello there")
    turn = ended(driven, "hello there")
    assert (turn["outcome"], turn["text"]) == ("completed", "STUB-REPLY: hello there")

    allowed = f"STUB-BASH:env > {daemon.workdir}/allowed"
    ask(driven, allowed)
    assert "/allowed" in str(wait_activity(driven, "waiting_permission")["activity_text"])
    assert post(daemon, "/v1/turns/agent/answer", {"decision": "allow"})[0] == 200
    turn = ended(driven, allowed)
    assert (turn["outcome"], turn["text"]) == ("completed", f"STUB-REPLY: {allowed}")
    daemon.wait_for(lambda: turns(driven, "turn_usage") == 2, DEADLINE, what="its usage is told")

    ask(driven, "STUB-SLEEP:60")
    wait_activity(driven, "working")
    assert post(daemon, "/v1/turns/agent/interrupt")[0] == 200
    assert ended(driven, "STUB-SLEEP:60")["outcome"] == "interrupted"
    assert wait_activity(driven, "idle")["activity_source"] == "plugin"


def test_the_plugin_tells_a_later_agentd_what_a_former_one_missed(driven: DrivenCli) -> None:
    driven.declare(args=ELSEWHERE)
    wait_heard(driven, "plugin")
    prompt = "STUB-SLEEP:6 for long"
    ask(driven, prompt)
    wait_activity(driven, "working")
    driven.daemon.kill()
    driven.daemon.start()
    turn = ended(driven, prompt)
    assert (turn["outcome"], turn["text"]) == ("completed", f"STUB-REPLY: {prompt}")
    wait_heard(driven, "plugin")
    agentctl(driven, "ask", "agent", "once more")


def test_an_opencode_that_a_tool_starts_is_not_taken_for_the_agent(driven: DrivenCli) -> None:
    driven.declare(args=[*ELSEWHERE, "--auto"])
    wait_heard(driven, "plugin")
    inner = f"STUB-BASH:{driven.cli.package.binary} run inner"
    ask(driven, inner)
    turn = ended(driven, inner)
    assert (turn["outcome"], turn["text"]) == ("completed", f"STUB-REPLY: {inner}")
    assert turns(driven, "turn_started") == 1
    agentctl(driven, "ask", "agent", "once more")
    assert turns(driven, "turn_started") == 2
