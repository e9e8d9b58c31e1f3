"""The steps of a life that does not go on: something is tried, it is launched again, it goes on; no clock, no I/O."""

from __future__ import annotations

from dataclasses import replace

from agentd.model.stall import StallAction
from agentd.model.states import AgentState
from agentd.supervise.life import Instant, InterruptTurn, Life, Step, StopReason
from agentd.supervise.policy import Exit
from agentd.supervise.stalls import Silence, Stalled, describe, due
from agentd.supervise.steps import follow, launch_again, request_stop


def seen(life: Life, silence: Silence, at: Instant, *, went_on: bool) -> Step:
    """Take what a look found of the run there is.

    Parameters
    ----------
    went_on
        Whether it has gone on, or is not at work.
    """
    run, known, stall = life.run, life.stalled, life.policy.stall
    if run is None or run.id != silence.seen.run_id or life.state is not AgentState.RUNNING:
        return life, ()
    if stall is None or (went_on and not _waits_to_go_on(life, silence)):
        return (life if known is None else replace(life, stalled=None)), ()
    taken = 0 if known is None else known.taken
    action = due(stall, silence, taken)
    if action is None or silence.seen.phase is None:
        return life, ()
    since = at.wall - silence.lasts if known is None else known.since
    stalled = Stalled(silence.seen.phase, since, taken + 1, describe(silence), action, run.id)
    life = replace(life, stalled=stalled)
    match action:
        case StallAction.NOTIFY:
            return life, ()
        case StallAction.INTERRUPT:
            return life, (InterruptTurn(run.id),)
        case StallAction.RESUME | StallAction.RESTART:
            return request_stop(life, StopReason.STALLED, at, error=stop_error(life))


def _waits_to_go_on(life: Life, silence: Silence) -> bool:
    """Whether it rests since no turn has begun after its launch: that is no progress, or all would be tried anew."""
    return silence.seen.rests and silence.seen.recorded is None and resumed(life)


def resumed(life: Life) -> bool:
    """Whether the run there is was launched to go on with the conversation of one that did not, and has not yet."""
    stalled, run = life.stalled, life.run
    if stalled is None or run is None or stalled.run == run.id:
        return False
    return stalled.action is StallAction.RESUME


def stops(life: Life) -> bool:
    """Whether the run there is was to be stopped for that, perhaps by a former daemon."""
    stalled, run = life.stalled, life.run
    return stalled is not None and run is not None and stalled.run == run.id and stalled.action.stops


def stop_error(life: Life) -> str:
    """Why it was stopped."""
    return "it did not go on" + ("" if life.stalled is None else f": {life.stalled.why}")


def launch_after(life: Life, at: Instant) -> Step:
    """Launch an agent again that was stopped since it did not go on, whatever ``restart`` says, within max_restarts."""
    most = life.policy.max_restarts
    if life.desired is None:
        return follow(life, at), ()
    if most and life.counted >= most:
        error = f"{stop_error(life)}; it was restarted {life.counted} times already, max_restarts"
        return replace(life, state=AgentState.FAILED, stop=None, due=None, error=error, outcome=Exit(error=error)), ()
    return launch_again(life, at)
