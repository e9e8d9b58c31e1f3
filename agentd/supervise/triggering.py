"""What came by an agent's triggers, and which of it a run is for: functions of frozen values, without clock or I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from agentd.harness.base import HarnessError
from agentd.launch.launcher import oversized
from agentd.model.capacity import Queued
from agentd.model.order import Overlap
from agentd.model.states import AgentState
from agentd.model.triggers import Delivery, Trigger
from agentd.supervise.applying import RESTARTED_PART, TRIGGER_PART
from agentd.supervise.desired import DesiredAgent
from agentd.supervise.life import Life
from agentd.supervise.plan import changed_parts
from agentd.supervise.scheduling import NOT_LAUNCHED, is_busy
from agentd.text.prompt_variables import filled

MOST_WAITING: Final = 100
"""Deliveries of an agent that wait."""

MOST_DONE: Final = 500
"""Ids of an agent that are kept, so that what comes once more is known."""

_BEGUN: Final = frozenset(AgentState) - NOT_LAUNCHED
"""States in which what was launched has a process, had one, or was refused."""

_NOT_KNOWN: Final = "what its trigger brought is not known; its prompt has variables for it"


@dataclass(frozen=True, slots=True)
class Standing:
    """What came for an agent."""

    since: float
    """When its triggers were declared, in seconds since the epoch."""
    waiting: tuple[Delivery, ...] = ()
    """For a run each, in order."""
    current: Delivery | None = None
    """What the last run is for."""
    done: tuple[str, ...] = ()
    """Ids of all that came lately."""
    by_hand: bool = False
    """Whether somebody asked to run the last one again."""
    restarted_at: str | None = None
    """As declared: a change of it is a start by hand."""


class Verdict(StrEnum):
    """What becomes of a delivery."""

    ACCEPTED = "accepted"
    """There will be a run for it."""
    SKIPPED = "skipped"
    """It is left out."""
    KNOWN = "known"
    """It came before."""
    FULL = "full"
    """Too much waits; it may be offered again."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided on a delivery."""

    verdict: Verdict
    standing: Standing
    reason: str | None = None


def accept(standing: Standing, trigger: Trigger, delivery: Delivery, life: Life | None) -> Decision:
    """Decide on what came by a trigger of an agent."""
    if delivery.id in standing.done:
        return Decision(Verdict.KNOWN, standing)
    if has_begun(life, delivery):
        # What was kept of it is lost: the run itself tells.
        return Decision(Verdict.KNOWN, replace(_noted(standing, delivery), current=delivery))
    if trigger.overlap is Overlap.SKIP and (standing.waiting or is_busy(life)):
        is_now = "is not launched yet" if life is None else f"is {life.state}"
        reason = f"a run is not over, and overlap is {Overlap.SKIP}: the agent {is_now}"
        return Decision(Verdict.SKIPPED, _noted(standing, delivery), reason)
    if len(standing.waiting) >= MOST_WAITING:
        return Decision(Verdict.FULL, standing, f"{MOST_WAITING} wait for a run already")
    return Decision(Verdict.ACCEPTED, replace(_noted(standing, delivery), waiting=(*standing.waiting, delivery)))


def _noted(standing: Standing, delivery: Delivery) -> Standing:
    return replace(standing, done=(*standing.done, delivery.id)[-MOST_DONE:])


def started_for(life: Life | None) -> str | None:
    """Give the id of what an agent was last launched for."""
    return None if life is None or life.fingerprint is None else life.fingerprint.get(TRIGGER_PART)


def has_begun(life: Life | None, delivery: Delivery) -> bool:
    """Whether the last run of an agent is for what came, and has begun."""
    return life is not None and started_for(life) == delivery.id and life.state in _BEGUN


