"""Every state against every event: what changes, and that all else is ignored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from agentd.model.spec import Policy
from agentd.model.states import AgentState
from agentd.supervise import transitions as lives
from agentd.supervise.life import Life, ReapRun, ReportStopped, Run, Step, StopReason
from agentd.supervise.transitions import IllegalTransitionError
from tests.supervise.lives import ALWAYS, NO, PID, SUCCESS, Story, at, declared, in_state, stale

NOW = at(1.0, run_id="next")
"""A second after everything that brought the life into its state; nothing is due."""
LATER = at(1000.0, run_id="next")
"""When everything is due that ever will be."""


def define(life: Life, policy: Policy, launch: str | None = "first") -> Step:
    return lives.define(life, declared(policy, launch), NOW)


def current(life: Life) -> str:
    return "" if life.run is None else life.run.id


EVENTS: Mapping[str, Callable[[Life], Step]] = {
    "declared as it is": lambda life: define(life, life.policy),
    "declared, launch unknown": lambda life: define(life, life.policy, None),
    "declared with another launch": lambda life: define(life, life.policy, "third"),
    "declared with restart always": lambda life: define(life, ALWAYS),
    "declared with restart no": lambda life: define(life, NO),
    "declared with a timeout that is over": lambda life: define(life, replace(life.policy, timeout=0.5)),
    "removed": lambda life: lives.withdraw(life, StopReason.REMOVED, NOW),
    "disabled": lambda life: lives.withdraw(life, StopReason.DISABLED, NOW),
    "shut down": lambda life: lives.withdraw(life, StopReason.SHUTDOWN, NOW),
    "opened": lambda life: lives.launch_opened(life, current(life), NOW),
    "launch failed": lambda life: lives.launch_failed(life, current(life), "why", NOW),
    "launch refused": lambda life: lives.launch_refused(life, current(life), "why", NOW),
    "all found": lambda life: lives.prerequisites_met(life, NOW),
    "workdir covered": lambda life: lives.mounted_over(life, "why", NOW),
    "launch put off": lambda life: lives.launch_put_off(life, current(life), NOW),
    "started": lambda life: lives.started(life, current(life), PID, NOW),
    "exited": lambda life: lives.exited(life, current(life), SUCCESS, NOW),
    "session lost": lambda life: lives.session_lost(life, "closed", NOW),
    "tick early": lambda life: lives.tick(life, NOW),
    "tick late": lambda life: lives.tick(life, LATER),
    "kill now": lambda life: lives.kill_now(life, NOW),
    "stopped": lambda life: lives.stopped(life, NOW),
    "stale opened": lambda life: lives.launch_opened(life, stale(life), NOW),
    "stale launch failed": lambda life: lives.launch_failed(life, stale(life), "why", NOW),
    "stale launch put off": lambda life: lives.launch_put_off(life, stale(life), NOW),
    "stale started": lambda life: lives.started(life, stale(life), PID, NOW),
    "stale exited": lambda life: lives.exited(life, stale(life), SUCCESS, NOW),
}

KEPT = "kept"
"""The state stays and nothing is to be done, but the life remembers the event. What is not in the table is ignored."""
FIRST_LAUNCH = "starting: LaunchRun"
LAUNCH = "starting: ReapRun LaunchRun"

# The agent that is stopping does so because it was declared with another launch.
OUTCOMES: Mapping[str, Mapping[str, str]] = {
    "declared as it is": {"pending": FIRST_LAUNCH, "queued": FIRST_LAUNCH, "disabled": FIRST_LAUNCH, "stopping": KEPT},
    "declared, launch unknown": {
        "pending": FIRST_LAUNCH,
        "queued": FIRST_LAUNCH,
        "disabled": FIRST_LAUNCH,
        "starting": KEPT,
        "running": KEPT,
        "stopping": KEPT,
        "backoff": KEPT,
        "exited": KEPT,
        "failed": KEPT,
        "timed_out": KEPT,
    },
    "declared with another launch": {
        "pending": FIRST_LAUNCH,
        "queued": FIRST_LAUNCH,
        "disabled": FIRST_LAUNCH,
        "starting": "stopping:",
        "running": "stopping: TypeKey",
        "stopping": KEPT,
        "backoff": LAUNCH,
        "exited": LAUNCH,
        "failed": LAUNCH,
        "timed_out": LAUNCH,
    },
    "declared with restart always": {
        "pending": FIRST_LAUNCH,
        "queued": FIRST_LAUNCH,
        "disabled": FIRST_LAUNCH,
        "starting": KEPT,
        "running": KEPT,
        "stopping": KEPT,
        "exited": "backoff:",
        "failed": "backoff:",
        "timed_out": LAUNCH,
    },
    "declared with restart no": {
        "pending": FIRST_LAUNCH,
        "queued": FIRST_LAUNCH,
        "disabled": FIRST_LAUNCH,
        "stopping": KEPT,
        "backoff": "failed:",
        "timed_out": LAUNCH,
    },
    "declared with a timeout that is over": {
        "pending": FIRST_LAUNCH,
        "queued": FIRST_LAUNCH,
        "disabled": FIRST_LAUNCH,
        "starting": "stopping:",
        "running": "stopping: TypeKey",
        "stopping": KEPT,
        "backoff": "timed_out: ReapRun",
        "exited": KEPT,
        "failed": KEPT,
        "timed_out": KEPT,
    },
    "removed": {
        "pending": "gone:",
        "queued": "gone:",
        "disabled": "gone:",
        "starting": "stopping:",
        "running": "stopping: TypeKey",
        "stopping": KEPT,
        "backoff": "gone: ReapRun CloseSession",
        "exited": "gone: ReapRun CloseSession",
        "failed": "gone: ReapRun CloseSession",
        "timed_out": "gone: ReapRun CloseSession",
    },
    "disabled": {
        "pending": "disabled:",
        "queued": "disabled:",
        "starting": "stopping:",
        "running": "stopping: TypeKey",
        "stopping": KEPT,
        "backoff": "disabled: ReapRun CloseSession",
        "exited": "disabled: ReapRun CloseSession",
        "failed": "disabled: ReapRun CloseSession",
        "timed_out": "disabled: ReapRun CloseSession",
    },
    "shut down": {
        "pending": "gone:",
        "queued": "gone:",
        "disabled": "gone:",
        "starting": "stopping:",
        "running": "stopping: TypeKey",
        "stopping": KEPT,
        "backoff": "gone: ReapRun",
        "exited": "gone: ReapRun",
        "failed": "gone: ReapRun",
        "timed_out": "gone: ReapRun",
    },
    "opened": {},
    "launch failed": {"starting": "failed: ReapRun", "stopping": LAUNCH},
    "launch refused": {"starting": "failed:", "stopping": LAUNCH},
    "all found": {},
    "workdir covered": {"running": "stopping: TypeKey"},
    "launch put off": {"starting": FIRST_LAUNCH, "stopping": FIRST_LAUNCH},
    "started": {"starting": "running:"},
    "exited": {"starting": "exited:", "running": "exited:", "stopping": LAUNCH},
    "session lost": {
        "starting": KEPT,
        "running": "stopping: TerminateGroup",
        "stopping": KEPT,
        "backoff": KEPT,
        "exited": KEPT,
        "failed": KEPT,
        "timed_out": KEPT,
    },
    "tick early": {},
    "tick late": {
        "starting": "failed: ReapRun CloseSession",
        "stopping": "stopping: TerminateGroup KillRun",
        "backoff": LAUNCH,
    },
    "kill now": {"stopping": "stopping: KillRun"},
    "stopped": {},
    "stale opened": {},
    "stale launch failed": {},
    "stale launch put off": {},
    "stale started": {},
    "stale exited": {},
}


def describe(before: Life, step: Step) -> str | None:
    """Say what an event led to, once what winds a stop down is done."""
    story = Story(before)
    story.moment = NOW
    story.tell(step)
    after, effects = story.life, story.effects
    if after == before and not effects:
        return None
    if after.state is before.state and not effects and after.gone == before.gone:
        return KEPT
    state = "gone" if after.gone else after.state
    return f"{state}: {' '.join(type(effect).__name__ for effect in effects)}".strip()


def test_the_table_is_whole() -> None:
    assert OUTCOMES.keys() == EVENTS.keys()
    assert {state for row in OUTCOMES.values() for state in row} <= {*AgentState}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", AgentState)
def test_an_event_in_a_state_does_what_the_table_says_and_no_more(state: AgentState, event: str) -> None:
    life = in_state(state).life
    assert describe(life, EVENTS[event](life)) == OUTCOMES[event].get(state)


@pytest.mark.parametrize("reason", StopReason)
@pytest.mark.parametrize("event", [event for event in EVENTS if event != "stopped"])
def test_while_what_a_stopped_run_left_is_being_ended_everything_else_waits(event: str, reason: StopReason) -> None:
    life = in_state(AgentState.RUNNING).life
    stopping = (
        lives.session_lost(life, "closed", NOW)
        if reason is StopReason.SESSION_LOST
        else (lives.withdraw(life, reason, NOW))
    )
    life, effects = lives.exited(stopping[0], current(life), SUCCESS, NOW)
    assert effects == (ReapRun(), ReportStopped())
    assert life.winding_down
    after, effects = EVENTS[event](life)
    assert effects == ()
    assert after.state is AgentState.STOPPING
    assert after.winding_down
    assert lives.wake_at(after) is None


@pytest.mark.parametrize("state", [AgentState.BACKOFF, AgentState.EXITED, AgentState.FAILED, AgentState.TIMED_OUT])
@pytest.mark.parametrize("event", [event for event in EVENTS if event != "stopped"])
def test_while_what_an_ended_run_left_is_being_ended_everything_else_waits(event: str, state: AgentState) -> None:
    life, _ = lives.withdraw(in_state(state, replace(NO, timeout=5.0)).life, StopReason.REMOVED, NOW)
    after, effects = EVENTS[event](life)
    assert effects == ()
    assert after.state is state
    assert after.winding_down
    assert after.due is None
    assert lives.wake_at(after) is None


@pytest.mark.parametrize("event", [event for event in EVENTS if not event.startswith("declared")])
@pytest.mark.parametrize("reason", [StopReason.REMOVED, StopReason.SHUTDOWN])
@pytest.mark.parametrize("state", [AgentState.PENDING, AgentState.EXITED])
def test_an_agent_that_is_gone_answers_nothing(state: AgentState, reason: StopReason, event: str) -> None:
    life = in_state(state).withdraw(0, reason).life
    assert life.gone
    after, effects = EVENTS[event](life)
    assert after.gone
    assert effects == ()
    assert lives.wake_at(after) is None


@pytest.mark.parametrize(
    "event", ["opened", "launch failed", "launch put off", "started", "exited", "removed", "disabled", "session lost"]
)
@pytest.mark.parametrize("state", AgentState)
def test_an_event_told_twice_does_the_same_as_told_once(state: AgentState, event: str) -> None:
    life = in_state(state).life
    if event in ("opened", "launch failed", "launch put off", "started", "exited"):
        run_id = current(life)
        calls: Mapping[str, Callable[[Life], Step]] = {
            "opened": lambda it: lives.launch_opened(it, run_id, NOW),
            "launch failed": lambda it: lives.launch_failed(it, run_id, "why", NOW),
            "launch put off": lambda it: lives.launch_put_off(it, run_id, NOW),
            "started": lambda it: lives.started(it, run_id, PID, NOW),
            "exited": lambda it: lives.exited(it, run_id, SUCCESS, NOW),
        }
        tell = calls[event]
    else:
        tell = EVENTS[event]
    once, _ = tell(life)
    assert tell(once) == (once, ())


@pytest.mark.parametrize(
    "state",
    [state for state in AgentState if state not in (AgentState.STARTING, AgentState.RUNNING, AgentState.STOPPING)],
)
def test_a_process_that_cannot_be_is_a_defect(state: AgentState) -> None:
    life = replace(in_state(state).life, run=Run("ghost"))
    with pytest.raises(IllegalTransitionError, match=f"started in state {state}"):
        lives.started(life, "ghost", PID, NOW)
    with pytest.raises(IllegalTransitionError, match=f"ended in state {state}"):
        lives.exited(life, "ghost", SUCCESS, NOW)
    assert lives.launch_failed(life, "ghost", "why", NOW) == (life, ())
    assert lives.launch_put_off(life, "ghost", NOW) == (life, ())
