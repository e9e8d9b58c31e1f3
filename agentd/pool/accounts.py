"""What is known of the accounts of providers: quota, tokens, cost."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from agentd.api.client.socket import Json, JsonObject
from agentd.files.worker import in_thread
from agentd.model.events import EventKind
from agentd.model.pool import PoolProvider
from agentd.model.states import Activity
from agentd.model.usage_sources import cost_source, usage_source
from agentd.pool.around import Around, look_around
from agentd.pool.pool import Pool
from agentd.pool.results.providers import Cost, ProviderUsage, TokenCounts, UsageReport, UsageWindow
from agentd.pool.statuses import Status, events_of, fields, statuses
from agentd.supervise.accounts import TOLD_BY, Accounts
from agentd.supervise.worker_policies import SPENT, Account, Quota, by_account, by_provider, is_stale
from agentd.text.iso8601 import seconds_of
from agentd.text.timestamps import rfc3339

_HOUR, _DAY = 3600.0, 86400.0

_KINDS: Final = (
    (5 * _HOUR, "5h"),
    (_DAY, "daily"),
    (7 * _DAY, "weekly"),
    (30 * _DAY, "monthly"),
)
"""By the length of the window; a month is told as 28 to 31 days."""

_WORDS: Final = (
    *(("five", "5h"), ("5h", "5h"), ("5-hour", "5h"), ("seven", "weekly"), ("week", "weekly"), ("month", "monthly")),
    *(("day", "daily"), ("daily", "daily")),
)
"""By what a name says, where the length of the window is not told."""

_TOKENS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


@dataclass(slots=True)
class Used:
    """Sums of what turns used."""

    tokens: dict[str, int] | None = None
    at: float | None = None
    cost: float | None = None
    cost_at: float | None = None

    def add(self, data: Mapping[str, Json], at: float | None) -> None:
        """Add one turn."""
        self.tokens = self.tokens or dict.fromkeys(_TOKENS, 0)
        self.at = at
        for name in _TOKENS:
            value = data.get(name)
            self.tokens[name] += value if isinstance(value, int) else 0
        cost = data.get("cost_usd")
        if isinstance(cost, int | float):
            self.cost = (self.cost or 0.0) + cost
            self.cost_at = at


@dataclass(slots=True)
class Known:
    """What events and statuses tell."""

    accounts: Accounts = field(default_factory=Accounts)
    used: dict[str, Used] = field(default_factory=dict)
    """By provider."""
    statuses: Mapping[str, Status] = field(default_factory=dict)

    def account(self, provider: str) -> Account:
        """Say what is known of a provider's account."""
        account = self.accounts.account(provider)
        own = [each for each in self.statuses.values() if self.accounts.provider(each.name) == provider]
        at_limit = [each for each in own if each.text("activity") == Activity.USAGE_LIMIT]
        resets = [seconds_of(fields(each.document.get("usage_limit")).get("resets_at")) for each in at_limit]
        known = [each for each in resets if each is not None]
        logged_out = any(each.text("activity") == Activity.AUTH_ERROR for each in own)
        until = max(known) if known and len(known) == len(resets) else None
        return Account(account.quotas, bool(at_limit), until, logged_out)


async def known_accounts(pool: Pool, around: Around, *, tokens: bool, refresh: bool = False) -> Known:
    """Find out what is known.

    Parameters
    ----------
    tokens
        Whether to sum up tokens and cost, too.
    refresh
        Whether to read the programs' newest records.

    Raises
    ------
    PoolError
        If agentd does not answer.
    """
    kinds = [*TOLD_BY, *([EventKind.TURN_USAGE] if tokens else [])]
    known = Known(statuses=await statuses(pool))
    events = await events_of(pool, kinds)
    for name, provider in around.agents.items():
        known.accounts.belongs(name, provider)
    for status in known.statuses.values():
        if known.accounts.provider(status.name) is None:
            known.accounts.belongs(status.name, status.text("harness") or "unknown")
    for event in events:
        _take(known, event)
    if refresh:
        # What reads records costs 50 ms to import.
        from agentd.pool.refreshing import read_newest  # noqa: PLC0415

        for provider, windows in (await read_newest(around)).items():
            for window in windows:
                known.accounts.tell(provider, window.quota, window.source, window.seconds)
    return known


