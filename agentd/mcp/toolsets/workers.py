"""The toolset ``default``: workers, from choosing a provider to collecting the work."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

from pydantic import Field

from agentd.mcp.errors import refusals
from agentd.mcp.tool import ADDS, CHANGES, ENDS, READS, Arguments, Call, Duration, Effect, Tool, tool
from agentd.mcp.toolsets.provider_results import InventoryResult, UsageResult
from agentd.mcp.toolsets.worker_results import (
    AnswerResult,
    CollectResult,
    InterruptResult,
    ObserveResult,
    SendResult,
    SpawnResult,
    TerminateResult,
    TranscriptResult,
)
from agentd.model.pool import WorkerEvent, WorkerIsolation
from agentd.pool.accounts import usage
from agentd.pool.checking import SpawnRequest
from agentd.pool.collecting import collect
from agentd.pool.ending import terminate
from agentd.pool.inventory import inventory
from agentd.pool.observing import DEFAULT_EVENTS, observe
from agentd.pool.pool import Pool
from agentd.pool.spawning import spawn
from agentd.pool.talking import answer, interrupt, send
from agentd.pool.telling import Detail
from agentd.pool.transcripts import transcript
from agentd.text.durations import parse_duration

LONGEST_WAIT: Final = 50
"""Seconds: hosts cut a call at 60 s."""

_TELL_EVERY: Final = 5.0
"""Seconds between two words of progress: OpenCode cuts a call from which it hears nothing."""

_MOST_LINES: Final = 500

_DECIDES: Final = Effect(read_only=False, destructive=True, idempotent=False)
"""What a worker is allowed may destroy."""

_INVENTORY: Final = "Providers of workers: what is installed, logged in and allowed, with models and policies."
_SPAWN: Final = "Hand a task to a new worker of a provider that you name. Returns at once; then observe_workers."
_OBSERVE: Final = (
    "Wait for what happens to workers; at once if it is so already. timed_out: call again with the cursor. "
    "screen_changed and idle come only if asked for."
)
_ANSWER: Final = "Answer a worker's question, or allow or deny what it asks to do."
_COLLECT: Final = "Write a worker's changes as one patch, with a manifest, into a folder."
_TERMINATE: Final = "Stop a worker for good. A worktree with work in it stays."

T = TypeVar("T")


class Which(Arguments):
    """Which provider."""

    provider: str | None = None
    """Only this one"""


class InventoryWanted(Which):
    """What of the providers is wanted."""

    usage: bool = False
    """Their accounts' quotas, too"""


class UsageWanted(Which):
    """What of the accounts is wanted."""

    refresh: bool = False
    """Read the newest records first"""


class Job(Arguments):
    """What a worker is to do."""

    provider: str
    """An id of inventory"""
    task: str
    """All that it needs to know: it sees nothing of your conversation"""
    repo: str
    """Folder to work in"""
    isolation: WorkerIsolation = WorkerIsolation.NONE
    """worktree: its own branch; read_only: changes nothing; sandboxed: sees little else"""
    role: str | None = None
    model: str | None = None
    max_runtime: Duration | None = None
    """As 30m; it is ended then"""
    allowed_paths: tuple[str, ...] = ()
    """What it may change, in repo"""
    parent: str | None = None


class Watched(Arguments):
    """What to wait for."""

    workers: Annotated[tuple[str, ...], Field(min_length=1)]
    """Their ids: the first that something happens to is told"""
    events: Annotated[tuple[WorkerEvent, ...], Field(alias="for", min_length=1)] = DEFAULT_EVENTS
    timeout_seconds: Annotated[float, Field(ge=0, le=LONGEST_WAIT)] = LONGEST_WAIT
    """50 by default"""
    detail: Detail = Detail.SUMMARY
    cursor: str | None = None
    """Of the last answer: only what came after"""


class OneWorker(Arguments):
    """Which worker."""

    worker: str


class Words(OneWorker):
    """A message."""

    text: str
    """Delivered when it is idle"""


class Decided(OneWorker):
    """An answer to what a worker asks."""

    decision: Literal["allow", "deny", "answer"]
    text: str = ""
    """With answer: the answer"""
    request: str | None = None
    """Which, if it asks several things"""


class Collected(OneWorker):
    """Where a worker's work goes."""

    output: str | None = None
    """A folder that is not there yet"""


class Pages(OneWorker):
    """Which lines of a transcript."""

    offset: Annotated[int | None, Field(ge=0)] = None
    limit: Annotated[int, Field(ge=1, le=_MOST_LINES)] = 100
    tail_lines: Annotated[int | None, Field(ge=1, le=_MOST_LINES)] = None


