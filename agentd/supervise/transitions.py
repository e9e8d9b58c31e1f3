r"""The life of one agent as an explicit state machine: frozen values in and out, no clock, no I/O.

One function an event; each decides by the current state and returns the next life and the effects to carry out, in
order. What is late or repeated is ignored explicitly; what cannot happen raises.

::

    pending --> starting --> running --> exited | failed
       ^            |          |   \--> backoff --> starting
    disabled        v          v
                 stopping <----+        (stop, change, timeout, session lost)
                    \--> starting | disabled | timed_out | backoff | failed | gone
"""

from __future__ import annotations

from dataclasses import replace

from agentd.model.states import AgentState
from agentd.supervise.desired import DesiredAgent
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
from agentd.supervise.plan import changed_policy
from agentd.supervise.policy import (
    Exit,
    Restart,
    StopAction,
    StopStep,
    after_exit,
    backoff,
    counted_after,
    stop_schedule,
)
from agentd.text.durations import format_duration

START_LIMIT = 60.0
"""Seconds from the launch until the agent's process must exist; a loaded machine needs milliseconds."""

_LAUNCHING = frozenset({AgentState.STARTING, AgentState.STOPPING})
"""States in which a launch may be under way."""


class IllegalTransitionError(RuntimeError):
    """An event that cannot happen in this state: a defect of agentd."""


def define(life: Life, desired: DesiredAgent, at: Instant) -> Step:
    """The definition was declared, or changed, or is declared still."""
    previous = life.policy
    policy_changed = bool(changed_policy(previous, desired.spec.policy))
    same_launch = desired.fingerprint is None or desired.fingerprint == life.fingerprint
    life = replace(life, desired=desired, policy=desired.spec.policy)
    if life.winding_down:
        return life, ()
    match life.state:
        case AgentState.PENDING | AgentState.DISABLED:
            return _begin(life, at)
        case AgentState.STARTING | AgentState.RUNNING:
            if not same_launch:
                return _request_stop(life, StopReason.CHANGED, at)
            return tick(life, at) if policy_changed else (life, ())
        case AgentState.STOPPING:
            # A changed grace period does not lengthen a stop that is under way; what follows is decided at its end.
            return life, ()
        case AgentState.BACKOFF | AgentState.EXITED | AgentState.FAILED | AgentState.TIMED_OUT:
            if not same_launch:
                return _begin(life, at)
            waiting = life.state is AgentState.BACKOFF and life.due is None
            return _reconsider(life, at) if policy_changed or waiting else (life, ())


def withdraw(life: Life, reason: StopReason, at: Instant) -> Step:
    """The agent is no longer wanted: removed, disabled, or agentd shuts down."""
    if life.gone:
        return life, ()
    life = replace(life, desired=None)
    if life.stop is not None:
        return replace(life, stop=replace(life.stop, reason=reason)), ()
    match life.state:
        case AgentState.STARTING | AgentState.RUNNING:
            return _request_stop(life, reason, at)
        case AgentState.PENDING | AgentState.DISABLED:
            return _leave(life, reason), ()
        case _:
            return _wind_down(replace(life, stop=Stop(reason, 0.0, ())))


def launch_opened(life: Life, run_id: str, at: Instant) -> Step:
    """The pane of a run exists, perhaps only after the run's end was reported."""
    if life.run is None:
        return life, ()
    if life.run.id != run_id:
        # The next run is already waiting for its turn, and will use this pane.
        return (replace(life, session_open=True) if life.state in _LAUNCHING else life), ()
    if life.run.launched is not None:
        return life, ()
    return replace(life, session_open=True, run=replace(life.run, launched=at.now)), ()


def launch_failed(life: Life, run_id: str, error: str, at: Instant) -> Step:
    """There will be no process of this run."""
    if not _is_current(life, run_id):
        return life, ()
    match life.state:
        case AgentState.STARTING:
            return _follow(_end_run(life, Exit(error=error), at), at), ()
        case AgentState.STOPPING:
            return _wind_down(_end_run(life, Exit(error=error), at))
        case _:
            return life, ()


