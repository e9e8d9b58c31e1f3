"""The steps of a life whose changed definition waits to be applied; no clock, no I/O."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from agentd.model.spec import ApplyWhen, Policy
from agentd.model.states import Activity, AgentState
from agentd.supervise.applying import Hold, busy, waits
from agentd.supervise.desired import DesiredAgent
from agentd.supervise.life import Instant, Life, LookAtUse, Step, StopReason
from agentd.supervise.plan import changed_parts
from agentd.supervise.steps import request_stop

LOOK_EVERY: Final = 2.0
"""Seconds between two looks at an agent whose change waits."""

SETTLED: Final = 1.0
"""Seconds for which it must have done nothing: the next message may follow at once."""


def holds(life: Life, before: Policy, parts: Collection[str], at: Instant) -> bool:
    """Say whether a changed launch waits; `before` is the policy that was in force.

    Before its process runs there is nothing to protect, unless a former daemon held the change.
    """
    adopted = life.state is AgentState.STARTING and life.hold is not None and life.session_open
    if life.state is not AgentState.RUNNING and not adopted:
        return False
    hold = life.hold
    use, held_for = (None, None) if hold is None else (hold.use, at.now - hold.since)
    return bool(waits(before, life.policy, parts, use, held_for))


def hold(life: Life, running: DesiredAgent | None, at: Instant) -> Step:
    """Have the declared launch wait; until it is applied, the life goes on as `running`."""
    assert life.run is not None
    run_id = life.run.id
    life = replace(life, desired=running, held=life.desired)
    known = life.hold or Hold(at.now, at.wall)
    if life.policy.apply is ApplyWhen.ASK:
        return replace(life, hold=replace(known, use=None, look=None, told=True)), ()
    if known.look is not None:
        return replace(life, hold=known), ()
    return replace(life, hold=replace(known, look=at.now + LOOK_EVERY)), (LookAtUse(run_id),)


def seen(life: Life, run_id: str, use: tuple[str, ...], at: Instant) -> Step:
    """Take what speaks against a restart."""
    held, run = life.hold, life.run
    if held is None or life.held is None or run is None or run.id != run_id or life.state is not AgentState.RUNNING:
        return life, ()
    if life.policy.apply is not ApplyWhen.IDLE:
        # It was asked for under another policy.
        return life, ()
    life = replace(life, hold=replace(held, use=use, look=at.now + LOOK_EVERY, told=held.told or bool(use)))
    return _apply_if_due(life, at)


def activity_changed(life: Life, activity: Activity, at: Instant) -> Life:
    """Look soon at an agent that has come to rest."""
    hold = life.hold
    if hold is None or hold.look is None or life.held is None or busy(activity, resumes=False):
        return life
    return replace(life, hold=replace(hold, look=at.now + SETTLED))


def look(life: Life, at: Instant) -> Step:
    """Time has passed: the deadline may be over, or a look due."""
    held = life.hold
    if held is None or life.held is None or life.state is not AgentState.RUNNING:
        return life, ()
    life, effects = _apply_if_due(life, at)
    if life.hold is None or held.look is None or held.look > at.now:
        return life, effects
    assert life.run is not None
    return replace(life, hold=replace(held, look=at.now + LOOK_EVERY)), (LookAtUse(life.run.id),)


def _apply_if_due(life: Life, at: Instant) -> Step:
    assert life.hold is not None
    assert life.held is not None
    parts = changed_parts(life.fingerprint, life.held.fingerprint)
    if waits(life.policy, life.policy, parts, life.hold.use, at.now - life.hold.since):
        return life, ()
    return request_stop(life, StopReason.CHANGED, at)


def wake_at(life: Life) -> float | None:
    """When the life of a running agent wants `look`, monotonic."""
    hold, limit = life.hold, life.policy.apply_deadline
    if hold is None or life.held is None:
        return None
    times = [each for each in (hold.look, None if limit is None else hold.since + limit) if each is not None]
    return min(times, default=None)
