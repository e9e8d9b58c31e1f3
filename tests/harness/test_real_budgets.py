"""The real Claude Code held to a budget of money, which its status line tells of."""

from __future__ import annotations

from typing import cast

import pytest

from tests.harness.conftest import installed
from tests.harness.driven import DEADLINE, REAL, DrivenCli, output_of
from tests.harness.real_clis import REAL_CLIS
from tests.harness.test_real_turns import wait_activity

pytestmark = REAL

_CLAUDE = next(cli for cli in REAL_CLIS if cli.harness == "claude-code")


@pytest.mark.parametrize("cli", [installed(_CLAUDE, _CLAUDE.package.version)], indirect=True)
def test_no_turn_begins_once_its_status_line_says_that_its_money_is_used_up(driven: DrivenCli) -> None:
    driven.declare(budget={"usd": "0.000001"})
    wait_activity(driven, "idle")
    output_of(driven, "ask", f"--timeout={DEADLINE / 2:g}s", "agent", "hello")
    output_of(driven, "send", "agent", "once more", "--expires", "10m")

    def told() -> list[dict[str, dict[str, object]]]:
        return cast("list[dict[str, dict[str, object]]]", driven.daemon.get("/v1/events?kind=budget_breached"))

    (event,) = driven.daemon.wait_for(told, DEADLINE, what="its money is used up")
    assert event["data"]["budget_source"] == "claude-code's status line"

    def waits() -> bool:
        return "its budget is used up" in output_of(driven, "mailbox", "agent", "--json")

    driven.daemon.wait_for(waits, DEADLINE, what="the next message waits")
    status = driven.daemon.agents()["agent"]["budget"]
    assert status is not None
    assert status["breached"]
    (bound,) = status["bounds"]
    assert bound["used"]
    assert bound["told_at"]
