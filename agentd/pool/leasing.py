"""Leases: who works on which paths. Advisory."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from agentd.files.worker import in_thread
from agentd.pool.around import Around, look_around
from agentd.pool.errors import Code, PoolError
from agentd.pool.lease_file import FILE, READ, WRITE, Held, LeaseFile, real, within
from agentd.pool.pool import Pool
from agentd.pool.results.leases import Lease, LeaseList, Released
from agentd.pool.statuses import Status, statuses
from agentd.process.runner import RunnerError
from agentd.text.quoting import quote
from agentd.text.timestamps import rfc3339
from agentd.worktrees.git import GitError

_EXAMPLE: Final = "agentctl lease acquire PATH --mode write --repo DIR --owner NAME"

DEFAULT_TTL: Final = 3600.0
"""Seconds, for a lease whose owner is no agent: nothing else would end it."""


@dataclass(frozen=True, slots=True)
class _Owners:
    """Who lives."""

    agents: dict[str, Status]
    declared: frozenset[str]

    def lives(self, lease: Held, now: float) -> bool:
        if lease.expires is not None and lease.expires <= now:
            return False
        agent = self.agents.get(lease.owner.lower())
        if agent is not None:
            return not agent.ended
        if lease.owner.lower() in self.declared:
            return True
        # Who was an agent when it took it has no other bound.
        return lease.expires is not None


async def _owners(pool: Pool, around: Around) -> _Owners:
    return _Owners(await statuses(pool), frozenset(name.lower() for name in (*around.agents, *around.workers)))


def _file(around: Around, owners: _Owners) -> LeaseFile:
    now = time.time()
    return LeaseFile(around.daemon.settings.state_dir / FILE, lambda lease: owners.lives(lease, now))


async def acquire_lease(
    pool: Pool, path: str, mode: str, *, repo: str | None = None, owner: str | None = None, ttl: float | None = None
) -> Lease:
    """Take a lease; readers share a path, a writer has it alone, with what is below and above it.

    Parameters
    ----------
    mode
        ``read`` or ``write``.
    repo
        The repository that the path is in; ``None`` is that of the path.
    owner
        Who holds it; ``None`` is the caller. A lease of an agent ends with the agent.
    ttl
        Seconds after which it ends; ``None`` is when its owner does, or after an hour if that is no agent.

    Raises
    ------
    PoolError
        If somebody else holds one that excludes it, or the path is not in the repository.
    """
    if mode not in (READ, WRITE):
        raise PoolError(Code.INVALID_ARGUMENT, f"mode: found {quote(mode)}, expected read or write", _EXAMPLE)
    if ttl is not None and ttl <= 0:
        raise PoolError(Code.INVALID_ARGUMENT, "ttl: expected a time over 0", f"{_EXAMPLE} --ttl 10m")
    around = await look_around(pool)
    owners = await _owners(pool, around)
    holder = _owner(pool, owner)
    root, target = await in_thread("pool-lease", partial(_places, around, path, repo))
    is_agent = holder.lower() in owners.agents or holder.lower() in owners.declared
    now = time.time()
    expires = now + ttl if ttl is not None else None if is_agent else now + DEFAULT_TTL
    wanted = Held(f"lease-{secrets.token_hex(4)}", target, root, mode, holder, now, expires)
    taken = await in_thread("pool-lease", partial(_file(around, owners).change, partial(_take, wanted)))
    return _shown(taken)


def _owner(pool: Pool, owner: str | None) -> str:
    holder = owner or pool.parent
    if not holder:
        message = "owner: expected who holds the lease, found nobody; only an agent need not say"
        raise PoolError(Code.INVALID_ARGUMENT, message, _EXAMPLE)
    return holder


def _take(wanted: Held, held: list[Held]) -> tuple[Sequence[Held], Held]:
    for other in held:
        if other.excludes(wanted.path, wanted.mode, wanted.owner):
            until = "its owner ends" if other.expires is None else rfc3339(other.expires)
            raise PoolError(
                Code.CONFLICT,
                f"{other.owner} holds {other.path} for {other.mode} until {until}",
                "agentctl lease list",
                owner=other.owner,
                path=other.path,
                mode=other.mode,
                lease=other.id,
                until=None if other.expires is None else rfc3339(other.expires),
            )
    same = [each for each in held if (each.owner, each.path) == (wanted.owner, wanted.path)]
    return [*(each for each in held if each not in same), wanted], wanted


def _places(around: Around, path: str, repo: str | None) -> tuple[str, str]:
    """Give the repository's root and the path, both real; blocks."""
    folder = Path(real(Path(repo or os.path.curdir)))
    if not folder.is_dir():
        message = f"repo: expected a folder, {quote(str(repo))} is not there"
        raise PoolError(Code.INVALID_ARGUMENT, message, _EXAMPLE, repo=str(folder))
    target = real(folder / path)
    inside = folder if repo is not None else Path(target)
    while not inside.is_dir() and inside != inside.parent:
        inside = inside.parent
    try:
        asked = around.git(inside).finish("rev-parse", "--show-toplevel")
    except (GitError, RunnerError) as error:
        raise PoolError(Code.FAILED, str(error), _EXAMPLE) from error
    if asked.status != 0:
        message = f"repo: {inside} is in no git repository: {asked.reason}"
        raise PoolError(Code.INVALID_ARGUMENT, message, _EXAMPLE, repo=str(inside))
    root = real(Path(os.fsdecode(asked.out.rstrip(b"\n"))))
    if not path or "\0" in path or not within(target, root):
        message = f"path: expected one in {root}, found {quote(path)}, which is {target}"
        raise PoolError(Code.INVALID_ARGUMENT, message, _EXAMPLE, path=path, repo=root)
    return root, target


def _shown(held: Held) -> Lease:
    return Lease(
        held.id,
        os.path.relpath(held.path, held.repo),
        held.repo,
        held.mode,
        held.owner,
        rfc3339(held.acquired),
        None if held.expires is None else rfc3339(held.expires),
    )


async def list_leases(pool: Pool, repo: str | None = None) -> LeaseList:
    """List the leases of a repository; ``None`` is all."""
    around = await look_around(pool)
    owners = await _owners(pool, around)
    root = None if repo is None else (await in_thread("pool-lease", partial(_places, around, ".", repo)))[0]
    held = await in_thread("pool-lease", _file(around, owners).read)
    return LeaseList([_shown(each) for each in held if root is None or each.repo == root])


async def release_lease(pool: Pool, path: str, *, repo: str | None = None, owner: str | None = None) -> Released:
    """Give up the leases of an owner on a path.

    Raises
    ------
    PoolError
        If there are none.
    """
    around = await look_around(pool)
    owners = await _owners(pool, around)
    holder = _owner(pool, owner)
    _, target = await in_thread("pool-lease", partial(_places, around, path, repo))

    def drop(held: list[Held]) -> tuple[Sequence[Held], list[Held]]:
        gone = [each for each in held if each.owner == holder and each.path == target]
        return [each for each in held if each not in gone], gone

    gone = await in_thread("pool-lease", partial(_file(around, owners).change, drop))
    if not gone:
        message = f"{holder} holds no lease on {target}"
        raise PoolError(Code.NOT_FOUND, message, "agentctl lease list", path=target, owner=holder)
    return Released([_shown(each) for each in gone])
