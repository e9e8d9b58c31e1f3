"""The life of an agent that does not go on: something is tried, it is launched again, it goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentd.model.spec import Policy
from agentd.model.stall import Stall, StallAction, StallPhase
from agentd.model.states import Activity, AgentState
from agentd.supervise import stall_steps
from agentd.supervise import transitions as lives
from agentd.supervise.life import InterruptTurn, Life, ReapRun, ReportStopped, StopReason
from agentd.supervise.record import Description, Record
from agentd.supervise.run_watcher import Told, WatchedRun
from agentd.supervise.stall_changes import stall_events
from agentd.supervise.stall_standing import Standing, standing_of
from agentd.supervise.stalls import Seen, Silence
from tests.supervise.lives import SUCCESS, WALL, Story, at, declared, running

ALL = Stall(10.0, 30.0, tuple(StallAction))
POLICY = Policy(stall=ALL)
MODEL, TOOL = StallPhase.MODEL, StallPhase.TOOL


def look(story: Story, now: float, lasts: float, *, went_on: bool = False) -> Story:
    silence = Silence(Seen(story.run_id, now, MODEL), now - lasts)
    return story.tell(stall_steps.seen(story.life, silence, at(now, run_id=f"at {now:g}"), went_on=went_on))


def ended(story: Story, now: float) -> Story:
    """It ends as it is told, and nothing of it is left."""
    return story.exited(now, SUCCESS)


def recorded(life: Life) -> Life:
    """What a later daemon reads."""
    return Record.parse(Record.of(life, Description("custom", "native", "a", "/")).dump()).life(session_open=True)


def test_nothing_is_tried_before_its_time_and_everything_once_then() -> None:
    story = look(running(POLICY), 20, 9.9)
    assert (story.life.stalled, story.effects) == (None, ())
    story = look(story, 20, 10)
    assert story.effects == (InterruptTurn(story.run_id),)
    assert story.life.stalled is not None
    assert (story.life.stalled.since, story.life.stalled.taken) == (WALL + 10, 1)
    story = look(story, 31, 11)
    assert story.state is AgentState.STOPPING
    assert story.life.stop is not None
    assert story.life.stop.reason is StopReason.STALLED
    assert story.life.stop.error == "it did not go on: no word of its model for 11s"


@pytest.mark.parametrize(("action", "resume"), [(StallAction.RESUME, True), (StallAction.RESTART, False)])
def test_it_is_launched_again_with_its_conversation_or_without(action: StallAction, resume: bool) -> None:
    story = look(running(Policy(stall=replace(ALL, action=(action, StallAction.NOTIFY)))), 20, 10)
    story = ended(story, 21)
    assert (story.state, story.life.restarts) == (AgentState.STARTING, 1)
    assert story.life.run is not None
    assert story.life.run.resume is resume
    # What was tried is, until the next run goes on.
    assert story.life.stalled is not None
    story = story.opened(22).started(23)
    assert story.life.run is not None
    assert story.life.run.resume is resume
    story = look(story, 40, 15)
    assert story.life.stalled is not None
    assert (story.state, story.life.stalled.action) == (AgentState.RUNNING, "notify")
    assert look(story, 41, 0, went_on=True).life.stalled is None


@pytest.mark.parametrize("action", [StallAction.RESUME, StallAction.RESTART])
def test_one_that_goes_on_is_told_so_and_its_rest_before_its_first_turn_is_no_progress(action: StallAction) -> None:
    story = look(running(Policy(stall=replace(ALL, action=(action, StallAction.NOTIFY)))), 20, 10)
    assert not stall_steps.resumed(story.life)
    story = ended(story, 21).opened(22).started(23)
    goes_on = action is StallAction.RESUME
    assert stall_steps.resumed(story.life) is goes_on
    assert stall_steps.resumed(recorded(story.life)) is goes_on
    rests = Silence(Seen(story.run_id, 24, None, rests=True), 24)
    rested = story.tell(stall_steps.seen(story.life, rests, at(24), went_on=True))
    assert (rested.life.stalled is not None) is goes_on
    if goes_on:
        # Once a turn has ended it has gone on.
        rests = Silence(Seen(story.run_id, 41, None, rests=True, recorded=40.5), 41)
        assert stall_steps.seen(rested.life, rests, at(41), went_on=True)[0].stalled is None
        # If that turn does not go on either, the next action follows.
        story = look(rested, 40, 10)
        assert story.life.stalled is not None
        assert (story.life.stalled.taken, story.life.stalled.action) == (2, "notify")


def test_it_is_launched_again_no_more_often_than_max_restarts() -> None:
    policy = Policy(max_restarts=1, stall=replace(ALL, action=(StallAction.RESTART,)))
    story = ended(look(running(policy), 20, 10), 21).opened(22).started(23)
    story = look(story, 24, 0, went_on=True)
    story = ended(look(story, 40, 10), 41)
    assert story.state is AgentState.FAILED
    error = "it did not go on: no word of its model for 10s; it was restarted 1 times already, max_restarts"
    assert story.life.error == error


def test_a_change_meanwhile_is_launched_instead() -> None:
    story = look(running(Policy(stall=replace(ALL, action=(StallAction.RESTART,)))), 20, 10)
    story = ended(story.define(20.5, POLICY, "second"), 21)
    assert (story.state, story.life.restarts, story.life.stalled) == (AgentState.STARTING, 0, None)


def test_a_later_daemon_tries_nothing_twice_and_ends_what_was_begun() -> None:
    story = look(running(POLICY), 20, 10)
    assert recorded(story.life).stalled == story.life.stalled
    story = look(story, 31, 11)
    life = recorded(story.life)
    assert life.stalled is not None
    assert (life.stalled.taken, life.stalled.action) == (2, "resume")
    # It had asked the agent to end, which it has by now.
    life, _ = lives.define(life, declared(POLICY), at(40))
    assert life.run is not None
    life, _ = lives.started(replace(life, run=replace(life.run, launched=40.0)), story.run_id, 7, at(40))
    life, effects = lives.exited(life, story.run_id, SUCCESS, at(41))
    assert effects == (ReapRun(), ReportStopped())
    life, _ = lives.stopped(life, at(42, run_id="again"))
    assert life.state is AgentState.STARTING
    assert life.run is not None
    assert life.run.resume is True


def test_each_try_is_one_event_and_without_stall_nothing_stays() -> None:
    story = running(POLICY)
    before = story.life
    story = look(story, 20, 10)
    (event,) = stall_events(before, story.life)
    assert (event.kind, event.reason) == ("stalled", "no word of its model for 10s")
    assert (event.data["stall_action"], event.data["tried"], event.data["phase"]) == ("interrupt", 1, "model")
    before = story.life
    assert list(stall_events(before, look(story, 22, 5).life)) == []
    story = story.define(23, Policy())
    assert look(story, 24, 14).life.stalled is None


def test_looks_at_another_run_or_one_that_is_being_stopped_are_passed_over() -> None:
    story = running(POLICY)
    silence = Silence(Seen("other", 99, MODEL), 0)
    assert stall_steps.seen(story.life, silence, at(99), went_on=False) == (story.life, ())
    stopping = story.withdraw(5)
    assert look(stopping, 99, 99).life == stopping.life


def shown(activity: Activity, source: str = "hooks", *, background: bool = False) -> WatchedRun:
    return WatchedRun(activity, 0.0, source, None, None, background=background)


WORKS = shown(Activity.WORKING)
QUIET, BUSY = Told(1.0, ()), Told(1.0, ("Bash",))
WHOLE = Standing(TOOL, output=True, cpu=True, whole=True)


@pytest.mark.parametrize(
    ("harness", "run", "told", "standing"),
    [
        ("claude-code", WORKS, QUIET, Standing(MODEL)),
        ("claude-code", WORKS, BUSY, Standing(TOOL, cpu=True, tools=("Bash",))),
        # Of tools that were begun before agentd nothing is known.
        ("claude-code", WORKS, None, Standing(TOOL, cpu=True)),
        ("codex", shown(Activity.WORKING, "process"), QUIET, WHOLE),
        ("codex", shown(Activity.WORKING, "screen"), None, Standing()),
        # It does not tell a tool before that has run.
        ("gemini-cli", shown(Activity.WORKING, "screen"), QUIET, Standing(TOOL, cpu=True)),
        ("codex", shown(Activity.UNKNOWN, "process"), None, Standing()),
        ("codex", None, None, Standing()),
        ("custom", WORKS, QUIET, Standing(MODEL, output=True)),
        ("custom", WORKS, BUSY, Standing(TOOL, output=True, cpu=True, tools=("Bash",))),
        ("custom", shown(Activity.UNKNOWN, "process"), None, WHOLE),
        ("custom", None, None, WHOLE),
        ("claude-code", shown(Activity.WORKING, background=True), QUIET, Standing(rests=True)),
        *(
            ("claude-code", shown(each), BUSY, Standing(rests=True))
            for each in set(Activity) - {Activity.WORKING, Activity.UNKNOWN}
        ),
    ],
)
def test_whose_move_it_is_says_what_counts(
    harness: str, run: WatchedRun | None, told: Told | None, standing: Standing
) -> None:
    assert standing_of(harness, run, told) == standing