def _take(known: Known, event: JsonObject) -> None:
    agent, kind, data = event.get("agent"), str(event.get("kind")), fields(event.get("data"))
    at = seconds_of(event.get("time"))
    if not isinstance(agent, str) or at is None:
        return
    if kind != EventKind.TURN_USAGE:
        plain = {name: value for name, value in data.items() if value is None or isinstance(value, str | int | float)}
        known.accounts.take(kind, agent, plain, at)
        return
    provider = known.accounts.provider(agent)
    if provider is not None:
        known.used.setdefault(provider, Used()).add(data, at)


async def usage(pool: Pool, provider: str | None = None, *, refresh: bool = False) -> UsageReport:
    """Say what is known of accounts.

    Parameters
    ----------
    provider
        Only this one.
    refresh
        Whether to read the newest records of the providers' programs first.

    Raises
    ------
    PoolError
        If there is no such provider, or agentd does not answer.
    """
    around = await look_around(pool)
    chosen = around.chosen(provider)
    known = await known_accounts(pool, around, tokens=True, refresh=refresh)
    unable = await in_thread("pool-program", lambda: [_unable(around, each) for each in chosen])
    now = time.time()
    return UsageReport(
        [
            usage_of(each.id, each.harness, known, around, now, reason)
            for each, reason in zip(chosen, unable, strict=True)
        ]
    )


def _unable(around: Around, provider: PoolProvider) -> str | None:
    """Say why no worker of a provider can be spawned, whatever its account says; blocks."""
    refusal = by_provider(provider.id, around.policies)
    return around.program_for(provider)[1] if refusal is None else str(refusal)


def usage_of(
    provider: str, harness: str, known: Known, around: Around, now: float, unable: str | None = None
) -> ProviderUsage:
    """Say what is known of a provider's account.

    Parameters
    ----------
    unable
        Why it cannot be used whatever its account says, if it cannot.
    """
    account, policies = known.account(provider), around.policies
    refusal = by_account(account, policies, now)
    reason = unable or (None if refusal is None else str(refusal))
    used = known.used.get(provider, Used())
    tokens = used.tokens or dict.fromkeys(_TOKENS)
    until = None if refusal is None or unable is not None else refusal.until
    if until not in {each.resets_at for each in account.quotas} | {account.limit_resets_at}:
        # Then it passes because what is known is too old: whether it is usable then nobody knows.
        until = None
    return ProviderUsage(
        provider=provider,
        usable=reason is None,
        unusable_reason=reason,
        windows=[_window(each, provider, known, now) for each in account.quotas],
        tokens=TokenCounts(
            input=tokens["input_tokens"],
            output=tokens["output_tokens"],
            cache_read=tokens["cache_read_tokens"],
            cache_write=tokens["cache_write_tokens"],
            source=usage_source(harness) if used.tokens else None,
            confidence="exact" if used.tokens else "unknown",
            age_seconds=_age(used.at, now),
        ),
        cost=Cost(
            used.cost,
            None if used.cost is None else cost_source(harness),
            "unknown" if used.cost is None else "exact",
            _age(used.cost_at, now),
        ),
        next_available_at=None if until is None else rfc3339(until),
        stale=is_stale(account, policies, now),
    )


def _window(quota: Quota, provider: str, known: Known, now: float) -> UsageWindow:
    reset = quota.resets_at is not None and quota.resets_at <= now
    return UsageWindow(
        name=quota.name,
        kind=kind_of(quota.name, known.accounts.seconds(provider, quota.name)),
        # What was used before it reset says nothing of now.
        used_percent=None if reset else quota.used_percent,
        remaining_percent=None if reset else max(0.0, SPENT - quota.used_percent),
        reset_at=None if quota.resets_at is None else rfc3339(quota.resets_at),
        source=known.accounts.source(provider, quota.name),
        confidence="unknown" if reset else "observed",
        age_seconds=_age(quota.at, now),
    )


def kind_of(name: str, seconds: float | None) -> str:
    """Say what kind of quota a window is."""
    words = name.lower()
    if "credit" in words:
        return "credits"
    if "session" in words and seconds is None:
        return "session"
    if any(model in words for model in ("opus", "sonnet", "haiku", "model")):
        return "model"
    near = [kind for length, kind in _KINDS if seconds is not None and abs(seconds - length) <= length / 10]
    if near:
        return near[0]
    return next((kind for word, kind in _WORDS if word in words), "unknown")


def _age(at: float | None, now: float) -> int | None:
    return None if at is None else max(0, round(now - at))
