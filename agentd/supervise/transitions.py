r"""The life of one agent as an explicit state machine: frozen values in and out, no clock, no I/O.

One function an event; each decides by the current state and returns the next life and the effects to carry out, in
order. What is late or repeated is ignored explicitly; what cannot happen raises.

::

    pending --> starting --> running --> exited | failed
       ^  \-> queued -/        |   \--> backoff --> starting
    disabled        v          v
                 stopping <----+        (stop, change, timeout, session lost)
                    \--> starting | disabled | timed_out | backoff | failed | gone
"""

from __future__ import annotations

from dataclasses import replace

from agentd.model.spec import Policy
from agentd.model.states import AgentState
from agentd.supervise import hold_steps, limit_steps, stall_steps
from agentd.supervise.desired import DesiredAgent
from agentd.supervise.life import (
    ApplyLimits,
    CloseSession,
    Instant,
    LaunchRun,
    Life,
    ReportStopped,
    Run,
    Step,
    Stop,
    StopReason,
)
from agentd.supervise.plan import changed_parts, changed_policy
from agentd.supervise.policy import (
    Exit,
    StopAction,
    StopStep,
    backoff,
    stop_schedule,
)
from agentd.supervise.steps import (
    START_LIMIT,
    begin,
    check_start,
    end_run,
    enqueue,
    follow,
    give_up,
    launch_again,
    leave,
    request_stop,
    stop_at_limit,
    stop_steps,
    time_out,
    wind_down,
)

_LAUNCHING = frozenset({AgentState.STARTING, AgentState.STOPPING})
"""States in which a launch may be under way."""


class IllegalTransitionError(RuntimeError):
    """An event that cannot happen in this state: a defect of agentd."""


def define(life: Life, desired: DesiredAgent, at: Instant) -> Step:
    """Take the definition that is declared, new, changed or as before."""
    previous, running = life.policy, life.desired
    policy_changed = bool(changed_policy(previous, desired.spec.policy))
    parts = changed_parts(life.fingerprint, desired.fingerprint)
    same_launch = not parts
    life = replace(life, desired=desired, held=None, policy=desired.spec.policy)
    if life.winding_down:
        return life, ()
    match life.state:
        case AgentState.PENDING | AgentState.QUEUED | AgentState.DISABLED:
            return begin(life, at)
        case AgentState.STARTING | AgentState.RUNNING:
            if same_launch:
                return _change_policy(replace(life, hold=None), previous, at)
            if not hold_steps.holds(life, previous, parts, at):
                return request_stop(life, StopReason.CHANGED, at)
            life, looks = hold_steps.hold(life, running, at)
            life, effects = _change_policy(life, previous, at)
            return life, (*looks, *effects)
        case AgentState.STOPPING:
            # A changed grace period does not lengthen a stop that is under way; what follows is decided at its end.
            return life, ()
        case AgentState.BACKOFF | AgentState.EXITED | AgentState.FAILED | AgentState.TIMED_OUT:
            if not same_launch:
                return begin(life, at)
            waiting = life.state is AgentState.BACKOFF and life.due is None
            return _reconsider(life, at) if policy_changed or waiting else (life, ())


def withdraw(life: Life, reason: StopReason, at: Instant) -> Step:
    """The agent is no longer wanted: removed, disabled, or agentd shuts down."""
    if life.gone:
        return life, ()
    life = replace(life, desired=None, held=None, hold=None)
    if life.stop is not None:
        return replace(life, stop=replace(life.stop, reason=reason)), ()
    match life.state:
        case AgentState.STARTING | AgentState.RUNNING:
            return request_stop(life, reason, at)
        case AgentState.PENDING | AgentState.DISABLED:
            return leave(life, reason), ()
        case AgentState.QUEUED if life.run is None:
            return leave(life, reason), ()
        case _:
            return wind_down(replace(life, stop=Stop(reason, 0.0, ())))


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
    assert life.run is not None
    match life.state:
        case AgentState.STARTING if life.run.launched is not None:
            return give_up(life, error, at)
        case AgentState.STARTING:
            return follow(end_run(life, Exit(error=error), at), at), ()
        case AgentState.STOPPING:
            return wind_down(end_run(life, Exit(error=error), at))
        case _:
            return life, ()


def launch_refused(life: Life, run_id: str, error: str, at: Instant) -> Step:
    """Something that the launch needs is missing: it never began, and uses up no restart."""
    if not _is_current(life, run_id) or life.state is not AgentState.STARTING:
        return launch_failed(life, run_id, error, at)
    assert life.run is not None
    refusals, restart = life.refusals + 1, life.run.restart
    life = end_run(life, Exit(error=error), at)
    life = replace(life, refusals=refusals, restarts=life.restarts - restart, counted=life.counted - restart)
    if not restart:
        # Nothing of this definition ever ran, so its timeout has not begun either.
        life = replace(life, began=None, began_wall=None)
    return follow(life, at), ()


