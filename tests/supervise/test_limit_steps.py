"""The life of an agent at its usage limit: hit, waiting, told to go on, over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agentd.model.events import Event
from agentd.model.spec import Policy
from agentd.model.states import Activity, AgentState
from agentd.model.usage_limits import LimitAction, UsageLimitPolicy
from agentd.supervise import limit_steps
from agentd.supervise import transitions as lives
from agentd.supervise.life import GoOn, Life, ReapRun, StopReason
from agentd.supervise.life_changes import limit_events
from agentd.supervise.plan import plan
from agentd.supervise.record import Description, Record
from agentd.supervise.usage_limits import AGAIN, LimitHit
from tests.supervise.lives import ALWAYS, NO, SUCCESS, WALL, Story, at, declared, running

WAIT = Policy(on_usage_limit=UsageLimitPolicy(LimitAction.WAIT, jitter=0.0, max_resumes=2))
STOP = replace(ALWAYS, on_usage_limit=UsageLimitPolicy(LimitAction.STOP))
NOTIFY = Policy(on_usage_limit=UsageLimitPolicy(LimitAction.NOTIFY))


def hit(now: float, resets: float | None) -> LimitHit:
    return LimitHit(WALL + now, None if resets is None else WALL + resets, "hooks", "You've hit your session limit")


def sees(story: Story, now: float, activity: Activity, limit: LimitHit | None = None) -> Story:
    return story.tell(limit_steps.observed(story.life, story.run_id, activity, limit, at(now)))


def at_limit(policy: Policy = WAIT, now: float = 10, resets: float | None = 1000) -> Story:
    return sees(running(policy), now, Activity.USAGE_LIMIT, hit(now, resets))


def waits(story: Story) -> tuple[float | None, str | None]:
    assert story.life.limited is not None
    return story.life.limited.due, story.life.limited.why


def recorded(story: Story) -> Life:
    """What a later daemon reads."""
    return Record.parse(Record.of(story.life, Description("custom", "native", "a", "/")).dump()).life(session_open=True)


def told(story: Story) -> list[Event]:
    """The events of the last step, from a life that knew of nothing."""
    return list(limit_events(replace(story.life, limited=None), story.life))


def test_it_waits_until_the_limit_has_reset_and_is_told_to_go_on_once() -> None:
    story = at_limit()
    assert (story.state, story.effects) == (AgentState.RUNNING, ())
    assert story.life.limited is not None
    assert story.life.limited.due == WALL + 1000
    # It looks at the wall clock again and again, which may be set.
    assert story.wait() == 70
    assert story.tick(999.5).effects == ()
    assert story.wake() == (1000, (GoOn(story.run_id, 1),))
    assert lives.wake_at(story.life) is None
    assert [event.kind for event in told(story)] == ["limit_resumed"]


def test_a_wall_clock_that_was_set_forward_is_noticed_at_the_next_look() -> None:
    story = at_limit()
    moment = replace(at(70), wall=WALL + 5000)
    assert story.tell(lives.tick(story.life, moment)).effects == (GoOn(story.run_id, 1),)


def test_a_person_who_goes_on_before_it_cancels_the_wait() -> None:
    story = sees(at_limit(), 20, Activity.WORKING)
    assert story.life.limited is None
    assert lives.wake_at(story.life) is None


def test_what_it_went_on_by_itself_counts_until_a_turn_ends_well() -> None:
    story = at_limit()
    for resumes in (1, 2):
        story.tick(1000 * resumes)
        assert story.effects == (GoOn(story.run_id, resumes),)
        story = sees(story, 1000 * resumes + 1, Activity.WORKING)
        assert story.life.limited is not None
        assert (story.life.limited.hit, story.life.limited.resumes) == (None, resumes)
        story = sees(story, 1000 * resumes + 2, Activity.USAGE_LIMIT, hit(1000 * resumes + 2, 1000 * (resumes + 1)))
    assert story.life.limited is not None
    assert story.life.limited.due is None
    assert "max_resumes" in (story.life.limited.why or "")
    assert sees(story, 9000, Activity.IDLE).life.limited is None


def test_a_limit_that_it_hits_again_before_it_was_seen_to_go_on_is_another() -> None:
    story = at_limit().tick(1000)
    story = sees(story, 1001, Activity.USAGE_LIMIT, hit(1001, 2000))
    assert story.life.limited is not None
    assert (story.life.limited.due, story.life.limited.resumes) == (WALL + 2000, 1)


def test_what_may_not_have_been_told_when_agentd_was_killed_is_told_by_the_next_under_the_same_number() -> None:
    story = at_limit()
    (first,) = story.tick(1000).effects
    for _ in range(2):
        kept = recorded(story)
        assert kept.run is not None
        story = Story(replace(kept, run=replace(kept.run, launched=500.0))).started(1500)
        assert story.wait() == 0
        assert story.tick(1500).effects == (first,)
        assert story.life.limited is not None
        assert (story.life.limited.told, story.life.limited.resumes) == (True, 1)
    # It goes on: nothing is left to be told.
    sees(story, 2001, Activity.WORKING)
    left = recorded(story).limited
    assert left is not None
    assert (left.due, left.resumes) == (None, 1)


def test_a_later_word_on_a_limit_that_it_was_told_to_go_on_from_is_no_news() -> None:
    before = at_limit().tick(1000)
    after = sees(Story(before.life), 1001, Activity.USAGE_LIMIT, hit(10, 1003))
    assert after.effects == ()
    assert waits(after) == (None, "it was told to go on")
    assert list(limit_events(before.life, after.life)) == []


def test_what_is_unknown_for_a_while_changes_nothing() -> None:
    story = at_limit()
    assert sees(story, 20, Activity.UNKNOWN).life.limited == at_limit().life.limited


def test_one_that_could_not_be_told_is_told_again_as_long_as_it_may_go_on() -> None:
    story = at_limit().tick(1000)
    story.tell(limit_steps.not_told(story.life, story.run_id, "copy mode", at(1001)))
    assert waits(story) == (WALL + 1001 + AGAIN, "it could not be told to go on, and is told again: copy mode")
    assert story.tick(1001 + AGAIN).effects == (GoOn(story.run_id, 2),)
    story.tell(limit_steps.not_told(story.life, story.run_id, "copy mode", at(1100)))
    assert waits(story) == (None, "it could not be told to go on: copy mode")


def test_what_its_budget_holds_back_is_no_try() -> None:
    story = at_limit().tick(1000)
    for _ in range(5):
        now = story.life.limited
        assert now is not None
        assert now.resumes == 1
        story.tell(limit_steps.not_told(story.life, story.run_id, "used up", at(1001), held=True))
        assert waits(story) == (WALL + 1001 + AGAIN, "it could not be told to go on, and is told again: used up")
        assert story.tick(1001 + AGAIN).effects == (GoOn(story.run_id, 1),)


def test_stop_is_a_stop_with_the_reason_whatever_restart_says() -> None:
    story = at_limit(STOP)
    assert story.state is AgentState.STOPPING
    assert story.life.stop is not None
    assert (story.life.stop.reason, story.life.stop.error) == (
        StopReason.USAGE_LIMIT,
        "stopped at its usage limit: You've hit your session limit",
    )
    story = story.exited(11, SUCCESS)
    assert (story.state, story.effects) == (AgentState.FAILED, (ReapRun(),))
    assert story.life.error == "stopped at its usage limit: You've hit your session limit"
    assert story.life.last_exit == SUCCESS


def test_a_stop_that_a_former_daemon_began_ends_as_it_would_have() -> None:
    before = at_limit(STOP)
    life = Record.parse(Record.of(before.life, Description("custom", "native", "a", "/")).dump()).life(
        session_open=True
    )
    assert life.run is not None
    story = Story(replace(life, run=replace(life.run, launched=20.0)))
    story = story.started(20).exited(21, SUCCESS)
    assert (story.state, story.life.error) == (
        AgentState.FAILED,
        "stopped at its usage limit: You've hit your session limit",
    )


def test_notify_is_an_event_alone() -> None:
    story = at_limit(NOTIFY)
    assert (story.state, story.effects, lives.wake_at(story.life)) == (AgentState.RUNNING, (), None)
    (event,) = told(story)
    assert event.kind == "limit_reached"
    assert event.data["limit_action"] == "notify"
    assert event.data["resets_at"] == "2001-09-09T02:03:20Z"
    assert "nothing is done" in (event.reason or "")


def test_without_the_field_nothing_follows_and_nothing_is_told_but_the_limit_is_known() -> None:
    story = at_limit(NO)
    assert (story.state, lives.wake_at(story.life), told(story)) == (AgentState.RUNNING, None, [])
    assert story.life.limited is not None


@pytest.mark.parametrize("policy", [NO, NOTIFY])
def test_an_edit_cancels_the_wait(policy: Policy) -> None:
    story = at_limit().define(20, policy)
    assert (story.state, story.effects, lives.wake_at(story.life)) == (AgentState.RUNNING, (), None)
    assert story.life.limited is not None
    assert story.life.limited.due is None


def test_an_edit_begins_a_wait_and_a_stop() -> None:
    story = at_limit(NO).define(20, WAIT)
    assert story.life.limited is not None
    assert story.life.limited.due == WALL + 1000
    assert story.define(30, STOP).state is AgentState.STOPPING


def test_the_plan_shows_the_edit_and_applies_it_in_place() -> None:
    story = at_limit()
    (operation,) = plan([declared(NOTIFY).view], [story.life.view])
    assert (operation.action, operation.fields) == ("change", ("on_usage_limit",))


def test_the_wait_outlives_the_daemon() -> None:
    story = at_limit()
    kept = recorded(story)
    assert story.life.limited is not None
    assert kept.limited == story.life.limited.kept
    assert kept.run is not None
    later = Story(replace(kept, run=replace(kept.run, launched=500.0))).started(500)
    assert later.wait() == 0
    assert later.tick(1000).effects == (GoOn(later.run_id, 1),)


def test_a_restart_that_goes_on_with_the_conversation_waits_on_and_another_does_not() -> None:
    policy = replace(WAIT, restart=ALWAYS.restart, restart_delay=1.0)
    story = at_limit(policy).exited(20)
    story.wait()
    story = story.opened(21).started(21)
    assert story.life.limited is not None
    assert story.life.limited.due == WALL + 1000
    assert at_limit(policy).define(30, policy, launch="second").exited(31).life.limited is None


def test_news_of_another_run_says_nothing() -> None:
    story = running(WAIT)
    assert limit_steps.observed(story.life, "stale", Activity.USAGE_LIMIT, hit(1, 2), at(1)) == (story.life, ())
