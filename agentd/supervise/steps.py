"""The steps that the transitions of a life are made of: launch, stop, wind down, leave; no clock, no I/O."""

from __future__ import annotations

from dataclasses import replace

from agentd.model.stall import StallAction
from agentd.model.states import AgentState
from agentd.supervise.life import (
    CloseSession,
    Effect,
    Instant,
    KillRun,
    LaunchRun,
    Life,
    ReapRun,
    ReportStopped,
    Run,
    Step,
    Stop,
    StopReason,
    TerminateGroup,
    TypeKey,
)
from agentd.supervise.policy import (
    Exit,
    Restart,
    StopAction,
    StopStep,
    after_exit,
    counted_after,
    stop_schedule,
)
from agentd.text.durations import format_duration

START_LIMIT = 60.0
"""Seconds from the launch until the agent's process must exist; a loaded machine needs milliseconds."""


def release(life: Life) -> Life:
    """Have a change wait no longer: what is launched next is as declared."""
    if life.hold is None and life.held is None:
        return life
    return replace(life, desired=life.declared, held=None, hold=None)


def begin(life: Life, at: Instant) -> Step:
    """Launch a definition for the first time: nothing counted from former ones applies."""
    life = replace(
        life,
        restarts=0,
        counted=0,
        refusals=0,
        limited=None,
        stalled=None,
        began=None,
        began_wall=None,
        error=None,
        gone=False,
    )
    declared = life.declared
    return launch(life, at) if declared is None or declared.queued is None else (enqueue(life), ())


def enqueue(life: Life) -> Life:
    """Wait for a slot: a later declaration says that there is one."""
    return replace(release(life), state=AgentState.QUEUED, stop=None, due=None)


def launch_again(life: Life, at: Instant) -> Step:
    """Launch what was launched before; that is a restart, unless all launches were refused."""
    if life.refusals and life.run is not None and not life.run.restart:
        return launch(life, at)
    return launch(replace(life, restarts=life.restarts + 1, counted=life.counted + 1), at, restart=True)


def launch(life: Life, at: Instant, *, restart: bool = False) -> Step:
    """Launch a run, counted as a `restart` or not, after ending whatever the former one left."""
    life = release(life)
    assert life.desired is not None
    # A stop that is wound down has ended them already.
    stalled = life.stalled if life.stop is not None and life.stop.reason is StopReason.STALLED else None
    resume = None if stalled is None else stalled.action is StallAction.RESUME
    clean = (ReapRun(),) if life.run is not None and not life.winding_down else ()
    life = replace(
        life,
        state=AgentState.STARTING,
        run=Run(at.run_id, restart=restart, resume=resume),
        began=at.now if life.began is None else life.began,
        began_wall=at.wall if life.began is None else life.began_wall,
        due=None,
        stop=None,
        # What it waits for is kept by a run that goes on with the same conversation.
        limited=life.limited if restart and life.desired.resumes else None,
        # What was tried is, until it goes on.
        stalled=stalled,
        over_budget=None,
        fingerprint=life.desired.fingerprint,
        claims=life.desired.claims,
        stop_keys=life.desired.stop_keys,
    )
    return life, (*clean, LaunchRun(at.run_id))


def check_start(life: Life, at: Instant) -> Step:
    """Give up a launch whose process does not appear."""
    assert life.run is not None
    if life.run.launched is None or at.now < life.run.launched + START_LIMIT:
        return life, ()
    life, (reap, *then) = give_up(life, f"did not start within {format_duration(START_LIMIT)}", at)
    return replace(life, session_open=False), (reap, CloseSession(), *then)


def give_up(life: Life, error: str, at: Instant) -> Step:
    """Give up a launch that has a pane: it keeps its state, and its slot, until what it may have started is gone."""
    life = end_run(life, Exit(error=error), at)
    return wind_down(replace(life, stop=Stop(StopReason.NOT_STARTED, 0.0, (), error)))


def request_stop(life: Life, reason: StopReason, at: Instant, error: str | None = None) -> Step:
    """Begin to stop the run there is."""
    life = release(life)
    grace = life.policy.grace_period
    if life.run is not None and life.run.pid is not None:
        terminal = reason is not StopReason.SESSION_LOST and life.session_open
        steps = stop_schedule(at.now, grace, life.stop_keys, terminal=terminal)
    else:
        # There is nobody to ask yet; should the launch hang, it ends with the grace period.
        steps = (StopStep(at.now + grace, StopAction.KILL),)
    return stop_steps(replace(life, state=AgentState.STOPPING, stop=Stop(reason, grace, steps, error)), at)


def stop_steps(life: Life, at: Instant) -> Step:
    """Do what is due of the stop under way."""
    assert life.stop is not None
    effects: list[Effect] = []
    steps = list(life.stop.steps)
    while steps and steps[0].at <= at.now:
        step = steps.pop(0)
        match step.action:
            case StopAction.KEY:
                effects.append(TypeKey(step.key))
            case StopAction.TERMINATE:
                effects.append(TerminateGroup())
            case StopAction.KILL:
                effects.append(KillRun())
    return replace(life, stop=replace(life.stop, steps=tuple(steps))), tuple(effects)


def end_run(life: Life, ended: Exit, at: Instant) -> Life:
    """Note the end of the run."""
    life = release(life)
    assert life.run is not None
    run = replace(life.run, ended=at.now)
    counted = counted_after(life.policy, life.counted, run.lasted())
    limited = None if life.limited is None else life.limited.kept
    return replace(life, run=run, outcome=ended, counted=counted, refusals=0, limited=limited)


def follow(life: Life, at: Instant) -> Life:
    """Decide by policy what follows the end of the last run, which nobody asked for."""
    run, outcome = life.run, life.outcome
    assert run is not None
    assert run.ended is not None
    assert outcome is not None
    # The first launch is no restart: its first back-off is the shortest.
    refusals = max(0, life.refusals - (not run.restart))
    verdict = after_exit(life.policy, outcome, life.counted, at.jitter, refusals)
    if isinstance(verdict, Restart):
        error = None if outcome.succeeded(life.policy) else outcome.describe()
        return replace(life, state=AgentState.BACKOFF, stop=None, due=run.ended + verdict.delay, error=error)
    state = AgentState.EXITED if verdict.success else AgentState.FAILED
    return replace(life, state=state, stop=None, due=None, error=verdict.error)


def wind_down(life: Life) -> Step:
    """The process is gone, but not all that it started may be: the stop is complete when that is."""
    assert life.stop is not None
    return replace(life, due=None, stop=replace(life.stop, steps=())), (ReapRun(), ReportStopped())


def time_out(life: Life) -> Life:
    """End in the state `timed_out`."""
    limit = format_duration(life.policy.timeout or 0.0)
    return replace(life, state=AgentState.TIMED_OUT, stop=None, due=None, error=f"timed out after {limit}")


def stop_at_limit(life: Life) -> Life:
    """End at a usage limit, as a failure that says so."""
    assert life.outcome is not None
    return replace(life, state=AgentState.FAILED, stop=None, due=None, error=life.outcome.error)


def leave(life: Life, reason: StopReason) -> Life:
    """Nothing of the agent is wanted any more."""
    life = replace(life, stop=None, due=None)
    match reason:
        case StopReason.SHUTDOWN:
            # The whole server is closed at the end; closing 300 sessions one by one would only take longer.
            return replace(life, state=AgentState.PENDING, gone=True)
        case StopReason.DISABLED:
            return replace(life, state=AgentState.DISABLED, error=None)
        case _:
            return replace(life, state=AgentState.PENDING, error=None, gone=True)
