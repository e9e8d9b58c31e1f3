"""Quota windows as the real CLIs tell them, and a spawn that is refused by them until they reset."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import datetime
from typing import cast

import pytest

from tests.harness.clis import NEWER_CLAUDE
from tests.harness.conftest import installed
from tests.harness.driven import DEADLINE, REAL, DrivenCli, output_of
from tests.harness.real_clis import REAL_CLIS, RealCli
from tests.harness.test_real_turns import wait_activity
from tests.harness.test_real_usage_limits import as_subscriber
from tests.harness.test_real_workers import asked_to

pytestmark = REAL

SOURCES = {"claude-code": "status line", "codex": "app-server"}
"""Who says how much of the quota is used, by harness; the others do not."""

OVER = 3600

OF_CLAUDE = "--provider claude-code"


@pytest.fixture(params=[installed(cli, cli.harness) for cli in REAL_CLIS if cli.harness in SOURCES])
def cli(request: pytest.FixtureRequest) -> RealCli:
    assert isinstance(request.param, RealCli)
    return request.param


def test_a_spawn_is_refused_until_the_quota_resets_that_the_cli_told_of(driven: DrivenCli) -> None:
    driven, more = as_subscriber(driven)
    if driven.cli.harness == "claude-code":
        own = {"statusLine": {"type": "command", "command": "echo a line of the user"}}
        (driven.daemon.home / ".claude/settings.json").write_text(
            json.dumps({"skipDangerousModePermissionPrompt": True, **own})
        )
    driven.declare(**more)
    wait_activity(driven, "idle")
    sent = time.time()
    output_of(driven, "ask", f"--timeout={DEADLINE / 2:g}s", "agent", f"STUB-QUOTA:94 {OVER}")

    def told() -> list[dict[str, object]] | None:
        usage = asked_to(driven, f"usage --provider {driven.cli.harness}")["providers"]
        return cast("list[dict[str, list[dict[str, object]]]]", usage)[0]["windows"] or None

    windows = driven.daemon.wait_for(told, DEADLINE, what="the windows are told")
    assert [(each["kind"], each["used_percent"], each["remaining_percent"]) for each in windows] == [
        ("5h", 94, 6),
        ("weekly", 47, 53),
    ]
    for each in windows:
        assert sent + OVER - 1 < datetime.fromisoformat(str(each["reset_at"])).timestamp() < time.time() + OVER + 2
        assert (each["source"], each["confidence"]) == (SOURCES[driven.cli.harness], "observed")
    if driven.cli.harness == "claude-code":
        driven.wait_on_screen("a line of the user")
        assert_cost_told(driven)

    spawn = ["spawn", "--provider", driven.cli.harness, "--task", "x", "--repo", str(driven.daemon.workdir), "--json"]
    refused = json.loads(output_of(driven, *spawn, status=1))["error"]
    assert (refused["code"], refused["details"]["policy"]) == ("policy", "min_remaining_percent")
    assert refused["details"]["until"] == windows[0]["reset_at"]
    assert str(windows[0]["reset_at"]) in refused["message"]


def assert_cost_told(driven: DrivenCli) -> None:
    def cost() -> dict[str, object] | None:
        (account,) = cast("list[dict[str, dict[str, object]]]", asked_to(driven, f"usage {OF_CLAUDE}")["providers"])
        return account["cost"] if account["cost"]["usd"] else None

    told = driven.daemon.wait_for(cost, DEADLINE, what="the cost is told")
    assert (told["source"], told["confidence"]) == ("claude-code's status line", "exact")


_CLAUDE = next(cli for cli in REAL_CLIS if cli.harness == "claude-code")


@pytest.mark.parametrize(
    "cli",
    [installed(replace(_CLAUDE, package=each), each.version) for each in (_CLAUDE.package, NEWER_CLAUDE)],
    indirect=True,
)
def test_with_an_api_key_the_cost_is_told_and_no_quota(driven: DrivenCli) -> None:
    driven.declare()
    wait_activity(driven, "idle")
    output_of(driven, "ask", f"--timeout={DEADLINE / 2:g}s", "agent", "hello")
    assert_cost_told(driven)
    (account,) = cast("list[dict[str, object]]", asked_to(driven, f"usage {OF_CLAUDE}")["providers"])
    assert account["windows"] == []
