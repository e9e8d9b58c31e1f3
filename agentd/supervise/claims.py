"""What agents claim of the capacity that all share. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from agentd.model.capacity import EACH, Capacity, Claims
from agentd.model.spec import AgentSpec
from agentd.supervise.worker_policies import provider_of


def places(capacity: Capacity | None, specs: Iterable[AgentSpec]) -> frozenset[Path]:
    """Name the paths whose repository has to be known."""
    if capacity is None:
        return frozenset()
    pools = (pool.repository for pool in capacity.pools)
    named = {Path(each) for each in pools if each is not None and each != EACH}
    return frozenset({*named, *(_place(spec) for spec in specs)})


def _place(spec: AgentSpec) -> Path:
    return spec.workdir if spec.checkout is None else spec.checkout.repo


def claims_of(spec: AgentSpec, repositories: Mapping[Path, str | None]) -> Claims:
    """Say what an agent claims.

    Parameters
    ----------
    repositories
        The root of the repository that each path is in.
    """
    place = _place(spec)
    root = repositories.get(place)
    if spec.checkout is not None:
        # A bare repository has no folder that tells.
        return Claims(provider_of(spec), root or str(place))
    return Claims(provider_of(spec), root, writes=root is not None)


def with_roots(capacity: Capacity, repositories: Mapping[Path, str | None]) -> Capacity:
    """Have pools name their repositories as claims do."""
    pools = (
        pool
        if pool.repository is None or pool.repository == EACH
        else replace(pool, repository=repositories.get(Path(pool.repository)) or pool.repository)
        for pool in capacity.pools
    )
    return replace(capacity, pools=tuple(pools))
