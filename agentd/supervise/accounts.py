"""What events tell of the accounts of providers: who is at a limit, how much of which quota is used. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agentd.model.events import Detail, EventKind
from agentd.model.states import Activity
from agentd.supervise.worker_policies import Account, Quota
from agentd.text.iso8601 import seconds_of

TOLD_BY = frozenset({EventKind.DECLARED, EventKind.TURN_QUOTA})
"""The kinds of events that tell of accounts, also after their agents are gone."""


@dataclass(slots=True)
class Accounts:
    """Accounts by provider."""

    _providers: dict[str, str] = field(default_factory=dict)
    """By agent, in lower case."""
    _quotas: dict[str, dict[str, Quota]] = field(default_factory=dict)
    """By provider, then by name."""
    _sources: dict[tuple[str, str], str] = field(default_factory=dict)
    _seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    _doing: dict[str, Activity] = field(default_factory=dict)
    """What agents do that are at a limit, or not logged in."""

    def belongs(self, agent: str, provider: str) -> None:
        """Say whose account an agent uses."""
        self._providers[agent.lower()] = provider

    def provider(self, agent: str) -> str | None:
        """Say whose account an agent uses, or used."""
        return self._providers.get(agent.lower())

    def take(self, kind: str, agent: str | None, data: Mapping[str, Detail], at: float) -> None:
        """Take an event.

        Parameters
        ----------
        at
            When it happened, in seconds since the epoch.
        """
        if agent is None:
            return
        match kind:
            case EventKind.DECLARED if isinstance(provider := data.get("provider"), str):
                self.belongs(agent, provider)
            case EventKind.TURN_QUOTA:
                self._take_quota(agent, data, at)
            case EventKind.ACTIVITY if data.get("activity") in (Activity.USAGE_LIMIT, Activity.AUTH_ERROR):
                self._doing[agent.lower()] = Activity(str(data["activity"]))
            case EventKind.ACTIVITY if data.get("activity") != Activity.UNKNOWN:
                self._doing.pop(agent.lower(), None)
            case EventKind.EXITED | EventKind.REMOVED:
                self._doing.pop(agent.lower(), None)
            case _:
                pass

    def _take_quota(self, agent: str, data: Mapping[str, Detail], at: float) -> None:
        provider, used = self._providers.get(agent.lower()), data.get("used_percent")
        if provider is None or isinstance(used, bool) or not isinstance(used, int | float):
            return
        quota = Quota(str(data.get("window")), float(used), seconds_of(data.get("resets_at")), at)
        seconds = data.get("window_seconds")
        source = str(data.get("quota_source") or "unknown")
        self.tell(provider, quota, source, float(seconds) if isinstance(seconds, int | float) else None)

    def tell(self, provider: str, quota: Quota, source: str, seconds: float | None) -> None:
        """Say how much of a quota is used, unless something newer is known.

        Parameters
        ----------
        seconds
            How long its window is.
        """
        known = self._quotas.setdefault(provider, {})
        if quota.name in known and known[quota.name].at > quota.at:
            return
        known[quota.name] = quota
        self._sources[provider, quota.name] = source
        if seconds is not None:
            self._seconds[provider, quota.name] = seconds

    def source(self, provider: str, quota: str) -> str:
        """Name the witness that told of a quota."""
        return self._sources.get((provider, quota), "unknown")

    def seconds(self, provider: str, quota: str) -> float | None:
        """How long a quota's window is."""
        return self._seconds.get((provider, quota))

    def account(self, provider: str) -> Account:
        """Say what is known of a provider's account."""
        doing = {doing for agent, doing in self._doing.items() if self._providers.get(agent) == provider}
        quotas = tuple(self._quotas.get(provider, {}).values())
        return Account(quotas, Activity.USAGE_LIMIT in doing, None, Activity.AUTH_ERROR in doing)