def advance(desired: DesiredAgent, standing: Standing | None, life: Life | None, now: float) -> Standing:
    """Take note of what was launched, and of what was asked for by hand; the same object if there is no news.

    Parameters
    ----------
    desired
        An agent that has triggers.
    standing
        What came for it; ``None`` if it was not declared.
    """
    restarted_at = desired.spec.restarted_at
    if standing is None:
        return Standing(now, restarted_at=restarted_at)
    first = standing.waiting[0] if standing.waiting else None
    if first is not None and has_begun(life, first):
        # Not before its process is there: until then another agentd may have to launch it.
        standing = replace(standing, current=first, waiting=standing.waiting[1:], by_hand=False)
    if standing.by_hand and life is not None and life.fingerprint is not None and not _asked_again(desired, life):
        standing = replace(standing, by_hand=False)
    if standing.restarted_at != restarted_at:
        can = standing.current is not None or desired.template is None
        standing = replace(standing, restarted_at=restarted_at, by_hand=can and not is_busy(life))
    return standing


def _asked_again(desired: DesiredAgent, life: Life) -> bool:
    return RESTARTED_PART in changed_parts(life.fingerprint, desired.fingerprint)


def triggered(desired: DesiredAgent, standing: Standing, life: Life | None) -> DesiredAgent:
    """Give the declaration of an agent as its triggers have it: for what came, or waiting for the next."""
    if not desired.spec.enabled or desired.launch is None:
        return desired
    was, busy = started_for(life), is_busy(life)
    as_it_is = _as_started(desired, standing, was, life)
    if standing.by_hand:
        return desired if standing.current is None else _for(desired, standing.current)
    if standing.waiting and (not busy or _ends_run(desired, standing.waiting[0]) or _never_ran(life, was)):
        return _for(desired, standing.waiting[0])
    if life is not None:
        stays = life.state.ended and life.stop is None and not changed_parts(life.fingerprint, as_it_is.fingerprint)
        if busy or stays:
            return as_it_is
    return replace(as_it_is, queued=Queued(None, until(desired.spec.triggers), standing.since, by_clock=True))


def _ends_run(desired: DesiredAgent, delivery: Delivery) -> bool:
    return any(each.name == delivery.trigger and each.overlap is Overlap.STOP for each in desired.spec.triggers)


def _never_ran(life: Life | None, was: str | None) -> bool:
    """Whether it is busy with nothing but trying to launch what it had no values for."""
    return was is None and life is not None and life.state is AgentState.BACKOFF


def _as_started(desired: DesiredAgent, standing: Standing, was: str | None, life: Life | None) -> DesiredAgent:
    """Give the declaration for what an agent was last launched for."""
    if was is None:
        unknown = desired.template is not None and life is not None and life.fingerprint is not None
        return replace(desired, launch=None, error=_NOT_KNOWN) if unknown else desired
    known = (*standing.waiting[:1], *(() if standing.current is None else (standing.current,)))
    delivery = next((each for each in known if each.id == was), None)
    return _marked(desired, was, None) if delivery is None else _for(desired, delivery)


def _for(desired: DesiredAgent, delivery: Delivery) -> DesiredAgent:
    return _marked(desired, delivery.id, delivery)


def _marked(desired: DesiredAgent, id_: str, delivery: Delivery | None) -> DesiredAgent:
    if desired.fingerprint is None:
        return desired
    # What is compared is the prompt as declared, and the id: no value is needed to know that a run is for it.
    return with_values(replace(desired, fingerprint={**desired.fingerprint, TRIGGER_PART: id_}), delivery)


def with_values(desired: DesiredAgent, delivery: Delivery | None) -> DesiredAgent:
    """Put what came in place of the variables of the prompt; with an error, it cannot be launched."""
    template, launch = desired.template, desired.launch
    if template is None or launch is None:
        return desired
    error: str | None = _NOT_KNOWN
    if delivery is not None:
        try:
            prompt = filled(template.request.prompt, delivery.values)
            argv = tuple(template.harness.argv(replace(template.request, prompt=prompt)))
            error = oversized(argv, launch.environment)
            launch = replace(launch, argv=argv)
        except KeyError as problem:
            error = f"the trigger {delivery.trigger} brought no {problem.args[0]}, which its prompt has a variable for"
        except HarnessError as problem:
            error = str(problem)
    return replace(desired, launch=None if error is not None else launch, error=error)


def until(triggers: Sequence[Trigger]) -> str:
    """Say in words what starts an agent."""
    return "it is started by the trigger " + ", or ".join(map(str, triggers))