class Ended(OneWorker):
    """Which worker to end."""

    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class _Workers:
    """What the tools do."""

    pool: Pool

    async def list_providers(self, given: InventoryWanted, _call: Call) -> InventoryResult:
        with refusals():
            return InventoryResult.of(await inventory(self.pool, given.provider, usage=given.usage))

    async def get_usage(self, given: UsageWanted, _call: Call) -> UsageResult:
        with refusals():
            return UsageResult.of(await usage(self.pool, given.provider, refresh=given.refresh))

    async def spawn_worker(self, given: Job, call: Call) -> SpawnResult:
        request = SpawnRequest(
            provider=given.provider,
            task=given.task,
            repo=given.repo,
            isolation=given.isolation,
            role=given.role,
            model=given.model,
            max_runtime=None if given.max_runtime is None else parse_duration(given.max_runtime),
            allowed_paths=given.allowed_paths,
            # agentd lets an agent talk to the workers that name it as their parent, and to no others.
            parent=given.parent or self.pool.parent or call.parent,
        )
        with refusals():
            return SpawnResult.of(await spawn(self.pool, request))

    async def observe_workers(self, given: Watched, call: Call) -> ObserveResult:
        waiting = observe(
            self.pool,
            given.workers,
            given.events,
            patience=given.timeout_seconds,
            detail=given.detail,
            cursor=given.cursor,
        )
        with refusals():
            return ObserveResult.of(await _telling(waiting, call, given.timeout_seconds))

    async def send_message(self, given: Words, _call: Call) -> SendResult:
        with refusals():
            return SendResult.of(await send(self.pool, given.worker, given.text))

    async def answer_request(self, given: Decided, _call: Call) -> AnswerResult:
        with refusals():
            return AnswerResult.of(await answer(self.pool, given.worker, given.decision, given.text, given.request))

    async def interrupt_worker(self, given: OneWorker, _call: Call) -> InterruptResult:
        with refusals():
            return InterruptResult.of(await interrupt(self.pool, given.worker))

    async def collect_work(self, given: Collected, _call: Call) -> CollectResult:
        with refusals():
            output = None if given.output is None else Path(given.output)
            return CollectResult.of(await collect(self.pool, given.worker, output))

    async def read_transcript(self, given: Pages, _call: Call) -> TranscriptResult:
        with refusals():
            return TranscriptResult.of(
                await transcript(self.pool, given.worker, given.offset, given.limit, given.tail_lines)
            )

    async def terminate_worker(self, given: Ended, _call: Call) -> TerminateResult:
        with refusals():
            return TerminateResult.of(await terminate(self.pool, given.worker, dry_run=given.dry_run))


def worker_tools(pool: Pool) -> Sequence[Tool]:
    """Make the tools."""
    workers = _Workers(pool)
    return (
        tool("inventory", _INVENTORY, READS, InventoryWanted, InventoryResult, workers.list_providers),
        tool(
            "get_usage",
            "What is used and left of the providers' quotas.",
            READS,
            UsageWanted,
            UsageResult,
            workers.get_usage,
        ),
        tool("spawn_worker", _SPAWN, ADDS, Job, SpawnResult, workers.spawn_worker),
        tool("observe_workers", _OBSERVE, READS, Watched, ObserveResult, workers.observe_workers),
        tool("send_message", "Give a worker another message.", ADDS, Words, SendResult, workers.send_message),
        tool("answer_request", _ANSWER, _DECIDES, Decided, AnswerResult, workers.answer_request),
        tool(
            "interrupt_worker",
            "Interrupt a worker's turn.",
            CHANGES,
            OneWorker,
            InterruptResult,
            workers.interrupt_worker,
        ),
        tool("collect_work", _COLLECT, ADDS, Collected, CollectResult, workers.collect_work),
        tool(
            "read_transcript",
            "What a worker printed, in pages.",
            READS,
            Pages,
            TranscriptResult,
            workers.read_transcript,
        ),
        tool("terminate_worker", _TERMINATE, ENDS, Ended, TerminateResult, workers.terminate_worker),
    )


async def _telling(waiting: Awaitable[T], call: Call, most: float) -> T:
    """Wait, and say every few seconds that the wait goes on; a cancelled call ends the wait."""
    clock = asyncio.get_running_loop().time
    began = clock()
    task = asyncio.ensure_future(waiting)
    try:
        while True:
            done, _ = await asyncio.wait((task,), timeout=_TELL_EVERY)
            if done:
                return task.result()
            await call.progress(min(clock() - began, most), most, "waiting")
    finally:
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
