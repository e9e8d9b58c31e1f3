"""Which workers may be launched, by the policies of the jcard's ``[pool]``. Pure.

Judged for every launch, whoever declared the worker; who spawns one asks here first, to be told at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from agentd.model.events import Detail
from agentd.model.pool import OWNER, Block, PoolDeclaration, PoolProvider, WorkerIsolation
from agentd.model.spec import AgentSpec, AgentType
from agentd.text.durations import format_duration
from agentd.text.quoting import quote
from agentd.text.timestamps import rfc3339

SPENT: Final = 100.0
"""Percent."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a worker may not be launched."""

    policy: str
    """The field of ``[pool]``."""
    why: str
    until: float | None = None
    """When it would pass, in seconds since the epoch, if time decides and that is known."""
    when: str = ""
    """Else what has to change."""

    def __str__(self) -> str:
        """Say it on one line."""
        passes = self.when if self.until is None else f"it would pass from {rfc3339(self.until)} on"
        return f"refused by the policy {self.policy} of [pool]: {self.why}" + (f"; {passes}" if passes else "")


@dataclass(frozen=True, slots=True)
class Quota:
    """What a provider's program said of one quota of its account."""

    name: str
    used_percent: float
    resets_at: float | None
    at: float
    """When it said so."""

    def holds(self, now: float, stale_after: float) -> bool:
        """Whether it still counts: what is used stays used until the quota resets."""
        return self.ends(stale_after) >= now if self.resets_at is None else self.resets_at > now

    def ends(self, stale_after: float) -> float:
        """Until when it counts."""
        return self.at + stale_after if self.resets_at is None else self.resets_at


@dataclass(frozen=True, slots=True)
class Account:
    """What is known of a provider's account."""

    quotas: tuple[Quota, ...] = ()
    at_limit: bool = False
    """Whether an agent of it is at its usage limit."""
    limit_resets_at: float | None = None
    logged_out: bool = False


def facts_of(spec: AgentSpec) -> dict[str, Detail]:
    """Say in an event whose account an agent uses, and of a worker who wanted it as what."""
    worker = spec.worker
    facts = {} if worker is None else {"role": worker.role, "parent": worker.parent}
    return {"provider": provider_of(spec), **{name: value for name, value in facts.items() if value is not None}}


def is_worker(spec: AgentSpec) -> bool:
    """Whether an agent is a worker: its file stands in the folder of workers."""
    return spec.owner == OWNER


def provider_of(spec: AgentSpec) -> str:
    """Give the id of a worker's provider."""
    return spec.harness if spec.worker is None else spec.worker.provider


def isolation_of(spec: AgentSpec) -> WorkerIsolation:
    """Say how a worker is isolated, by how it is run, not by what its file says of it."""
    if spec.type is AgentType.SANDBOXED:
        read_only = spec.checkout is not None and spec.checkout.read_only
        return WorkerIsolation.READ_ONLY if read_only else WorkerIsolation.SANDBOXED
    return WorkerIsolation.NONE if spec.checkout is None else WorkerIsolation.WORKTREE


def refusal(spec: AgentSpec, pool: PoolDeclaration, command_of: Callable[[str], bool]) -> Refusal | None:
    """Judge a worker by what it is.

    Parameters
    ----------
    command_of
        Whether a harness runs any command that it is given.
    """
    return _by_provider(spec, pool, command_of) or by_isolation(isolation_of(spec), pool)


def _by_provider(spec: AgentSpec, pool: PoolDeclaration, command_of: Callable[[str], bool]) -> Refusal | None:
    provider = provider_of(spec)
    by_name = by_provider(provider, pool)
    if by_name is not None:
        return by_name
    known = next((each for each in pool.providers if each.id == provider), None)
    harness = provider if known is None else known.harness
    policy = "denied_providers" if pool.denied_providers else "allowed_providers"
    restricted = bool(pool.denied_providers) or pool.allowed_providers is not None
    if spec.harness != harness:
        why = (
            f"the worker says that its provider is {quote(provider)}, which is {quote(harness)}; it runs {spec.harness}"
        )
        return Refusal(policy, why, when="its file must name the provider that it runs")
    if restricted and command_of(spec.harness) and not _runs(spec, known):
        why = f"it runs {quote(Path((*spec.command, '')[0]).name)}, which is no provider's command"
        return Refusal(policy, why, when="[[pool.providers]] must declare that command")
    return None


def _runs(spec: AgentSpec, known: PoolProvider | None) -> bool:
    command = () if known is None else known.command
    return spec.command[: len(command)] == command and (bool(command) or not spec.command)