def prerequisites_met(life: Life, at: Instant, *, tried: bool = False) -> Step:
    """Launch an agent whose launch was refused: everything that it needs was seen to be there.

    Parameters
    ----------
    tried
        Whether it was launched after such a look already: it is refused for what no look sees, and is tried again after
        a back-off.
    """
    if not life.refused:
        return life, ()
    if tried:
        assert life.run is not None
        assert life.run.ended is not None
        due = life.run.ended + backoff(life.policy, life.refusals - 1, at.jitter)
        if life.state is AgentState.BACKOFF or at.now < due:
            return life, ()
    if life.state is AgentState.FAILED and life.desired is not None and life.desired.claims is not None:
        # It gave up its slot when it failed.
        return enqueue(life), ()
    return launch_again(life, at)


def mounted_over(life: Life, reason: str, at: Instant) -> Step:
    """Its workdir is another folder than the one it was launched in: that is another launch."""
    if life.state is not AgentState.RUNNING or life.desired is None:
        return life, ()
    return request_stop(life, StopReason.CHANGED, at, error=reason)


def launch_held(life: Life, run_id: str, at: Instant) -> Step:
    """There is no budget for the launch that was just decided on: it waits, as one that is declared so."""
    if not _is_current(life, run_id) or life.state is not AgentState.STARTING:
        return launch_put_off(life, run_id, at)
    assert life.run is not None
    run = replace(life.run, launched=at.now, ended=at.now) if life.session_open else None
    return enqueue(replace(life, run=run, stalled=None)), ()


def launch_put_off(life: Life, run_id: str, at: Instant) -> Step:
    """The launch was given up before anything ran, because something else was asked meanwhile."""
    if not _is_current(life, run_id):
        return life, ()
    match life.state:
        case AgentState.STARTING:
            assert life.run is not None
            again = Run(at.run_id, restart=life.run.restart, resume=life.run.resume)
            return replace(life, run=again), (LaunchRun(at.run_id),)
        case AgentState.STOPPING:
            # What a former run left was ended before this launch got its turn.
            return stopped(replace(life, run=None), at)
        case _:
            return life, ()


def launch_interrupted(life: Life, at: Instant) -> Life:
    """Go back to before a launch that a former daemon decided on and of which nothing was found."""
    if life.winding_down:
        # It was given up meanwhile, by a report of its launcher.
        return life
    assert life.run is not None
    if life.restarts == 0:
        return replace(life, state=AgentState.PENDING, run=None, session_open=False)
    # The restart was counted when it was decided, and will be counted again.
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
    match life.state:
        case AgentState.STARTING:
            return replace(life, session_open=True, run=run, state=AgentState.RUNNING, error=None), ()
        case AgentState.STOPPING:
            # Only now is there somebody to ask; the grace period counts from here.
            assert life.stop is not None
            steps = stop_schedule(at.now, life.stop.grace, life.stop_keys)
            return tick(replace(life, session_open=True, run=run, stop=replace(life.stop, steps=steps)), at)
        case _:
            raise IllegalTransitionError(f"process started in state {life.state}")


def exited(life: Life, run_id: str, ended: Exit, at: Instant) -> Step:
    """The agent's process ended, perhaps before anybody saw it."""
    if not _is_current(life, run_id):
        return life, ()
    match life.state:
        case AgentState.STARTING | AgentState.RUNNING:
            overdue = life.deadline is not None and life.deadline <= at.now
            changed = life.held is not None
            life = replace(end_run(life, ended, at), last_exit=ended)
            if limit_steps.stops(life) and not overdue:
                # The stop may have been begun by a former daemon.
                stop = Stop(StopReason.USAGE_LIMIT, 0.0, (), limit_steps.stop_error(life))
                return wind_down(replace(life, state=AgentState.STOPPING, stop=stop))
            if stall_steps.stops(life) and not overdue:
                stop = Stop(StopReason.STALLED, 0.0, (), stall_steps.stop_error(life))
                return wind_down(replace(life, state=AgentState.STOPPING, stop=stop))
            if life.over_budget is not None and not overdue:
                stop = Stop(StopReason.BUDGET, 0.0, (), life.over_budget)
                return wind_down(replace(life, state=AgentState.STOPPING, stop=stop))
            if overdue:
                # Seen only by the next daemon: the end of a stop by timeout, or an end that came before it.
                return wind_down(replace(life, state=AgentState.STOPPING, stop=Stop(StopReason.TIMEOUT, 0.0, ())))
            if changed:
                # What waited is launched next.
                return wind_down(replace(life, state=AgentState.STOPPING, stop=Stop(StopReason.CHANGED, 0.0, ())))
            return follow(life, at), ()
        case AgentState.STOPPING:
            return wind_down(replace(end_run(life, ended, at), last_exit=ended))
        case _:
            raise IllegalTransitionError(f"process ended in state {life.state}")


