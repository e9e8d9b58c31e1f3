"""The toolset ``leases``: who works on which paths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from agentd.mcp.errors import refusals
from agentd.mcp.tool import CHANGES, READS, Arguments, Call, Duration, Result, Tool, tool
from agentd.mcp.toolsets.worker_results import Shortened
from agentd.mcp.untrusted import Untrusted, UntrustedId
from agentd.pool.leasing import acquire_lease, list_leases, release_lease
from agentd.pool.pool import Pool
from agentd.text.durations import parse_duration


class LeaseWanted(Arguments):
    """A path, and what for."""

    path: str
    mode: Literal["read", "write"]
    repo: str | None = None
    owner: str | None = None
    """Who holds it; you by default"""
    ttl: Duration | None = None
    """As 30m"""


class LeaseGiven(Arguments):
    """A path whose lease ends."""

    path: str
    repo: str | None = None
    owner: str | None = None


class Repository(Arguments):
    """Which repository."""

    repo: str | None = None


class LeaseResult(Shortened):
    """A lease."""

    id: str
    path: Untrusted
    repo: str
    mode: str
    owner: UntrustedId
    acquired_at: str
    expires_at: str | None = None


class Leases(Result):
    """Leases."""

    leases: tuple[LeaseResult, ...]


def lease_tools(pool: Pool) -> Sequence[Tool]:
    """Make the tools."""

    async def acquire(given: LeaseWanted, call: Call) -> LeaseResult:
        ttl = None if given.ttl is None else parse_duration(given.ttl)
        owner = given.owner or pool.parent or call.parent
        with refusals():
            return LeaseResult.of(
                await acquire_lease(pool, given.path, given.mode, repo=given.repo, owner=owner, ttl=ttl)
            )

    async def listed(given: Repository, _call: Call) -> Leases:
        with refusals():
            found = await list_leases(pool, given.repo)
        return Leases(leases=tuple(map(LeaseResult.of, found.leases)))

    async def release(given: LeaseGiven, call: Call) -> Leases:
        owner = given.owner or pool.parent or call.parent
        with refusals():
            found = await release_lease(pool, given.path, repo=given.repo, owner=owner)
        return Leases(leases=tuple(map(LeaseResult.of, found.released)))

    return (
        tool("acquire_lease", "Reserve a path for reading or writing.", CHANGES, LeaseWanted, LeaseResult, acquire),
        tool("list_leases", "List reserved paths.", READS, Repository, Leases, listed),
        tool("release_lease", "Give up a reserved path.", CHANGES, LeaseGiven, Leases, release),
    )
