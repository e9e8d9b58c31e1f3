"""What is asked of a worker that is to be spawned, and whether its provider can do that. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agentd.model.pool import PoolProvider, WorkerIsolation
from agentd.pool.around import Around
from agentd.pool.errors import Code, PoolError
from agentd.pool.worker_file import EFFORTS, takes_effort, takes_max_turns
from agentd.text.quoting import quote

EXAMPLE: Final = "agentctl spawn --provider ID --repo DIR --task TEXT"

_LONGEST_TASK: Final = 100 * 1024
"""Bytes: the kernel takes 128 KiB for one argument."""


@dataclass(frozen=True, slots=True)
class SpawnRequest:
    """What a worker is to do, where, and by whom."""

    provider: str
    task: str
    repo: str
    """A folder; relative to the caller's."""
    isolation: WorkerIsolation = WorkerIsolation.NONE
    role: str | None = None
    model: str | None = None
    reasoning_effort: str | None = None
    max_runtime: float | None = None
    """Seconds."""
    max_turns: int | None = None
    allowed_paths: tuple[str, ...] = ()
    """Paths in the repository that it is to change; what else it changed is told when its work is collected."""
    parent: str | None = None
    """``None``: the pool's."""


def check_request(around: Around, provider: PoolProvider, request: SpawnRequest) -> None:
    """Check what needs no look at the machine.

    Raises
    ------
    PoolError
        If something of it cannot be used.
    """
    _check_task(request.task)
    if request.max_runtime is not None and request.max_runtime <= 0:
        raise _refused("max_runtime", "expected a time over 0")
    if request.model is not None and not around.harnesses[provider.harness].takes_model:
        raise _refused("model", f"{provider.harness} has no flag for a model", Code.NOT_SUPPORTED)
    _check_effort(provider.harness, request.reasoning_effort)
    if request.max_turns is not None and not takes_max_turns(provider.harness):
        raise _refused("max_turns", f"{provider.harness} cannot be held to it: use max_runtime", Code.NOT_SUPPORTED)
    if request.max_turns is not None and request.max_turns < 1:
        raise _refused("max_turns", "expected a number from 1")


def _check_task(task: str) -> None:
    size = len(task.encode("utf-8", "surrogateescape"))
    if not task.strip():
        raise _refused("task", "expected a task for the worker, found nothing")
    if "\0" in task:
        raise _refused("task", "it contains a NUL character, which no program argument can; remove it")
    if size > _LONGEST_TASK:
        message = f"it has {size} bytes, over {_LONGEST_TASK}: put it into a file of the repo, and name that"
        raise _refused("task", message)


def _check_effort(harness: str, effort: str | None) -> None:
    if effort is None:
        return
    if not takes_effort(harness):
        raise _refused("reasoning_effort", f"{harness} has no flag for it", Code.NOT_SUPPORTED)
    if effort not in EFFORTS:
        raise _refused("reasoning_effort", f"found {quote(effort)}, expected one of {', '.join(EFFORTS)}")


def _refused(field: str, message: str, code: Code = Code.INVALID_ARGUMENT) -> PoolError:
    return PoolError(code, f"{field}: {message}", EXAMPLE, field=field)
