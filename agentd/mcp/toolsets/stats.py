"""The toolset ``stats``: what workers did so far."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

from agentd.mcp.errors import refusals
from agentd.mcp.tool import READS, Arguments, Call, Duration, Result, Tool, tool
from agentd.mcp.toolsets.worker_results import Shortened
from agentd.mcp.untrusted import UntrustedId
from agentd.pool.pool import Pool
from agentd.pool.statistics import stats
from agentd.text.durations import parse_duration


class Range(Arguments):
    """Which time, and how it is summed up."""

    since: Duration | None = None
    """As 24h; everything by default"""
    by: Literal["provider", "role", "agent"] = "provider"


class Row(Shortened):
    """What one of them did."""

    key: UntrustedId
    """Its provider or name, or the role that somebody gave it"""
    workers: int
    runs: int
    limits_hit: int
    wall_clock_seconds: float
    worker_seconds: float
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None


class Sums(Result):
    """What workers did."""

    rows: tuple[Row, ...]
    total: Row
    notes: tuple[str, ...]


def stats_tools(pool: Pool) -> Sequence[Tool]:
    """Make the tool."""

    async def worker_stats(given: Range, _call: Call) -> Sums:
        since = None if given.since is None else time.time() - parse_duration(given.since)
        with refusals():
            found = await stats(pool, since, by=given.by)
        return Sums(rows=tuple(map(Row.of, found.rows)), total=Row.of(found.total), notes=tuple(found.notes))

    return (tool("worker_stats", "Sum up runs, time, tokens and cost of workers.", READS, Range, Sums, worker_stats),)
