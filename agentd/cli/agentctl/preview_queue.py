"""Which agents of other files would wait for a slot or for others, as far as that is known before they are in force."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from agentd.files.answering import within
from agentd.files.git_root import git_root
from agentd.files.named_zones import named_zone
from agentd.files.zones import zone_of
from agentd.model.capacity import Capacity, Queued
from agentd.model.spec import AgentSpec
from agentd.model.states import AgentState
from agentd.supervise.claims import claims_of, places, with_roots
from agentd.supervise.desired import DesiredAgent
from agentd.supervise.life import Life
from agentd.supervise.ordering import unmet
from agentd.supervise.plan import ObservedView
from agentd.supervise.queueing import Candidate, Holder, queue
from agentd.supervise.scheduling import until
from agentd.supervise.triggering import until as until_triggered
from agentd.text.cron import following

_HOLDS = frozenset({AgentState.STARTING, AgentState.RUNNING, AgentState.STOPPING, AgentState.BACKOFF})


def preview_queue(
    capacity: Capacity | None, specs: Sequence[AgentSpec], observed: Mapping[str, ObservedView]
) -> Mapping[str, Queued]:
    """Say who would wait, if those that these files do not declare had ended."""
    later = unmet(
        {spec.name: DesiredAgent(spec, None, None, None) for spec in specs},
        {name: Life(name, view.state) for name, view in observed.items()},
    )
    enabled = [spec.name for spec in specs if spec.enabled and not _stays(observed.get(spec.name))]
    waiting = {name: Queued(None, later[name], 0.0) for name in enabled if name in later}
    waiting |= _by_the_clock(specs, observed)
    if capacity is None:
        return waiting
    roots = {path: _root(path) for path in places(capacity, specs)}
    holders, candidates = [], []
    for order, spec in enumerate(specs):
        claims, memory, there = claims_of(spec, roots), spec.policy.memory, observed.get(spec.name)
        if not spec.enabled:
            continue
        if there is not None and there.state in _HOLDS:
            holders.append(Holder(spec.name, memory, (claims,)))
        elif spec.name not in waiting and not _stays(there):
            candidates.append(Candidate(spec.name, memory, claims, spec.policy.priority, 0.0, order))
    return {**waiting, **queue(candidates, holders, with_roots(capacity, roots))}


def _by_the_clock(specs: Sequence[AgentSpec], observed: Mapping[str, ObservedView]) -> Mapping[str, Queued]:
    """Say who would wait for its schedule or trigger: also one that has ended, if its launch is another."""
    waiting, now = {}, time.time()
    for spec in specs:
        there, schedule = observed.get(spec.name), spec.schedule
        if not spec.enabled or (there is not None and there.state in _HOLDS):
            continue
        if spec.triggers:
            waiting[spec.name] = Queued(None, until_triggered(spec.triggers), now, by_clock=True)
        if schedule is None:
            continue
        zone = (None if schedule.zone is None else named_zone(schedule.zone)) or zone_of(os.environ.get("TZ"))
        waiting[spec.name] = Queued(
            None, until(following(schedule.cron, now, zone), schedule, zone), now, by_clock=True
        )
    return waiting


def _stays(there: ObservedView | None) -> bool:
    """Whether an agent runs, or has ended."""
    return there is not None and (there.state in _HOLDS or there.state.ended)


def _root(path: Path) -> str | None:
    try:
        return within(path, lambda: git_root(path))
    except OSError:
        return str(path)
