"""When a change that makes another launch ends a run: functions of frozen values, without clock or I/O."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agentd.model.spec import ApplyWhen, Policy
from agentd.model.states import Activity

RESTARTED_PART: Final = "restarted_at"
"""Part of a launch by which somebody asks for a restart."""

SCHEDULE_PART: Final = "schedule"
"""Part of a launch that says for which time of a schedule it is."""

TRIGGER_PART: Final = "trigger"
"""Part of a launch that says what came by a trigger of the agent."""

STARTS: Final = {SCHEDULE_PART: "due by its schedule", TRIGGER_PART: "started by its trigger"}
"""The parts of a launch that say what a start is for, and how a plan tells it."""

ASKS: Final = "for agentctl apply"
NOT_SEEN: Final = "what it does is not seen yet"
ATTACHED: Final = "attached"
DRAFT: Final = "draft in the box"
NO_BOX: Final = "its input box is not shown"
RESUMES: Final = "goes on after its usage limit"

_BUSY: Final = {
    Activity.WORKING: "working",
    Activity.WAITING_PERMISSION: "asks for permission",
    Activity.WAITING_INPUT: "asks a question",
    Activity.UNKNOWN: "what it does is not known",
}
"""The activities that a restart would interrupt, or might, in words."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A change that waits to be applied."""

    since: float
    """Monotonic."""
    since_wall: float
    use: tuple[str, ...] | None = None
    """What spoke against a restart when that was last looked at; ``None`` before."""
    look: float | None = None
    """When that is to be looked at next, monotonic."""
    told: bool = False
    """Whether an event told that it waits."""

    @property
    def kept(self) -> Hold:
        """What of it a later daemon must know."""
        return replace(self, use=None, look=None)


def busy(activity: Activity, *, resumes: bool) -> tuple[str, ...]:
    """Say in words what an agent does that a restart would interrupt.

    Parameters
    ----------
    resumes
        Whether it waits to be told to go on after its usage limit.
    """
    known = _BUSY.get(activity)
    return (*(() if known is None else (known,)), *((RESUMES,) if resumes else ()))


def waits(
    before: Policy | None, policy: Policy, parts: Collection[str], use: Sequence[str] | None, held_for: float | None
) -> tuple[str, ...]:
    """Say what a change of a running agent's launch waits for; empty if it is to be applied now.

    Parameters
    ----------
    before
        The policy in force, ``None`` if that is not known.
    policy
        The declared one.
    parts
        Of the launch, that differ.
    use
        What speaks against a restart; ``None`` while that is not known.
    held_for
        Seconds it has waited; ``None`` if it does not wait yet.
    """
    said = before is not None and before.applied_at != policy.applied_at
    if policy.apply is ApplyWhen.NOW or RESTARTED_PART in parts or said or not STARTS.keys().isdisjoint(parts):
        return ()
    if policy.apply_deadline is not None and held_for is not None and held_for >= policy.apply_deadline:
        return ()
    if policy.apply is ApplyWhen.ASK:
        return (ASKS,)
    return (NOT_SEEN,) if use is None else tuple(use)
