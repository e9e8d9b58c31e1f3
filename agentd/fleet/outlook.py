"""Why agents are being stopped where they are, and whether they have another host after that. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from agentd.fleet.ledger import Run
from agentd.fleet.placement import may_still_run, place
from agentd.fleet.plans import Host, Leaving, Step, Wish
from agentd.model.placement import Place

_ANEW: Final = "it is stopped, and placed anew after that"


def outlook(wishes: Iterable[Wish], hosts: Iterable[Host], runs: Mapping[str, Run]) -> Mapping[str, str]:
    """Say of each agent that is being stopped why it is; where no host would take it, which lack what.

    Parameters
    ----------
    runs
        All there are, also of agents that stay.
    """
    leaving = {name: run.host for name, run in runs.items() if run.leaving}
    if not leaving:
        return {}
    wished, known = {wish.name: wish for wish in wishes}, {host.name: host for host in hosts}
    gone = [Leaving(host, Place()) for name, host in leaving.items() if name not in wished]
    plan = place(wished.values(), known.values(), {name: runs[name].host for name in wished if name in runs}, gone)
    reasons = {
        each.agent: _ANEW if each.step is Step.STAY else each.reason
        for each in plan.assignments
        if each.agent in leaving
    }
    lost = {name: may_still_run(host) for name, host in leaving.items() if host in known and not known[host].alive}
    return {**dict.fromkeys(leaving, ""), **reasons, **lost}