def launch_refused(life: Life, run_id: str, error: str, at: Instant) -> Step:
    """Something that the launch needs is missing: it never began, and uses up no restart."""
    if not _is_current(life, run_id) or life.state is not AgentState.STARTING:
        return launch_failed(life, run_id, error, at)
    assert life.run is not None
    unbegun, restart = life.unbegun + 1, life.run.restart
    life = _end_run(life, Exit(error=error), at)
    life = replace(life, unbegun=unbegun, restarts=life.restarts - restart, counted=life.counted - restart)
    if not restart:
        # Nothing of this definition ever ran: its time has not begun either.
        life = replace(life, began=None, began_wall=None)
    return _follow(life, at), ()


def found_all(life: Life, at: Instant, *, tried: bool = False) -> Step:
    """A look has found all that a launch which never began needs, as far as looks can tell.

    Parameters
    ----------
    tried
        Whether it was launched after such a look already: it is refused for what no look sees, and is tried again after
        a back-off.
    """
    if not life.wanting:
        return life, ()
    if tried:
        assert life.run is not None
        assert life.run.ended is not None
        due = life.run.ended + backoff(life.policy, life.unbegun - 1, at.jitter)
        if life.state is AgentState.BACKOFF or at.now < due:
            return life, ()
    return _launch_again(life, at)


def mounted_over(life: Life, reason: str, at: Instant) -> Step:
    """Its workdir is another folder than the one it was launched in: that is another launch."""
    if life.state is not AgentState.RUNNING or life.desired is None:
        return life, ()
    return _request_stop(life, StopReason.CHANGED, at, error=reason)


def launch_put_off(life: Life, run_id: str, at: Instant) -> Step:
    """The launch was given up before anything ran, because something else was asked meanwhile."""
    if not _is_current(life, run_id):
        return life, ()
    match life.state:
        case AgentState.STARTING:
            restart = life.run is not None and life.run.restart
            return replace(life, run=Run(at.run_id, restart=restart)), (LaunchRun(at.run_id),)
        case AgentState.STOPPING:
            # What a former run left was ended before this launch got its turn.
            return stopped(replace(life, run=None), at)
        case _:
            return life, ()


def launch_interrupted(life: Life, at: Instant) -> Life:
    """Go back to before a launch that a former daemon decided on and of which nothing was found."""
    assert life.run is not None
    if life.restarts == 0:
        return replace(life, state=AgentState.PENDING, run=None, session_open=False)
    # The restart was counted with the decision, and will be again.
    return replace(
        life,
        state=AgentState.BACKOFF,
        run=replace(life.run, launched=at.now, ended=at.now),
        due=at.now,
        restarts=life.restarts - 1,
        counted=max(0, life.counted - 1),
        session_open=False,
    )


def started(life: Life, run_id: str, pid: int, at: Instant) -> Step:
    """The agent's process exists."""
    if not _is_current(life, run_id):
        return life, ()
    assert life.run is not None
    if life.run.pid is not None:
        return life, ()
    run = replace(life.run, started=at.now, started_wall=at.wall, pid=pid)
    life = replace(life, session_open=True, run=run)
    match life.state:
        case AgentState.STARTING:
            return replace(life, state=AgentState.RUNNING, error=None), ()
        case AgentState.STOPPING:
            # Only now is there somebody to ask; the grace period counts from here.
            assert life.stop is not None
            steps = stop_schedule(at.now, life.stop.grace, life.stop_keys)
            return tick(replace(life, stop=replace(life.stop, steps=steps)), at)
        case _:
            raise IllegalTransitionError(f"process started in state {life.state}")


def exited(life: Life, run_id: str, ended: Exit, at: Instant) -> Step:
    """The agent's process ended, perhaps before anybody saw it."""
    if not _is_current(life, run_id):
        return life, ()
    match life.state:
        case AgentState.STARTING | AgentState.RUNNING:
            overdue = life.deadline is not None and life.deadline <= at.now
            life = replace(_end_run(life, ended, at), last_exit=ended)
            if overdue:
                # Seen late, by a daemon that was not there: the end of a timeout's stop, or one that needed none.
                return _wind_down(replace(life, state=AgentState.STOPPING, stop=Stop(StopReason.TIMEOUT, 0.0, ())))
            return _follow(life, at), ()
        case AgentState.STOPPING:
            return _wind_down(replace(_end_run(life, ended, at), last_exit=ended))
        case _:
            raise IllegalTransitionError(f"process ended in state {life.state}")