def by_provider(provider: str, pool: PoolDeclaration) -> Refusal | None:
    """Judge a provider by its id."""
    if provider in pool.denied_providers:
        return Refusal("denied_providers", f"{quote(provider)} is among them", when="another provider may do")
    allowed = pool.allowed_providers
    if allowed is not None and provider not in allowed:
        which = ", ".join(map(quote, allowed)) or "none"
        return Refusal("allowed_providers", f"{quote(provider)} is not among them: {which}", when="another one may do")
    return None


def by_isolation(isolation: WorkerIsolation, pool: PoolDeclaration) -> Refusal | None:
    """Judge a kind of isolation."""
    wanted = pool.require_isolation
    if wanted is None or isolation in wanted:
        return None
    which = ", ".join(wanted)
    return Refusal("require_isolation", f"isolation is {isolation}, expected {which}", when=f"with {which} it passes")


def by_count(alive: int, pool: PoolDeclaration) -> Refusal | None:
    """Judge one more worker by how many there are."""
    if alive < pool.max_workers:
        return None
    there = f"{alive} {'worker is' if alive == 1 else 'workers are'} at work, and {pool.max_workers} may be"
    return Refusal("max_workers", there, when="one must end first, or be terminated")


def by_account(account: Account, pool: PoolDeclaration, now: float) -> Refusal | None:
    """Judge by what is known of the provider's account.

    Parameters
    ----------
    now
        Seconds since the epoch.
    """
    return _by_limit(account, pool, now) or _by_remaining(account, pool, now) or _by_knowledge(account, pool, now)


def _by_limit(account: Account, pool: PoolDeclaration, now: float) -> Refusal | None:
    if Block.AUTH_ERROR in pool.block_on and account.logged_out:
        return Refusal("block_on", "auth_error: its program says that it is not logged in", when="log in first")
    spent = [each for each in account.quotas if each.used_percent >= SPENT and each.holds(now, pool.usage_stale_after)]
    over = account.at_limit and (account.limit_resets_at is None or account.limit_resets_at > now)
    if Block.LIMIT_REACHED not in pool.block_on or not (over or spent):
        return None
    resets = [each.ends(pool.usage_stale_after) for each in spent] + ([account.limit_resets_at] if over else [])
    known = [each for each in resets if each is not None]
    until = max(known) if len(known) == len(resets) else None
    names = ", ".join(each.name for each in spent) or "its usage limit"
    why = f"limit_reached: {names} is used up{_untold(spent)}"
    return Refusal("block_on", why, until, "when that resets is not known")


def _by_remaining(account: Account, pool: PoolDeclaration, now: float) -> Refusal | None:
    low = [
        each
        for each in account.quotas
        if SPENT - each.used_percent < pool.min_remaining_percent and each.holds(now, pool.usage_stale_after)
    ]
    if not low:
        return None
    least = max(low, key=lambda each: each.used_percent)
    until = max(each.ends(pool.usage_stale_after) for each in low)
    left = SPENT - least.used_percent
    why = f"{left:g} % of {least.name} is left, and {pool.min_remaining_percent:g} % must be{_untold(low)}"
    return Refusal("min_remaining_percent", why, until)


def _untold(quotas: Sequence[Quota]) -> str:
    """Say of quotas whose reset nobody told how long they count."""
    untold = any(each.resets_at is None for each in quotas)
    return " (when it resets was not told: it counts for usage_stale_after)" if untold else ""


def _by_knowledge(account: Account, pool: PoolDeclaration, now: float) -> Refusal | None:
    if not account.quotas:
        unknown = Block.USAGE_UNKNOWN in pool.block_on
        why = "usage_unknown: nothing is known of its quota"
        return Refusal("block_on", why, when="it passes once its program has told it") if unknown else None
    if Block.USAGE_STALE in pool.block_on and is_stale(account, pool, now):
        age = format_duration(round(now - max(each.at for each in account.quotas)))
        why = f"usage_stale: what is known of its quota is {age} old"
        return Refusal("block_on", why, when="agentctl usage --refresh may have newer numbers")
    return None


def is_stale(account: Account, pool: PoolDeclaration, now: float) -> bool:
    """Whether what is known of the quota is too old, or nothing is known."""
    newest = max((each.at for each in account.quotas), default=None)
    return newest is None or now - newest > pool.usage_stale_after


def bounded(spec: AgentSpec, pool: PoolDeclaration) -> AgentSpec:
    """Bound a worker's life."""
    most, own = pool.max_runtime, spec.policy.timeout
    if most is None or (own is not None and own <= most):
        return spec
    return replace(spec, policy=replace(spec.policy, timeout=most))
