"""The real CLIs at their usage limit: when it resets, as they say it, and that they go on."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from tests.harness.driven import DEADLINE, KEY, REAL, DrivenCli, agentctl, asked
from tests.harness.real_clis import RealCli
from tests.harness.stub_model import StubModel
from tests.harness.test_real_turns import turns, view, wait_activity
from tests.support.daemon import UsageLimitJson

pytestmark = REAL

WAIT = {"action": "wait", "jitter": "0s"}
LIMIT = "STUB-LIMIT:{} please"
SECONDS = 20
"""Until the limit resets: on a loaded machine Gemini CLI takes ten to show its dialog."""
A_MINUTE = 61.0
"""Seconds at most by which a time to the minute is later than the reset."""


def as_subscriber(driven: DrivenCli) -> tuple[DrivenCli, dict[str, object]]:
    """Have Claude Code use a subscription, which has limits that reset; an API key has none that it tells of."""
    if driven.cli.harness != "claude-code":
        return driven, {}
    env = {**driven.env, "CLAUDE_CODE_OAUTH_TOKEN": KEY.replace("api", "oat01")}
    return replace(driven, env=env), {"secrets": []}


def at_limit(driven: DrivenCli, seconds: int, **fields: object) -> tuple[str, UsageLimitJson]:
    """Bring the agent to its limit."""
    driven, more = as_subscriber(driven)
    driven.declare(**more, **fields)
    wait_activity(driven, "idle")
    message = LIMIT.format(seconds)
    agentctl(driven, "send", "agent", message)

    def limit() -> UsageLimitJson | None:
        return driven.daemon.agents()["agent"]["usage_limit"]

    return message, driven.daemon.wait_for(limit, DEADLINE, what="it is at its usage limit")


def test_it_waits_for_the_reset_that_the_cli_reports_and_goes_on(
    driven: DrivenCli, cli: RealCli, model: StubModel
) -> None:
    message, limit = at_limit(driven, SECONDS, on_usage_limit=WAIT)
    first = next(turn for turn in model.turns if message in turn.prompt)
    assert limit["resets_at"] is not None, limit
    resets = datetime.fromisoformat(limit["resets_at"]).timestamp()
    assert first.at + SECONDS - 1 < resets < first.at + SECONDS + A_MINUTE
    assert limit["resume_at"] == (None if cli.harness == "opencode" else limit["resets_at"])
    agents = driven.daemon.agents

    def gone_on() -> bool:
        last = view(driven)["last"]
        return isinstance(last, dict) and last["outcome"] == "completed"

    driven.daemon.wait_for(gone_on, DEADLINE + A_MINUTE, what="it has gone on, and its turn has ended well")
    driven.daemon.wait_for(lambda: agents()["agent"]["usage_limit"] is None, DEADLINE, what="the limit is over")
    if cli.harness in ("claude-code", "codex"):
        assert asked(model, "continue")
    assert turns(driven, "limit_resumed") == (0 if cli.harness == "opencode" else 1)


def test_a_limit_stops_it(driven: DrivenCli) -> None:
    driven, more = as_subscriber(driven)
    driven.declare(**more, on_usage_limit="stop", restart="always")
    wait_activity(driven, "idle")
    agentctl(driven, "send", "agent", LIMIT.format(4000))
    agent = driven.daemon.wait_state("agent", "failed", timeout=DEADLINE)
    assert "stopped at its usage limit" in str(agent["error"])
