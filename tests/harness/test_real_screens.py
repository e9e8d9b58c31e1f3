"""That the rules for screens hold for the real CLIs as they are installed, live and through tmux."""

from __future__ import annotations

import pytest

from agentd.model.states import Activity
from agentd.turns.screen.judging import Judgement, judge_screen
from tests.harness.driven import DEADLINE, REAL, DrivenCli
from tests.support.waiting import wait_for

pytestmark = REAL

ASKS_BY_DEFAULT = ("claude-code", "gemini-cli")
"""Before they run a command."""


def judged(driven: DrivenCli) -> Judgement:
    """Judge what the agent's pane shows by the rules alone."""
    if "agent" not in driven.daemon.sessions():
        return Judgement()
    ansi = driven.daemon.tmux("capture-pane", "-e", "-p", "-t", "=agent:")
    return judge_screen(driven.cli.harness, ansi, driven.daemon.tmux("display", "-p", "-t", "=agent:", "#{pane_title}"))


def _wait_for(driven: DrivenCli, activity: Activity) -> None:
    wait_for(
        lambda: judged(driven).activity is activity,
        DEADLINE,
        what=f"the screen shows {activity}",
        explain=lambda: f"{judged(driven)}\n{driven.daemon.screen('agent')}",
    )


def test_the_screen_tells_a_turn_from_its_end(driven: DrivenCli) -> None:
    # Given at the launch: gemini loses an Enter that comes as soon as its box is there.
    driven.declare(prompt="STUB-SLEEP:4\nlook at it", mode="interactive")
    _wait_for(driven, Activity.WORKING)
    _wait_for(driven, Activity.IDLE)


def test_the_screen_tells_that_it_asks(driven: DrivenCli) -> None:
    if driven.cli.harness not in ASKS_BY_DEFAULT:
        pytest.skip("it runs commands unasked")
    driven.declare(prompt="STUB-BASH:mkdir asked-first", mode="interactive")
    _wait_for(driven, Activity.WAITING_PERMISSION)
    assert "mkdir asked-first" in (judged(driven).text or "")
