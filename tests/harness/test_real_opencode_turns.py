"""A scripted conversation with the real OpenCode, told turn by turn by its own server."""

from __future__ import annotations

import json
import socket

import pytest

from tests.daemon.test_turns import post
from tests.harness.driven import DEADLINE, REAL, DrivenCli, agentctl
from tests.harness.real_clis import REAL_CLIS, RealCli
from tests.harness.test_real_turns import ask, ended, turns, view, wait_activity

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


def test_a_server_that_the_user_has_set_up_is_followed(driven: DrivenCli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
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
