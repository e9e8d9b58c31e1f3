"""Declaring a worker."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from agentd.files.answering import NotAnsweringError, along
from agentd.files.locks import LockedError, locked
from agentd.files.worker import in_thread
from agentd.jcard.drop_in_folder import SUFFIX
from agentd.jcard.edit.drop_ins import write_drop_in
from agentd.launch.preflight import PreflightError, find_program
from agentd.model.pool import OWNER, PoolProvider, WorkerFacts, WorkerIsolation
from agentd.model.spec import AGENT_VARIABLE
from agentd.model.states import AgentState
from agentd.pool.accounts import known_accounts
from agentd.pool.around import Around, look_around, with_model
from agentd.pool.checking import EXAMPLE, SpawnRequest, check_request
from agentd.pool.errors import Code, PoolError
from agentd.pool.places import allowed_inside, find_place
from agentd.pool.pool import Pool
from agentd.pool.results.workers import Spawned
from agentd.pool.statuses import Status, status_of, statuses
from agentd.pool.worker_file import Wish, answers_once, worker_text
from agentd.sandbox.engines import Where, look
from agentd.sandbox.support import SandboxError
from agentd.supervise.worker_policies import Refusal, by_account, by_count, by_isolation, by_provider
from agentd.text.timestamps import rfc3339, rfc3339_milliseconds

_LOCK_LIMIT: Final = 60.0
"""Seconds to wait for others who spawn; each needs 0.1."""

_SEEN_WITHIN: Final = 5.0
"""Seconds for agentd to launch what was declared; it takes 0.2."""
_LOOK_AFTER: Final = 0.03


async def spawn(pool: Pool, request: SpawnRequest, of: PoolProvider | None = None) -> Spawned:
    """Declare a worker, which agentd launches.

    Parameters
    ----------
    of
        Its provider; ``None`` is the one that is declared by the id of the request.

    Raises
    ------
    PoolError
        If something of the request cannot be used, or a policy forbids it; then nothing was made.
    """
    around = await look_around(pool)
    if around.jcard_error is not None:
        raise PoolError(
            Code.FAILED,
            f"the jcard has errors, so its policies are not known: {around.jcard_error}",
            "agentctl validate",
        )
    provider = of or _provider(around, request)
    await in_thread("pool-check", partial(_check_able, around, provider, request))
    wish = await in_thread("pool-place", partial(_wish, pool, around, provider, request))
    before = await _newest_event(pool)
    async with _alone(around.daemon.folder):
        # Again, now that nobody else spawns.
        await _check_policies(pool, await look_around(pool), provider, request.isolation)
        path = around.daemon.folder / f"{wish.name}{SUFFIX}"
        await pool.thread.do(partial(_write, path, worker_text(wish)))
    status = await _launched(pool, wish.name)
    if status is not None and status.state is AgentState.FAILED and _is_refusal(status.text("error")):
        await pool.thread.do(partial(path.unlink, missing_ok=True))
        raise PoolError(Code.POLICY, str(status.text("error")), "agentctl workers", worker=wish.name)
    return _spawned(wish, path, status, before)


def _provider(around: Around, request: SpawnRequest) -> PoolProvider:
    if request.provider == "auto":
        raise PoolError(
            Code.INVALID_ARGUMENT,
            "provider: auto is not taken: who spawns a worker names its provider",
            "agentctl inventory --usage",
            providers=[*sorted(around.providers)],
        )
    provider = with_model(around.provider(request.provider), request.model)
    check_request(around, provider, request)
    return provider


def _check_able(around: Around, provider: PoolProvider, request: SpawnRequest) -> None:
    """Check that the program is installed, and that a sandbox can be made; blocks."""
    harness = around.harnesses[provider.harness]
    program = (*provider.command, harness.binary)[0]
    environment = around.environment_for(provider)
    try:
        along(lambda way: find_program(program, environment, Path("/"), around.user, go=way.to))
    except (PreflightError, NotAnsweringError) as error:
        raise PoolError(
            Code.PROVIDER_UNAVAILABLE, f"{provider.id}: {error}", "agentctl inventory", provider=provider.id
        ) from None
    if request.isolation not in (WorkerIsolation.READ_ONLY, WorkerIsolation.SANDBOXED):
        return
    try:
        look(None, Where(around.user, around.environment, around.daemon.settings.runsc))
    except SandboxError as error:
        raise PoolError(
            Code.ISOLATION_UNAVAILABLE,
            f"isolation {request.isolation} needs a sandbox: {error}",
            "agentctl doctor",
            isolation=request.isolation.value,
        ) from None


def _wish(pool: Pool, around: Around, provider: PoolProvider, request: SpawnRequest) -> Wish:
    place = find_place(around, request.repo, request.isolation)
    longest = around.policies.max_runtime
    runtimes = [each for each in (request.max_runtime, longest) if each is not None]
    now = time.time()
    facts = WorkerFacts(
        provider=provider.id,
        role=request.role,
        parent=request.parent or pool.parent,
        spawned_by=pool.environ.get(AGENT_VARIABLE) or None,
        isolation=request.isolation,
        repo=str(place.root or place.folder),
        base=place.head,
        allowed_paths=allowed_inside(place, request.allowed_paths),
        spawned_at=rfc3339_milliseconds(now),
    )
    wish = Wish(
        _new_name(now),
        provider,
        request.task,
        place,
        facts,
        request.reasoning_effort,
        min(runtimes, default=None),
        request.max_turns,
    )
    harness = around.harnesses[provider.harness]
    if answers_once(wish) and harness.facts.renderer is not None and request.isolation is not WorkerIsolation.NONE:
        raise PoolError(
            Code.NOT_SUPPORTED,
            f"{provider.harness} cannot be sandboxed: its renderer runs beside it",
            f"agentctl spawn --provider {provider.id} --isolation worktree ...",
        )
    return wish


def _new_name(now: float) -> str:
    """Make a name that sorts by time within a year, and that nobody else has."""
    return f"w{datetime.fromtimestamp(now, UTC):%m%d-%H%M%S}-{secrets.token_hex(3)}"


@contextlib.asynccontextmanager
async def _alone(folder: Path) -> AsyncIterator[None]:
    """Be the only one who spawns."""
    with contextlib.ExitStack() as stack:

        def enter() -> None:
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            stack.enter_context(locked(folder / "workers", _LOCK_LIMIT))

        try:
            await in_thread("pool-lock", enter)
        except LockedError as error:
            raise PoolError(Code.CONFLICT, str(error), "agentctl workers") from error
        except OSError as error:
            raise _not_permitted(folder, error) from error
        yield


def _write(path: Path, text: str) -> None:
    try:
        write_drop_in(path, text)
    except OSError as error:
        raise _not_permitted(path, error) from error


def _not_permitted(path: Path, error: OSError) -> PoolError:
    return PoolError(
        Code.NOT_PERMITTED,
        f"{path}: cannot be written: {error.strerror}; workers are declared by who may write there",
        "agentctl doctor",
        path=str(path),
    )


async def _check_policies(pool: Pool, around: Around, provider: PoolProvider, isolation: WorkerIsolation) -> None:
    policies = around.policies
    refusal = by_provider(provider.id, policies) or by_isolation(isolation, policies)
    if refusal is None:
        refusal = by_count(alive(around, await statuses(pool)), policies)
    if refusal is None:
        known = await known_accounts(pool, around, tokens=False)
        refusal = by_account(known.account(provider.id), policies, time.time())
    if refusal is not None:
        raise policy_error(refusal)


def alive(around: Around, known: dict[str, Status]) -> int:
    """Count the workers that have not ended, including those that agentd has not seen yet."""
    declared = [name for name in around.workers if name not in known or not known[name].ended]
    leaving = [each for each in known.values() if each.name.lower() not in around.workers and _is_leaving(each)]
    return len(declared) + len(leaving)


def _is_leaving(status: Status) -> bool:
    return status.text("owner") == OWNER and not status.ended


def policy_error(refusal: Refusal) -> PoolError:
    """Say which policy refuses."""
    until = None if refusal.until is None else rfc3339(refusal.until)
    examples = {"max_workers": "agentctl workers", "require_isolation": f"{EXAMPLE} --isolation worktree"}
    return PoolError(
        Code.POLICY,
        str(refusal),
        examples.get(refusal.policy, "agentctl inventory --usage"),
        policy=refusal.policy,
        until=until,
    )


def _is_refusal(error: str | None) -> bool:
    return error is not None and "refused by the policy" in error


async def _newest_event(pool: Pool) -> str:
    found = await pool.api.get("/v1/events", query={"tail": "1"})
    newest = found[-1] if isinstance(found, list) and found else None
    return str(newest.get("seq", 0)) if isinstance(newest, dict) else "0"


async def _launched(pool: Pool, name: str) -> Status | None:
    """Wait until the worker is launched, or cannot be; for a large worktree that may take longer than we wait."""
    end = time.monotonic() + _SEEN_WITHIN
    while True:
        status = await status_of(pool, name)
        waits = status is None or status.state in (AgentState.PENDING, AgentState.STARTING)
        if not waits or time.monotonic() >= end:
            return status
        await asyncio.sleep(_LOOK_AFTER)


def _spawned(wish: Wish, path: Path, status: Status | None, cursor: str) -> Spawned:
    state = AgentState.PENDING if status is None else status.state
    warnings = []
    if answers_once(wish):
        warnings.append("it answers its task and exits: it takes no messages and asks nothing")
    if wish.place.root is None:
        warnings.append("its folder is in no git repository, so its changes cannot be collected as a patch")
    elif wish.facts.isolation is WorkerIsolation.NONE:
        warnings.append("it works in the repository itself: what others change there is collected with its work")
    if status is not None and status.text("error"):
        warnings.append(str(status.text("error")))
    return Spawned(
        id=wish.name,
        state=state.value,
        provider=wish.provider.id,
        isolation=wish.facts.isolation.value,
        repo=str(wish.place.root or wish.place.folder),
        attach=f"agentctl attach {wish.name}",
        session=wish.name,
        drop_in=str(path),
        cursor=cursor,
        warnings=warnings,
        next=f"agentctl observe {wish.name}",
    )
