"""The toolset ``default``: workers, from choosing a provider to collecting the work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from agentd.mcp.late import Late
from agentd.mcp.tool import ADDS, CHANGES, ENDS, READS, Arguments, Call, Effect, Result, Tool, tool
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
from agentd.pool.pool import Pool

if TYPE_CHECKING:
    from agentd.mcp.toolsets.worker_calls import WorkerCalls

_DECIDES: Final = Effect(read_only=False, destructive=True, idempotent=False)
"""What a worker is allowed may destroy."""

_INVENTORY: Final = "Providers of workers: what is installed, logged in and allowed, with models and policies."
_SPAWN: Final = "Hand a task to a new worker of a provider that you name. Returns at once; then observe_workers."
_OBSERVE: Final = (
    "Wait for what happens to workers; at once if it is so already. timed_out: call again with the cursor. "
    "screen_changed and idle come only if asked for."
)
_SEND: Final = "Give a worker another message."
_ANSWER: Final = "Answer a worker's question, or allow or deny what it asks to do."
_COLLECT: Final = "Write a worker's changes as one patch, with a manifest, into a folder."
_TERMINATE: Final = "Stop a worker for good. A worktree with work in it stays."

A = TypeVar("A", bound=Arguments)
R = TypeVar("R", bound=Result)


def worker_tools(pool: Pool) -> Sequence[Tool]:
    """Make the tools."""

    def make() -> WorkerCalls:
        from agentd.mcp.toolsets.worker_calls import WorkerCalls  # noqa: PLC0415 (what it imports takes 0.5 s of CPU)

        return WorkerCalls(pool)

    late = Late(make)

    def by(which: Callable[[WorkerCalls], Callable[[A, Call], Awaitable[R]]]) -> Callable[[A, Call], Awaitable[R]]:
        async def run(given: A, call: Call) -> R:
            return await which(await late.get())(given, call)

        return run

    return (
        tool("inventory", _INVENTORY, READS, InventoryWanted, InventoryResult, by(lambda calls: calls.list_providers)),
        tool(
            "get_usage",
            "What is used and left of the providers' quotas.",
            READS,
            UsageWanted,
            UsageResult,
            by(lambda calls: calls.get_usage),
        ),
        tool("spawn_worker", _SPAWN, ADDS, Job, SpawnResult, by(lambda calls: calls.spawn_worker)),
        tool("observe_workers", _OBSERVE, READS, Watched, ObserveResult, by(lambda calls: calls.observe_workers)),
        tool(
            "send_message",
            _SEND,
            ADDS,
            Words,
            SendResult,
            by(lambda calls: calls.send_message),
        ),
        tool("answer_request", _ANSWER, _DECIDES, Decided, AnswerResult, by(lambda calls: calls.answer_request)),
        tool(
            "interrupt_worker",
            "Interrupt a worker's turn.",
            CHANGES,
            OneWorker,
            InterruptResult,
            by(lambda calls: calls.interrupt_worker),
        ),
        tool("collect_work", _COLLECT, ADDS, Collected, CollectResult, by(lambda calls: calls.collect_work)),
        tool(
            "read_transcript",
            "What a worker printed, in pages.",
            READS,
            Pages,
            TranscriptResult,
            by(lambda calls: calls.read_transcript),
        ),
        tool("terminate_worker", _TERMINATE, ENDS, Ended, TerminateResult, by(lambda calls: calls.terminate_worker)),
    )
