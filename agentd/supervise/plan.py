"""Desired state and observed state in, operations with reasons out: a function of frozen values.

The reconciler executes what it returns, ``GET /v1/plan`` shows it, and ``agentctl plan FILE`` computes it for another
file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum

from agentd.model.capacity import Queued
from agentd.model.spec import Policy
from agentd.model.states import AgentState
from agentd.supervise.applying import STARTS, waits

_NOT_YET = {
    AgentState.PENDING: "declared and not launched yet",
    AgentState.QUEUED: "declared and not launched yet",
    AgentState.DISABLED: "enabled",
}
"""Why an agent is launched, by its state before."""

Fingerprint = Mapping[str, str]
"""Digest of each part of a launch, by part; two launches are the same if all parts are."""

LIMITS_PART = "limits"
"""Part of the fingerprint of a run with limits, and so with a control group, whatever these are."""


class Action(StrEnum):
    """What to do with an agent."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    """End the run there is and launch anew; also: launch an ended agent anew because its definition changed."""
    CHANGE = "change"
    """Apply another policy without touching the process."""


@dataclass(frozen=True, slots=True)
class DesiredView:
    """What the plan needs to know of a declared agent."""

    name: str
    enabled: bool
    policy: Policy
    fingerprint: Fingerprint | None
    """``None`` while the launch cannot be known (an unreadable prompt file): that is no reason to stop what runs."""
    queued: Queued | None = None
    """Its place in the queue, if it must not be launched yet."""


@dataclass(frozen=True, slots=True)
class ObservedView:
    """What the plan needs to know of an agent that there is."""

    name: str
    state: AgentState
    policy: Policy | None
    """The policy in force."""
    fingerprint: Fingerprint | None
    """Of the launch in force, or of the last one."""
    session_open: bool
    leaving: bool = False
    """Whether a stop under way ends in removal, whatever was declared since."""
    use: tuple[str, ...] | None = None
    """What speaks against a restart; ``None`` while that is not known."""
    held_since: float | None = None
    """Since when a change waits to be applied, monotonic."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing to do, and why."""

    action: Action
    agent: str
    reason: str
    fields: tuple[str, ...] = ()
    """The parts that differ."""
    waits: tuple[str, ...] = ()
    """What a start or restart waits for; empty if for nothing."""


def changed_parts(old: Fingerprint | None, new: Fingerprint | None) -> tuple[str, ...]:
    """Name the parts of a launch that differ, sorted: if any do, it is another launch.

    Nothing counts as changed while the new one cannot be known.
    """
    if new is None or old == new:
        return ()
    if not old:
        return tuple(sorted(new))
    old = dict(old)
    for part in (LIMITS_PART, *STARTS):
        if part not in new:
            # The last limit is taken away in place; a run goes on without the schedule or trigger that started it.
            old.pop(part, None)
    return tuple(sorted(part for part in {*old, *new} if old.get(part) != new.get(part)))


def changed_policy(old: Policy | None, new: Policy) -> tuple[str, ...]:
    """Name the policy fields that differ, in order of declaration."""
    # Equal at nearly every pass; comparing each field takes half of a pass over 300 agents.
    if old is None or old == new:
        return ()
    return tuple(field.name for field in fields(Policy) if getattr(old, field.name) != getattr(new, field.name))


def plan(desired: Iterable[DesiredView], observed: Iterable[ObservedView], now: float = 0.0) -> tuple[Operation, ...]:
    """Compute what turns the observed state into the desired one, sorted by agent.

    Both sides are keyed by agent name. Applying every operation and planning again yields nothing but what waits.

    Parameters
    ----------
    now
        Monotonic, in seconds; it decides whether a change has waited long enough.
    """
    wanted = {view.name: view for view in desired}
    existing = {view.name: view for view in observed}
    operations = []
    for name in sorted({*wanted, *existing}):
        operation = _plan_one(wanted.get(name), existing.get(name), now)
        if operation is not None:
            operations.append(operation)
    return tuple(operations)


def _plan_one(desired: DesiredView | None, observed: ObservedView | None, now: float) -> Operation | None:
    if desired is None:
        assert observed is not None
        return Operation(Action.STOP, observed.name, "no longer declared")
    if not desired.enabled:
        return _plan_disabled(desired, observed)
    queued = () if desired.queued is None else (str(desired.queued),)
    if observed is None or observed.state in _NOT_YET:
        state = AgentState.PENDING if observed is None else observed.state
        reason = "there is a slot for it" if state is AgentState.QUEUED and not queued else _NOT_YET[state]
        due = _due(changed_parts(None if observed is None else observed.fingerprint, desired.fingerprint))
        reason = "; ".join(due) or reason
        return Operation(Action.START, desired.name, reason, waits=queued)
    if observed.leaving:
        return Operation(Action.RESTART, desired.name, "declared again while it was being stopped")
    parts = changed_parts(observed.fingerprint, desired.fingerprint)
    if parts:
        others = [part for part in parts if part not in STARTS]
        reason = "; ".join([*_due(parts), *["changed: " + ", ".join(others)] * bool(others)])
        if not others and observed.state.ended:
            return Operation(Action.START, desired.name, reason, parts, queued)
        return Operation(Action.RESTART, desired.name, reason, parts, queued or _waits(desired, observed, parts, now))
    names = changed_policy(observed.policy, desired.policy)
    if names:
        return Operation(Action.CHANGE, desired.name, "changed: " + ", ".join(names), names)
    return None


def _due(parts: Iterable[str]) -> list[str]:
    """Say what a start is for, by the parts of the launch that differ."""
    return [STARTS[part] for part in parts if part in STARTS]


def _waits(desired: DesiredView, observed: ObservedView, parts: tuple[str, ...], now: float) -> tuple[str, ...]:
    if observed.state is not AgentState.RUNNING:
        return ()
    held_for = None if observed.held_since is None else now - observed.held_since
    return waits(observed.policy, desired.policy, parts, observed.use, held_for)


def _plan_disabled(desired: DesiredView, observed: ObservedView | None) -> Operation | None:
    if observed is None or observed.state is AgentState.DISABLED:
        return None
    return Operation(Action.STOP, desired.name, "disabled")
