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


def spawned(declared: Mapping[str, DeclaredAgent]) -> Mapping[str, Sequence[str]]:
    """Give whom each agent has spawned; all in lower case."""
    found: dict[str, list[str]] = {}
    for name, agent in declared.items():
        if agent.spawned_by is not None:
            found.setdefault(agent.spawned_by.lower(), []).append(name)
    return found


def below(name: str, spawned_by: Mapping[str, Sequence[str]]) -> list[str]:
    """An agent, those that it has spawned, and so on; all in lower case.

    Parameters
    ----------
    spawned_by
        As `spawned` gives them: one look at the chain of each of 800 agents for each that began was a seventh of what
        their start took.
    """
    found = {name: None}
    todo = [name]
    while todo:
        more = [each for each in spawned_by.get(todo.pop(), ()) if each not in found]
        found |= dict.fromkeys(more)
        todo += more
    return list(found)


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
