"""What the tools about workers do: they call the library, which takes 0.5 s of CPU to import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agentd.mcp.errors import refusals
from agentd.mcp.tool import Call
from agentd.mcp.toolsets.provider_results import InventoryResult, UsageResult
from agentd.mcp.toolsets.worker_arguments import (
    Collected,
    Decided,
    Ended,
    InventoryWanted,
    Job,
    OneWorker,
    Pages,
    UsageWanted,
    Watched,
    Words,
)
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
from agentd.pool.accounts import usage
from agentd.pool.checking import SpawnRequest
from agentd.pool.collecting import collect
from agentd.pool.ending import terminate
from agentd.pool.inventory import inventory
from agentd.pool.observing import observe
from agentd.pool.pool import Pool
from agentd.pool.spawning import spawn
from agentd.pool.talking import answer, interrupt, send
from agentd.pool.transcripts import transcript
from agentd.text.durations import parse_duration


@dataclass(frozen=True, slots=True)
class WorkerCalls:
    """What the tools do; each raises `ToolError` where the library refuses."""

    pool: Pool

    async def list_providers(self, given: InventoryWanted, _call: Call) -> InventoryResult:
        """List the providers."""
        with refusals():
            return InventoryResult.of(await inventory(self.pool, given.provider, usage=given.usage))

    async def get_usage(self, given: UsageWanted, _call: Call) -> UsageResult:
        """Say what is known of accounts."""
        with refusals():
            return UsageResult.of(await usage(self.pool, given.provider, refresh=given.refresh))

    async def spawn_worker(self, given: Job, call: Call) -> SpawnResult:
        """Declare a worker, of whose ends and questions the caller is told."""
        request = SpawnRequest(
            provider=given.provider,
            task=given.task,
            repo=given.repo,
            isolation=given.isolation,
            role=given.role,
            model=given.model,
            max_runtime=None if given.max_runtime is None else parse_duration(given.max_runtime),
            allowed_paths=given.allowed_paths,
            parent=given.parent or call.parent,
        )
        with refusals():
            spawned = await spawn(self.pool, request)
        call.follow(spawned.id)
        return SpawnResult.of(spawned)

    async def observe_workers(self, given: Watched, _call: Call) -> ObserveResult:
        """Wait for the first event."""
        with refusals():
            seen = await observe(
                self.pool,
                given.workers,
                given.events,
                patience=given.timeout_seconds,
                detail=given.detail,
                cursor=given.cursor,
            )
        return ObserveResult.of(seen)

    async def send_message(self, given: Words, _call: Call) -> SendResult:
        """Send a message."""
        with refusals():
            return SendResult.of(await send(self.pool, given.worker, given.text))

    async def answer_request(self, given: Decided, _call: Call) -> AnswerResult:
        """Decide what a worker asks."""
        with refusals():
            return AnswerResult.of(await answer(self.pool, given.worker, given.decision, given.text, given.request))

    async def interrupt_worker(self, given: OneWorker, _call: Call) -> InterruptResult:
        """Interrupt a turn."""
        with refusals():
            return InterruptResult.of(await interrupt(self.pool, given.worker))

    async def collect_work(self, given: Collected, _call: Call) -> CollectResult:
        """Write the work into a folder."""
        with refusals():
            output = None if given.output is None else Path(given.output)
            return CollectResult.of(await collect(self.pool, given.worker, output))

    async def read_transcript(self, given: Pages, _call: Call) -> TranscriptResult:
        """Read a page of what was printed."""
        with refusals():
            return TranscriptResult.of(
                await transcript(self.pool, given.worker, given.offset, given.limit, given.tail_lines)
            )

    async def terminate_worker(self, given: Ended, _call: Call) -> TerminateResult:
        """End a worker."""
        with refusals():
            return TerminateResult.of(await terminate(self.pool, given.worker, dry_run=given.dry_run))
