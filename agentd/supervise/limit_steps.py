"""The steps of a life at a usage limit: hit, waiting, told to go on, over; no clock, no I/O."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agentd.model.states import Activity, AgentState
from agentd.model.usage_limits import LimitAction
from agentd.supervise.life import GoOn, Instant, Life, Step, StopReason
from agentd.supervise.steps import request_stop
from agentd.supervise.usage_limits import AGAIN, Limited, LimitHit, decide, spread

_LOOK_EVERY: Final = 60.0
"""Seconds between two looks at the wall clock."""

_GOES_ON: Final = (Activity.WORKING, Activity.WAITING_PERMISSION, Activity.WAITING_INPUT)


def observed(life: Life, run_id: str, activity: Activity, hit: LimitHit | None, at: Instant) -> Step:
    """Take what a run is doing, and the limit that it is at, if it is at one."""
    run, known = life.run, life.limited
    if run is None or run.id != run_id or life.state is not AgentState.RUNNING:
        return life, ()
    if hit is not None:
        if known is not None and known.hit == hit:
            return life, ()
        if known is not None and known.told and known.hit is not None and hit.at <= known.hit.at:
            # A later word on the same limit does not take back that it was told to go on.
            return replace(life, limited=replace(known, hit=hit)), ()
        resumes = 0 if known is None else known.resumes
        return reconsider(replace(life, limited=Limited(hit, resumes)), at)
    if known is None:
        return life, ()
    if activity is Activity.IDLE:
        # A turn has ended well, or a person has ended it.
        return replace(life, limited=None), ()
    if activity in _GOES_ON and known.hit is not None:
        return replace(life, limited=Limited(None, known.resumes) if known.resumes else None), ()
    return life, ()


def reconsider(life: Life, at: Instant) -> Step:
    """Decide anew what follows the limit that was hit: it was hit now, or the policy has changed."""
    if life.limited is None or life.state is not AgentState.RUNNING:
        return life, ()
    assert life.run is not None
    decided = decide(life.policy.on_usage_limit, life.limited, spread(life.name, life.run.id), at.zone)
    life = replace(life, limited=decided)
    if stops(life):
        return request_stop(life, StopReason.USAGE_LIMIT, at, error=stop_error(life))
    return look(life, at)


def look(life: Life, at: Instant) -> Step:
    """See whether it is time to go on."""
    limited, run = life.limited, life.run
    if limited is None or limited.due is None or run is None or life.state is not AgentState.RUNNING:
        return life, ()
    left = limited.due - at.wall
    if left > 0:
        return replace(life, limited=replace(limited, look=at.now + min(left, _LOOK_EVERY))), ()
    why = "it was told to go on"
    told = replace(limited, due=None, look=None, why=why, told=True, resumes=limited.resumes + 1)
    return replace(life, limited=told), (GoOn(run.id, told.resumes),)


def not_told(life: Life, run_id: str, error: str, at: Instant, *, held: bool = False) -> Step:
    """It could not be told to go on: it is told again, as long as it may go on by itself.

    Parameters
    ----------
    held
        Whether its budget was in the way: it then counts as not told at all.
    """
    limited, run, policy = life.limited, life.run, life.policy.on_usage_limit
    if limited is None or not limited.told or run is None or run.id != run_id or policy is None:
        return life, ()
    limited = replace(limited, told=False, resumes=limited.resumes - held)
    if policy.action is not LimitAction.WAIT or (policy.max_resumes and limited.resumes >= policy.max_resumes):
        return replace(life, limited=replace(limited, why=f"it could not be told to go on: {error}")), ()
    due, why = at.wall + AGAIN, f"it could not be told to go on, and is told again: {error}"
    return look(replace(life, limited=replace(limited, due=due, why=why)), at)


def stops(life: Life) -> bool:
    """Whether it is to be stopped for the limit that it has hit."""
    policy = life.policy.on_usage_limit
    at_limit = life.limited is not None and life.limited.hit is not None
    return at_limit and policy is not None and policy.action is LimitAction.STOP


def stop_error(life: Life) -> str:
    """Why it was stopped."""
    said = None if life.limited is None or life.limited.hit is None else life.limited.hit.text
    return "stopped at its usage limit" + (f": {said}" if said else "")


def wake_at(life: Life) -> float | None:
    """When the life of a running agent wants `look`, monotonic."""
    limited = life.limited
    if limited is None or limited.due is None:
        return None
    # After adoption, at once.
    return 0.0 if limited.look is None else limited.look