def stopped(life: Life, at: Instant) -> Step:
    """Nothing that a run started is left: what follows depends on why it was stopped, and on what is declared now."""
    stop = life.stop
    if stop is None or not life.winding_down:
        return life, ()
    if stop.reason is StopReason.SHUTDOWN:
        return _leave(life, stop.reason), ()
    if stop.reason.leaving:
        if life.session_open:
            return replace(life, session_open=False), (CloseSession(), ReportStopped())
        return _begin(life, at) if life.desired is not None else (_leave(life, stop.reason), ())
    if life.desired is not None:
        changed = life.desired.fingerprint not in (None, life.fingerprint)
        if changed or stop.reason is StopReason.CHANGED:
            return _begin(life, at)
    if stop.reason is StopReason.TIMEOUT:
        assert life.began is not None
        extended = life.policy.timeout is None or life.began + life.policy.timeout > at.now
        if extended and life.desired is not None:
            return _begin(life, at)
        return _time_out(life), ()
    # The session was lost: a failure nobody asked for, whatever status the launcher could still record.
    if life.outcome is None or life.outcome.error is None:
        life = replace(life, outcome=Exit(error=stop.error))
    return _follow(life, at), ()


def session_lost(life: Life, reason: str, at: Instant) -> Step:
    """The pane is gone, and with it the agent's terminal; its process may still be there."""
    life = replace(life, session_open=False)
    match life.state:
        case AgentState.RUNNING:
            return _request_stop(life, StopReason.SESSION_LOST, at, error=reason)
        case _:
            # A launch under way finds out by itself and makes a new session.
            return life, ()


def tick(life: Life, at: Instant) -> Step:
    """Time has passed: do what is due."""
    if life.winding_down:
        return life, ()
    deadline = life.deadline
    match life.state:
        case AgentState.STARTING | AgentState.RUNNING if deadline is not None and deadline <= at.now:
            return _request_stop(life, StopReason.TIMEOUT, at)
        case AgentState.STARTING:
            return _check_start(life, at)
        case AgentState.STOPPING:
            return _stop_steps(life, at)
        case AgentState.BACKOFF if deadline is not None and deadline <= at.now:
            return _wind_down(replace(life, stop=Stop(StopReason.TIMEOUT, 0.0, ())))
        case AgentState.BACKOFF if life.due is not None and life.due <= at.now:
            if life.desired is None:
                return replace(life, due=None, error="waiting for a valid configuration to restart"), ()
            return _launch_again(life, at)
        case _:
            return life, ()


def kill_now(life: Life, at: Instant) -> Step:
    """Stop at once, without grace."""
    if life.state is AgentState.STOPPING and not life.winding_down:
        assert life.stop is not None
        kill = StopStep(at.now, StopAction.KILL)
        return _stop_steps(replace(life, stop=replace(life.stop, grace=0.0, steps=(kill,))), at)
    return life, ()


def wake_at(life: Life) -> float | None:
    """When the life wants its next `tick`, monotonic."""
    if life.winding_down:
        return None
    times: list[float] = []
    match life.state:
        case AgentState.STARTING:
            assert life.run is not None
            if life.run.launched is not None:
                times.append(life.run.launched + START_LIMIT)
        case AgentState.STOPPING:
            assert life.stop is not None
            return life.stop.steps[0].at if life.stop.steps else None
        case AgentState.BACKOFF if life.due is not None:
            times.append(life.due)
    if life.deadline is not None and life.state in (AgentState.STARTING, AgentState.RUNNING, AgentState.BACKOFF):
        times.append(life.deadline)
    return min(times, default=None)


# -- what the events share


def _is_current(life: Life, run_id: str) -> bool:
    return life.run is not None and life.run.id == run_id and life.run.ended is None


def _begin(life: Life, at: Instant) -> Step:
    """Launch a definition for the first time: nothing counted from former ones applies."""
    life = replace(life, restarts=0, counted=0, unbegun=0, began=None, began_wall=None, error=None, gone=False)
    return _launch(life, at)


