"""Who may be launched now: workers as ``[pool]`` allows, and all agents as there are slots.

Judged in one place and one step of the event loop, from what is declared and the lives there are, so that two launches
never take one slot. A slot is held from the admission until the last run has ended for good, a launch that was given up
only once its processes are gone: whoever waits to be restarted keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from agentd.model.capacity import Capacity, Claims, Queued
from agentd.model.pool import NO_POLICIES, PoolDeclaration
from agentd.model.states import AgentState
from agentd.supervise.desired import DesiredAgent
from agentd.supervise.life import Life
from agentd.supervise.ordering import unmet
from agentd.supervise.plan import changed_parts
from agentd.supervise.queueing import Candidate, Holder, queue
from agentd.supervise.worker_policies import Refusal, by_count, is_worker, provider_of

_UNDER_WAY: Final = frozenset({AgentState.STARTING, AgentState.RUNNING, AgentState.STOPPING})
_NOT_YET: Final = frozenset({AgentState.PENDING, AgentState.QUEUED, AgentState.DISABLED})


@dataclass(slots=True)
class Admission:
    """Admits no more agents at once than may be."""

    pool: PoolDeclaration = NO_POLICIES
    capacity: Capacity | None = None
    """``None``: no limit."""
    holds: Callable[[str], str | None] = lambda _: None
    """Why an agent may not be launched by its budget, if it may not."""
    _refused: dict[str, tuple[DesiredAgent, DesiredAgent]] = field(default_factory=dict)
    """By name: as declared, and as it is refused."""
    _queued: dict[str, tuple[DesiredAgent, DesiredAgent]] = field(default_factory=dict)
    """By name: as declared, and with its place in the queue."""

    @property
    def waits(self) -> bool:
        """Whether anybody is in the queue."""
        return bool(self._queued)

    def admit(
        self,
        desired: Mapping[str, DesiredAgent],
        lives: Mapping[str, Life],
        now: float,
        workers: Container[str] = (),
        other: Callable[[str], Refusal | None] = lambda _: None,
    ) -> Mapping[str, DesiredAgent]:
        """Give the declarations, of those that must wait with the reason.

        Parameters
        ----------
        lives
            Of the agents that there are, by name.
        now
            Seconds since the epoch.
        workers
            Names of the lives that are workers'.
        other
            What else speaks against launching a worker of a provider now.
        """
        of_workers = {name: life for name, life in lives.items() if name in workers}
        return self._enqueue(self._refuse(desired, of_workers, other), lives, now)

    def _refuse(
        self, desired: Mapping[str, DesiredAgent], lives: Mapping[str, Life], other: Callable[[str], Refusal | None]
    ) -> Mapping[str, DesiredAgent]:
        """Replace workers that the policies are against by the reason."""
        workers = [each for each in desired.values() if is_worker(each.spec) and each.spec.enabled]
        if not workers:
            return desired
        alive = {name for name, life in lives.items() if _counts(life)}
        count = len(alive)
        refused: dict[str, tuple[DesiredAgent, DesiredAgent]] = {}
        for each in _oldest_first(workers):
            name = each.spec.name
            if name in alive or each.error is not None or _stays_ended(each, lives.get(name)):
                continue
            refusal = by_count(count, self.pool) or other(provider_of(each.spec))
            if refusal is None:
                count += 1
            else:
                refused[name] = each, self._refusing(each, str(refusal))
        self._refused = refused
        return {name: refused[name][1] if name in refused else each for name, each in desired.items()}

    def _refusing(self, desired: DesiredAgent, reason: str) -> DesiredAgent:
        known = self._refused.get(desired.spec.name)
        if known is not None and known[0] is desired and known[1].error == reason:
            return known[1]
        return DesiredAgent(desired.spec, None, reason, None)

    def _enqueue(
        self, desired: Mapping[str, DesiredAgent], lives: Mapping[str, Life], now: float
    ) -> Mapping[str, DesiredAgent]:
        """Have those wait that are to be launched after others, and for which there is no slot."""
        later, held = unmet(desired, lives), self._held(desired, lives)
        if self.capacity is None and not later and not held:
            self._queued = {}
            return desired
        holders = {each.name: each for each in _holders(desired, lives)}
        waiting = {
            name: Queued(None, reason, self._since(name, now))
            for name, reason in later.items()
            if name not in holders and desired[name].queued is None and _is_launchable(desired[name], lives.get(name))
        }
        waiting |= {name: Queued(None, reason, self._since(name, now)) for name, reason in held.items()}
        if self.capacity is not None:
            candidates = self._candidates(desired, lives, holders, now)
            waiting |= queue((each for each in candidates if each.name not in waiting), holders.values(), self.capacity)
        queued: dict[str, tuple[DesiredAgent, DesiredAgent]] = {}
        for name, place in waiting.items():
            declared = desired[name]
            known = self._queued.get(name)
            if known is not None and known[0] is declared and known[1].queued == place:
                queued[name] = known
            else:
                queued[name] = declared, replace(declared, queued=place)
        self._queued = queued
        return {name: queued[name][1] if name in queued else each for name, each in desired.items()}

    def _held(self, desired: Mapping[str, DesiredAgent], lives: Mapping[str, Life]) -> Mapping[str, str]:
        """Say who has no budget for a launch, also for a restart, and which is used up."""
        found = {}
        for name, each in desired.items():
            if each.queued is not None or (each.spec.policy.budget is None and each.spec.worker is None):
                continue
            life = lives.get(name)
            if (life is not None and life.state in _UNDER_WAY) or not _is_launchable(each, life):
                continue
            reason = self.holds(name)
            if reason is not None:
                found[name] = reason
        return found

    def _candidates(
        self, desired: Mapping[str, DesiredAgent], lives: Mapping[str, Life], holders: Mapping[str, Holder], now: float
    ) -> Iterator[Candidate]:
        for order, (name, declared) in enumerate(desired.items()):
            claims, life, holder = declared.claims, lives.get(name), holders.get(name)
            judged = _is_launchable(declared, life) if holder is None else claims not in holder.claims
            if claims is None or not judged or declared.queued is not None:
                continue
            policy = declared.spec.policy
            yield Candidate(name, policy.memory, claims, policy.priority, self._since(name, now), order, holder)

    def _since(self, name: str, now: float) -> float:
        known = self._queued.get(name)
        return now if known is None or known[1].queued is None else known[1].queued.since


def _is_launchable(desired: DesiredAgent, life: Life | None) -> bool:
    """Whether an agent that holds no slot is to be launched, or may be by another policy."""
    if not desired.spec.enabled or desired.launch is None:
        # What cannot be launched says why instead of waiting to say so.
        return False
    if life is None or life.state in _NOT_YET or life.view.leaving:
        return True
    return not _stays_ended(desired, life) or life.policy != desired.spec.policy


def _holders(desired: Mapping[str, DesiredAgent], lives: Mapping[str, Life]) -> Iterator[Holder]:
    for name, life in lives.items():
        if not _holds(life):
            continue
        declared = desired.get(name)
        memory = life.policy.memory
        if declared is not None and declared.spec.enabled:
            memory = max(memory or 0, declared.spec.policy.memory or 0)
        yield Holder(name, memory, tuple(_claims(life, declared)))


def _claims(life: Life, declared: DesiredAgent | None) -> Iterator[Claims]:
    """What a life that holds a slot takes: of its run, and of the launch that was admitted to follow it."""
    launched = life.claims
    if launched is None and declared is not None:
        # It was launched before anything was counted.
        launched = declared.claims
    if launched is not None:
        yield launched
    following = life.declared
    if following is not None and following.queued is None and following.claims is not None:
        yield following.claims


def _holds(life: Life) -> bool:
    """Whether an agent runs, or will without being judged again."""
    if life.state in _UNDER_WAY:
        return True
    desired = life.desired
    if life.state is AgentState.BACKOFF:
        return desired is None or desired.launch is not None
    # It had ended and is removed, but is declared again already.
    return life.stop is not None and desired is not None and desired.launch is not None and desired.queued is None


def _counts(life: Life) -> bool:
    """Whether a worker's program has not ended, or will be launched without being judged again."""
    admitted = life.desired is not None and life.desired.launch is not None
    waits = life.state in (AgentState.PENDING, AgentState.QUEUED, AgentState.BACKOFF) or bool(life.refusals)
    return life.state in _UNDER_WAY or (admitted and waits)


def _stays_ended(desired: DesiredAgent, life: Life | None) -> bool:
    if life is None or not life.state.ended:
        return False
    return life.fingerprint is not None and not changed_parts(life.fingerprint, desired.fingerprint)


def _oldest_first(workers: Iterable[DesiredAgent]) -> list[DesiredAgent]:
    def age(each: DesiredAgent) -> tuple[str, str]:
        worker = each.spec.worker
        return (worker.spawned_at if worker is not None and worker.spawned_at else "~", each.spec.name)

    return sorted(workers, key=age)
