"""The real agent CLIs in a sandbox, talked to as others are: a turn, a permission, an interrupt."""

from __future__ import annotations

import shutil

import pytest

from tests.daemon.test_turns import post
from tests.harness.driven import REAL, DrivenCli
from tests.harness.stub_model import REPLY
from tests.harness.test_real_gateway import asking, asks_to_write
from tests.harness.test_real_messages import send, wait_status
from tests.harness.test_real_sandboxed import driven
from tests.harness.test_real_turns import wait_activity

__all__ = ["driven"]

pytestmark = [*REAL, pytest.mark.skipif(shutil.which("bwrap") is None, reason="there is no sandbox without bubblewrap")]

SOURCES = {
    "claude-code": ("hooks", "status file"),
    "codex": ("app-server",),
    "opencode": ("server",),
    "gemini-cli": ("screen",),
}
"""Who tells of each, as of one without a sandbox."""


def test_turns_are_told_a_permission_is_given_and_an_interrupt_ends_a_turn(driven: DrivenCli) -> None:
    daemon = driven.daemon
    driven.declare(**asking(driven))
    send(driven, "m1", "hello there")
    first = wait_status(driven, "m1", "ended")
    assert (first["outcome"], first["final_text"]) == ("completed", f"{REPLY}hello there")
    assert daemon.agents()["agent"]["conversation"] is not None

    send(driven, "m2", asks_to_write(driven, "made"))
    wait_activity(driven, "waiting_permission")
    assert not (daemon.workdir / "made").exists()
    assert post(daemon, "/v1/turns/agent/answer", {"decision": "allow"})[0] == 200
    assert wait_status(driven, "m2", "ended")["outcome"] == "completed"
    assert (daemon.workdir / "made").read_text() == "yes\n"

    send(driven, "m3", "STUB-SLEEP:60")
    wait_status(driven, "m3", "started")
    assert post(daemon, "/v1/turns/agent/interrupt")[0] == 200
    assert wait_status(driven, "m3", "ended")["outcome"] == "interrupted"
    assert wait_activity(driven, "idle")["activity_source"] in SOURCES[driven.cli.harness]


def test_in_a_network_of_its_own_messages_are_taken_all_the_same(driven: DrivenCli) -> None:
    """The model is out of reach there: only that the turn has begun is waited for."""
    driven.declare(network="none")
    send(driven, "m1", "hello there")
    assert wait_status(driven, "m1", "started", "ended")["turn"]
