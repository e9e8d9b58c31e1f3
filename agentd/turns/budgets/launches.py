"""Which agents may not be launched, since what they may use in a day is used up."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import tzinfo

from agentd.files.zones import zone_of
from agentd.supervise.budgets import Account, day_of, launch_breach
from agentd.supervise.run_watcher import DeclaredAgent


def chain(name: str, declared: Mapping[str, DeclaredAgent]) -> Iterator[str]:
    """An agent, the one that spawned it, and so on; all in lower case."""
    seen = set[str]()
    while name not in seen:
        seen.add(name)
        yield name
        known = declared.get(name)
        if known is None or known.spawned_by is None:
            return
        name = known.spawned_by.lower()


class LaunchHolds:
    """What is known of accounts where launches are decided on.

    Parameters
    ----------
    accounts
        As a former daemon left them, by agent in lower case.
    wall
        Seconds since the epoch.
    """

    def __init__(self, accounts: Mapping[str, Account], wall: Callable[[], float]) -> None:
        self._accounts = dict(accounts)
        self._wall = wall
        self._zone: tzinfo = zone_of(os.environ.get("TZ") or None)
        self._declared: Mapping[str, DeclaredAgent] = {}

    def declared(self, agents: Sequence[DeclaredAgent]) -> None:
        """Say which agents are declared."""
        self._declared = {each.name.lower(): each for each in agents}

    def used(self, agent: str, account: Account) -> None:
        """Take what an agent has used."""
        self._accounts[agent.lower()] = account

    def why_not(self, agent: str) -> str | None:
        """Why an agent may not be launched now, if it may not."""
        names = list(chain(agent.lower(), self._declared))
        held = [known for name in names if (known := self._declared.get(name)) is not None and known.budget is not None]
        if not held:
            return None
        today = day_of(self._wall(), self._zone)
        accounts = {each.name: self._accounts.get(each.name.lower(), Account()).on(today) for each in held}
        breach = launch_breach(agent, [(each.name, each.budget, accounts[each.name]) for each in held])
        return None if breach is None else f"its budget is used up: {breach.reason(agent)}"