def oom_killed(life: Life, run_id: str, kills: int, at: Instant) -> Step:
    """Note how many processes of a run the kernel has killed for lack of memory; its agent may live on."""
    if not _is_current(life, run_id):
        return life, ()
    assert life.run is not None
    return replace(life, run=replace(life.run, oom_kills=kills, oom_at=at.now)), ()


def stopped(life: Life, at: Instant) -> Step:
    """Nothing that a run started is left: what follows depends on why it was stopped, and on what is declared now."""
    stop = life.stop
    if stop is None or not life.winding_down:
        return life, ()
    if stop.reason is StopReason.SHUTDOWN:
        return leave(life, stop.reason), ()
    if stop.reason.leaving:
        if life.session_open:
            return replace(life, session_open=False), (CloseSession(), ReportStopped())
        return begin(life, at) if life.desired is not None else (leave(life, stop.reason), ())
    if life.desired is not None:
        changed = changed_parts(life.fingerprint, life.desired.fingerprint)
        if changed or stop.reason is StopReason.CHANGED:
            return begin(life, at)
    if stop.reason is StopReason.TIMEOUT:
        return _after_timeout(life, at)
    # The session was lost, the launch given up, or the limit reached: a failure nobody asked for, whatever status the
    # launcher recorded.
    if life.outcome is None or life.outcome.error is None:
        life = replace(life, outcome=Exit(error=stop.error))
    if stop.reason is StopReason.STALLED:
        return stall_steps.launch_after(life, at)
    return (stop_at_limit(life) if stop.reason in (StopReason.USAGE_LIMIT, StopReason.BUDGET) else follow(life, at)), ()


def _after_timeout(life: Life, at: Instant) -> Step:
    assert life.began is not None
    extended = life.policy.timeout is None or life.began + life.policy.timeout > at.now
    if extended and life.desired is not None:
        return begin(life, at)
    return time_out(life), ()


def session_lost(life: Life, reason: str, at: Instant) -> Step:
    """The pane is gone, and with it the agent's terminal; its process may still be there."""
    life = replace(life, session_open=False)
    match life.state:
        case AgentState.RUNNING:
            return request_stop(life, StopReason.SESSION_LOST, at, error=reason)
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
            return request_stop(life, StopReason.TIMEOUT, at)
        case AgentState.STARTING:
            return check_start(life, at)
        case AgentState.STOPPING:
            return stop_steps(life, at)
        case AgentState.BACKOFF if deadline is not None and deadline <= at.now:
            return wind_down(replace(life, stop=Stop(StopReason.TIMEOUT, 0.0, ())))
        case AgentState.BACKOFF if life.due is not None and life.due <= at.now:
            return _restart(life, at)
        case _:
            step = hold_steps.look(life, at)
            return step if step[0] is not life else limit_steps.look(life, at)


def kill_now(life: Life, at: Instant) -> Step:
    """Stop at once, without grace."""
    if life.state is AgentState.STOPPING and not life.winding_down:
        assert life.stop is not None
        kill = StopStep(at.now, StopAction.KILL)
        return stop_steps(replace(life, stop=replace(life.stop, grace=0.0, steps=(kill,))), at)
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
        case AgentState.RUNNING:
            looks = (limit_steps.wake_at(life), hold_steps.wake_at(life))
            times.extend(look for look in looks if look is not None)
        case AgentState.BACKOFF if life.due is not None:
            times.append(life.due)
    if life.deadline is not None and life.state in (AgentState.STARTING, AgentState.RUNNING, AgentState.BACKOFF):
        times.append(life.deadline)
    return min(times, default=None)


# -- what the events share


def _is_current(life: Life, run_id: str) -> bool:
    return life.run is not None and life.run.id == run_id and life.run.ended is None


def _change_policy(life: Life, previous: Policy, at: Instant) -> Step:
    """Apply another policy than the `previous` one to a run."""
    life, effects = tick(life, at) if changed_policy(previous, life.policy) else (life, ())
    if previous.on_usage_limit != life.policy.on_usage_limit and not effects:
        life, effects = limit_steps.reconsider(life, at)
    return life, effects if previous.limits == life.policy.limits else (*effects, ApplyLimits())


def _restart(life: Life, at: Instant) -> Step:
    """Its back-off is over."""
    if life.desired is None:
        return replace(life, due=None, error="waiting for a valid configuration to restart"), ()
    return launch_again(life, at) if life.desired.queued is None else (enqueue(life), ())


def _reconsider(life: Life, at: Instant) -> Step:
    """Decide again after a change of policy for an agent that is not running; it may have to wait for a slot."""
    again, effects = _decide_again(life, at)
    queued = life.desired is not None and life.desired.queued is not None
    if queued and again.state in (AgentState.STARTING, AgentState.BACKOFF):
        return enqueue(life), ()
    return again, effects


def _decide_again(life: Life, at: Instant) -> Step:
    if life.state is AgentState.TIMED_OUT:
        assert life.began is not None
        if life.policy.timeout is not None and life.began + life.policy.timeout <= at.now:
            return life, ()
        return begin(life, at)
    return tick(follow(life, at), at)
