"""Which agents of other files would wait for a slot, as far as that is known before they are in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from agentd.files.answering import within
from agentd.files.git_root import git_root
from agentd.model.capacity import Capacity, Queued
from agentd.model.spec import AgentSpec
from agentd.model.states import AgentState
from agentd.supervise.claims import claims_of, places, with_roots
from agentd.supervise.plan import ObservedView
from agentd.supervise.queueing import Candidate, Holder, queue

_HOLDS = frozenset({AgentState.STARTING, AgentState.RUNNING, AgentState.STOPPING, AgentState.BACKOFF})


def preview_queue(
    capacity: Capacity | None, specs: Sequence[AgentSpec], observed: Mapping[str, ObservedView]
) -> Mapping[str, Queued]:
    """Say who would wait, if those that these files do not declare had ended."""
    if capacity is None:
        return {}
    roots = {path: _root(path) for path in places(capacity, specs)}
    holders, candidates = [], []
    for order, spec in enumerate(specs):
        claims, memory, there = claims_of(spec, roots), spec.policy.memory, observed.get(spec.name)
        if not spec.enabled:
            continue
        if there is not None and there.state in _HOLDS:
            holders.append(Holder(spec.name, memory, (claims,)))
        elif there is None or not there.state.ended:
            candidates.append(Candidate(spec.name, memory, claims, spec.policy.priority, 0.0, order))
    return queue(candidates, holders, with_roots(capacity, roots))


def _root(path: Path) -> str | None:
    try:
        return within(path, lambda: git_root(path))
    except OSError:
        return str(path)