def _launch_again(life: Life, at: Instant) -> Step:
    """Launch what was launched before; that is a restart, unless none of the launches ever began."""
    if life.unbegun and life.run is not None and not life.run.restart:
        return _launch(life, at)
    return _launch(replace(life, restarts=life.restarts + 1, counted=life.counted + 1), at, restart=True)


def _launch(life: Life, at: Instant, *, restart: bool = False) -> Step:
    """Launch a run, after ending whatever the former one left: no two runs of an agent at once."""
    assert life.desired is not None
    # A stop that is wound down has ended them already.
    clean = (ReapRun(),) if life.run is not None and not life.winding_down else ()
    life = replace(
        life,
        state=AgentState.STARTING,
        run=Run(at.run_id, restart=restart),
        began=at.now if life.began is None else life.began,
        began_wall=at.wall if life.began is None else life.began_wall,
        due=None,
        stop=None,
        fingerprint=life.desired.fingerprint,
        stop_keys=life.desired.stop_keys,
    )
    return life, (*clean, LaunchRun(at.run_id))


def _check_start(life: Life, at: Instant) -> Step:
    """Give up a launch whose process does not appear."""
    assert life.run is not None
    if life.run.launched is None or at.now < life.run.launched + START_LIMIT:
        return life, ()
    error = f"did not start within {format_duration(START_LIMIT)}"
    life = _follow(_end_run(life, Exit(error=error), at), at)
    return replace(life, session_open=False), (ReapRun(), CloseSession())


def _request_stop(life: Life, reason: StopReason, at: Instant, error: str | None = None) -> Step:
    grace = life.policy.grace_period
    if life.run is not None and life.run.pid is not None:
        terminal = reason is not StopReason.SESSION_LOST and life.session_open
        steps = stop_schedule(at.now, grace, life.stop_keys, terminal=terminal)
    else:
        # There is nobody to ask yet; should the launch hang, it ends with the grace period.
        steps = (StopStep(at.now + grace, StopAction.KILL),)
    return _stop_steps(replace(life, state=AgentState.STOPPING, stop=Stop(reason, grace, steps, error)), at)


def _stop_steps(life: Life, at: Instant) -> Step:
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


def _end_run(life: Life, ended: Exit, at: Instant) -> Life:
    assert life.run is not None
    run = replace(life.run, ended=at.now)
    counted = counted_after(life.policy, life.counted, run.lasted())
    return replace(life, run=run, outcome=ended, counted=counted, unbegun=0)


def _follow(life: Life, at: Instant) -> Life:
    """Decide by policy what follows the end of the last run, which nobody asked for."""
    run, outcome = life.run, life.outcome
    assert run is not None
    assert run.ended is not None
    assert outcome is not None
    # The first launch is no restart: its first back-off is the shortest.
    unbegun = max(0, life.unbegun - (not run.restart))
    verdict = after_exit(life.policy, outcome, life.counted, at.jitter, unbegun)
    if isinstance(verdict, Restart):
        error = None if outcome.succeeded(life.policy) else outcome.describe()
        return replace(life, state=AgentState.BACKOFF, stop=None, due=run.ended + verdict.delay, error=error)
    state = AgentState.EXITED if verdict.success else AgentState.FAILED
    return replace(life, state=state, stop=None, due=None, error=verdict.error)


def _reconsider(life: Life, at: Instant) -> Step:
    """Decide again after a change of policy for an agent that is not running."""
    if life.state is AgentState.TIMED_OUT:
        assert life.began is not None
        if life.policy.timeout is not None and life.began + life.policy.timeout <= at.now:
            return life, ()
        return _begin(life, at)
    return tick(_follow(life, at), at)


def _wind_down(life: Life) -> Step:
    """The process is gone, but not all that it started may be: the stop is complete when that is."""
    assert life.stop is not None
    return replace(life, due=None, stop=replace(life.stop, steps=())), (ReapRun(), ReportStopped())


def _time_out(life: Life) -> Life:
    limit = format_duration(life.policy.timeout or 0.0)
    return replace(life, state=AgentState.TIMED_OUT, stop=None, due=None, error=f"timed out after {limit}")


def _leave(life: Life, reason: StopReason) -> Life:
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
