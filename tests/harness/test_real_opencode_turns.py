"""A scripted conversation with the real OpenCode, told turn by turn by its own server."""

from __future__ import annotations

import socket

import pytest

from tests.daemon.test_turns import post
from tests.harness.driven import DEADLINE, REAL, DrivenCli, agentctl
from tests.harness.real_clis import REAL_CLIS, RealCli
from tests.harness.test_real_turns import ask, ended, wait_activity

pytestmark = REAL

OPENCODE = next(cli for cli in REAL_CLIS if cli.harness == "opencode")


@pytest.fixture
def cli() -> RealCli:
    if not OPENCODE.package.installed:
        pytest.skip("opencode is not installed; run tests/harness/install-clis opencode")
    return OPENCODE


def wait_heard(driven: DrivenCli) -> None:
    """Wait until its server says that it is idle; its screen may show that a second before."""
    wait_activity(driven, "idle")
    agents = driven.daemon.agents
    driven.daemon.wait_for(
        lambda: agents()["agent"]["activity_source"] == "server", DEADLINE, what="its server is heard"
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
