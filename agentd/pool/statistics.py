"""What workers did, from the journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from agentd.api.client.socket import Json, JsonObject
from agentd.model.events import EventKind
from agentd.model.pool import OWNER
from agentd.pool.around import Around, look_around
from agentd.pool.errors import Code, PoolError
from agentd.pool.pool import Pool
from agentd.pool.results.workers import Stats, StatsRow
from agentd.pool.statuses import events_of, fields, whole
from agentd.text.iso8601 import seconds_of
from agentd.text.timestamps import rfc3339

KEYS: Final = ("provider", "role", "agent")

_KINDS: Final = (
    EventKind.DECLARED,
    EventKind.STARTED,
    EventKind.EXITED,
    EventKind.ACTIVITY,
    EventKind.TURN_USAGE,
    EventKind.EVENTS_LOST,
)

_TOKENS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


@dataclass(slots=True)
class _Worker:
    """What one worker did."""

    provider: str
    role: str | None
    runs: int = 0
    limits: int = 0
    seconds: float = 0.0
    first: float | None = None
    last: float | None = None
    running_since: float | None = None
    tokens: dict[str, int] = field(default_factory=dict)
    cost: float | None = None


async def stats(pool: Pool, since: float | None = None, until: float | None = None, by: str = "provider") -> Stats:
    """Sum up what workers did.

    Parameters
    ----------
    since, until
        Seconds since the epoch; ``None`` is everything that is kept, and now.
    by
        ``provider``, ``role`` or ``agent``.

    Raises
    ------
    PoolError
        If agentd does not answer.
    """
    if by not in KEYS:
        message = f"by: found {by!r}, expected one of {', '.join(KEYS)}"
        raise PoolError(Code.INVALID_ARGUMENT, message, "agentctl stats --by provider")
    around = await look_around(pool)
    now = time.time()
    end = min(now, until) if until is not None else now
    events = await events_of(pool, _KINDS)
    workers, notes = summed(events, since, end, around)
    groups: dict[str, list[_Worker]] = {}
    for name, worker in workers.items():
        groups.setdefault(_key(by)(name, worker), []).append(worker)
    rows = [_row(key, each) for key, each in sorted(groups.items())]
    told = None if since is None else rfc3339(since)
    return Stats(told, rfc3339(end), by, rows, _row("total", [*workers.values()]), notes)


def _key(by: str) -> Callable[[str, _Worker], str]:
    def key(name: str, worker: _Worker) -> str:
        return {"provider": worker.provider, "role": worker.role or "(none)"}.get(by, name)

    return key


def summed(
    events: Sequence[JsonObject], since: float | None, until: float, around: Around
) -> tuple[dict[str, _Worker], list[str]]:
    """Sum up events by worker, and say what is missing."""
    workers = {each.name: _Worker(each.facts.provider, each.facts.role) for each in around.workers.values()}
    declared = set(workers)
    for event in events:
        at, data, name = seconds_of(event.get("time")), fields(event.get("data")), event.get("agent")
        if at is None or at > until or not isinstance(name, str):
            continue
        if event.get("kind") == EventKind.DECLARED and f"/{OWNER}/" in str(data.get("source")):
            provider, role = str(data.get("provider") or "unknown"), data.get("role")
            workers.setdefault(name, _Worker(provider, role if isinstance(role, str) else None))
        if name in workers:
            _take(workers[name], str(event.get("kind")), data, at, since)
    for worker in workers.values():
        if worker.running_since is not None:
            _ran(worker, worker.running_since, until, since)
    counted = {name: each for name, each in workers.items() if each.runs or each.tokens or name in declared}
    return counted, _notes(events, counted.values(), since)


def _notes(events: Sequence[JsonObject], workers: Iterable[_Worker], since: float | None) -> list[str]:
    lost = [event for event in events if event.get("kind") == EventKind.EVENTS_LOST]
    notes = [
        f"{fields(each.get('data')).get('lost')} events could not be written at {each.get('time')}" for each in lost
    ]
    oldest = next((seconds_of(event.get("time")) for event in events), None)
    if oldest is not None and (since is None or since < oldest):
        notes.append(f"events are kept from {rfc3339(oldest)} on: what happened before is not counted")
    ran = [each for each in workers if each.runs]
    if any(not each.tokens for each in ran):
        notes.append("some workers' programs told no tokens: these are not counted, and nothing is guessed")
    if any(each.cost is None for each in ran):
        notes.append("cost is what programs said themselves; some said none")
    return notes


def _take(worker: _Worker, kind: str, data: Mapping[str, Json], at: float, since: float | None) -> None:
    counts = since is None or at >= since
    match kind:
        case EventKind.STARTED:
            worker.runs += counts
            worker.running_since = at
        case EventKind.EXITED if worker.running_since is not None:
            _ran(worker, worker.running_since, at, since)
            worker.running_since = None
        case EventKind.ACTIVITY if counts and data.get("activity") == "usage_limit":
            worker.limits += 1
        case EventKind.TURN_USAGE if counts:
            for name in _TOKENS:
                worker.tokens[name] = worker.tokens.get(name, 0) + (whole(data.get(name)) or 0)
            cost = data.get("cost_usd")
            if isinstance(cost, int | float):
                worker.cost = (worker.cost or 0.0) + cost
        case _:
            pass


def _ran(worker: _Worker, begin: float, end: float, since: float | None) -> None:
    begin = begin if since is None else max(begin, since)
    if end <= begin:
        return
    worker.seconds += end - begin
    worker.first = begin if worker.first is None else min(worker.first, begin)
    worker.last = end if worker.last is None else max(worker.last, end)


def _row(key: str, workers: Sequence[_Worker]) -> StatsRow:
    firsts = [each.first for each in workers if each.first is not None]
    lasts = [each.last for each in workers if each.last is not None]
    told = [each.tokens for each in workers if each.tokens]
    costs = [each.cost for each in workers if each.cost is not None]
    tokens = {name: sum(each[name] for each in told) if told else None for name in _TOKENS}
    return StatsRow(
        key=key,
        workers=len(workers),
        runs=sum(each.runs for each in workers),
        limits_hit=sum(each.limits for each in workers),
        wall_clock_seconds=round(max(lasts) - min(firsts), 3) if firsts and lasts else 0.0,
        worker_seconds=round(sum(each.seconds for each in workers), 3),
        input_tokens=tokens["input_tokens"],
        output_tokens=tokens["output_tokens"],
        cache_read_tokens=tokens["cache_read_tokens"],
        cache_write_tokens=tokens["cache_write_tokens"],
        cost_usd=sum(costs) if costs else None,
    )
