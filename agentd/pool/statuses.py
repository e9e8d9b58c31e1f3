"""How workers are doing, as agentd's status API says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote as quote_url

from agentd.api.client.socket import Json, JsonObject
from agentd.model.events import EventKind
from agentd.model.pool import OWNER
from agentd.model.states import AgentState
from agentd.pool.errors import Code, PoolError
from agentd.pool.pool import Pool
from agentd.pool.results.common import Exit
from agentd.pool.results.workers import Worker
from agentd.text.quoting import quote

if TYPE_CHECKING:
    from agentd.pool.around import DeclaredWorker

KEPT_WITHIN: Final = 1.0
"""Seconds in which an event is kept that an agent's state tells of already; it takes 10 ms."""

ENDED: Final = frozenset({AgentState.EXITED, AgentState.FAILED, AgentState.TIMED_OUT})


@dataclass(frozen=True, slots=True)
class Status:
    """How an agent is doing; what agentd says, read leniently."""

    document: JsonObject

    def text(self, name: str) -> str | None:
        """Give a text of it."""
        value = self.document.get(name)
        return value if isinstance(value, str) else None

    def number(self, name: str) -> int | None:
        """Give a whole number of it."""
        return whole(self.document.get(name))

    @property
    def name(self) -> str:
        """Its name."""
        return self.text("name") or ""

    @property
    def state(self) -> AgentState:
        """Where it is in its life."""
        return AgentState(self.text("state") or AgentState.PENDING)

    @property
    def ended(self) -> bool:
        """Whether its program has ended and is not started again."""
        return self.state in ENDED

    @property
    def exit(self) -> Exit | None:
        """How its program ended, if it has."""
        if not self.ended:
            return None
        reason = self.text("exit_reason")
        if self.state is AgentState.TIMED_OUT:
            reason = "timed_out"
        elif self.number("exit_code") is None and self.number("exit_signal") is None:
            reason = reason or self.text("error")
        return Exit(self.number("exit_code"), self.number("exit_signal"), reason)

    @property
    def succeeded(self) -> bool:
        """Whether its program ended with success."""
        return self.state is AgentState.EXITED


async def statuses(pool: Pool) -> dict[str, Status]:
    """Ask for all agents, by name in lower case; raises as `Asking.get`."""
    found = await pool.api.get("/v1/agents")
    agents = [Status(each) for each in (found if isinstance(found, list) else []) if isinstance(each, dict)]
    return {agent.name.lower(): agent for agent in agents}


async def status_of(pool: Pool, worker: str) -> Status | None:
    """Ask for one agent; ``None`` if agentd does not know it; raises as `Asking.get`."""
    found = await pool.api.found(f"/v1/agents/{quote_url(worker, safe='')}")
    return None if found is None else Status(found)


async def worker_status(pool: Pool, worker: str) -> Status:
    """Ask for one worker.

    Raises
    ------
    PoolError
        If there is none of that name, or it is an agent that nobody spawned.
    """
    found = await status_of(pool, worker)
    if found is None:
        raise unknown_worker(worker)
    if found.text("owner") != OWNER:
        raise PoolError(
            Code.NOT_FOUND,
            f"{quote(found.name)} is an agent, and no worker: it is declared in {found.text('source')}",
            f"agentctl status {found.name}",
        )
    return found


def unknown_worker(worker: str) -> PoolError:
    """Build the error for a worker that does not exist."""
    return PoolError(Code.NOT_FOUND, f"there is no worker {quote(worker)}", "agentctl workers", worker=worker)


def shown(worker: DeclaredWorker | None, status: Status | None) -> Worker:
    """Show a worker, by its file and its status, one of which may be missing."""
    assert worker is not None or status is not None
    name = worker.name if worker is not None else status.name if status is not None else ""
    state = AgentState.PENDING if status is None else status.state
    error = status.text("error") if status is not None else None
    facts = None if worker is None else worker.facts
    if facts is None:
        assert status is not None
        provider, isolation = status.text("harness") or "unknown", "none"
    else:
        provider, isolation = facts.provider, facts.isolation.value
    return Worker(
        id=name,
        provider=provider,
        state=state.value,
        activity=None if status is None else status.text("activity"),
        role=None if facts is None else facts.role,
        parent=None if facts is None else facts.parent,
        spawned_by=None if facts is None else facts.spawned_by,
        isolation=isolation,
        repo=None if facts is None else facts.repo,
        workdir=None if status is None else status.text("workdir"),
        spawned_at=None if facts is None else facts.spawned_at,
        deadline=None if status is None else status.text("deadline"),
        exit=None if status is None else status.exit,
        error=error or (None if worker is None else worker.error),
    )


def texts(value: Json) -> list[str]:
    """Give the texts of an array."""
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def fields(value: Json) -> Mapping[str, Json]:
    """Give an object's fields; none of anything else."""
    return value if isinstance(value, dict) else {}


def whole(value: Json) -> int | None:
    """Return a whole number, or ``None`` for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


async def events_of(
    pool: Pool, kinds: Sequence[str], agents: Sequence[str] = (), since: str | None = None, tail: int | None = None
) -> list[JsonObject]:
    """Read the events of some kinds that are kept, the oldest first.

    Raises
    ------
    PoolError
        If agentd does not answer.
    """
    query = [*(("kind", str(each)) for each in kinds), *(("agent", each) for each in agents)]
    query += [("since", since)] if since is not None else []
    query += [("tail", str(tail))] if tail is not None else []
    found = await pool.api.get("/v1/events", query=query)
    return [each for each in (found if isinstance(found, list) else []) if isinstance(each, dict)]


async def exit_told(pool: Pool, worker: str, since: str | None = None) -> Exit | None:
    """Give the last exit that events tell of a worker that was terminated; raises as `events_of`."""
    for event in reversed(await events_of(pool, (EventKind.EXITED, EventKind.STOPPED), [worker], since=since)):
        data = fields(event.get("data"))
        code, signal = whole(data.get("exit_code")), whole(data.get("exit_signal"))
        if code is not None or signal is not None:
            by_us = event.get("kind") == EventKind.STOPPED or data.get("state") == AgentState.STOPPING
            return Exit(code, signal, "terminated" if by_us else None)
    return None
