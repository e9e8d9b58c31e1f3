"""Collecting a worker's work."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

from agentd.files.worker import in_thread
from agentd.model.events import EventKind
from agentd.model.pool import WorkerFacts, WorkerIsolation
from agentd.model.spec import WORKTREES
from agentd.pool.around import Around, look_around
from agentd.pool.errors import Code, PoolError
from agentd.pool.observing import look_at
from agentd.pool.output_folder import OutputError, OutputFolder, new_folder
from agentd.pool.pool import Pool
from agentd.pool.results.common import Exit, document
from agentd.pool.results.work import Artifact, ArtifactPage, ChangedPath, CollectedCommit, Collection
from agentd.pool.statuses import Status, events_of, exit_told, fields, status_of, unknown_worker
from agentd.pool.transcripts import last_lines
from agentd.pool.work_files import BUNDLE, FILES, PATCH, WrittenWork, write_work
from agentd.process.runner import RunnerError
from agentd.settings.folders import absolute
from agentd.text.timestamps import compact, rfc3339
from agentd.worktrees.changes import Changes, read_changes, read_repository_changes
from agentd.worktrees.git import GitError
from agentd.worktrees.record import RecordError, Worktree, read_record

TRANSCRIPT: Final = "transcript.txt"
MANIFEST: Final = "manifest.json"
SUMMARY: Final = "summary.txt"

COLLECTED: Final = "collected"
"""The folder, beside the worktrees, where work is collected that nobody names a folder for."""

_LINES: Final = 1000
"""Of the transcript."""

_LONGEST_SUMMARY: Final = 4000
_MOST_LISTED: Final = 200
"""Files and commits that an answer has; the manifest has all."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What is known of a worker, or of what it left."""

    name: str
    facts: WorkerFacts
    status: Status | None
    worktree: Worktree | None


@dataclass(frozen=True, slots=True)
class _Said:
    """What it said last, and how it ended; of one that was terminated, as the events that are kept tell."""

    answer: str | None
    exit: Exit | None


async def collect(pool: Pool, worker: str, output: Path | None = None) -> Collection:
    """Write a worker's work into a new folder.

    Parameters
    ----------
    output
        The folder, which must not exist; ``None`` makes one beside the worktrees.

    Raises
    ------
    PoolError
        If there is no such worker, or something cannot be read or written.
    """
    around = await look_around(pool)
    found = await _find(pool, around, worker)
    lines = await last_lines(pool, found.name, _LINES)
    answer = await _answer(pool, found)
    exit_ = found.status.exit if found.status is not None else await exit_told(pool, found.name)
    now = time.time()
    if output is None:
        output = around.daemon.data_dir / COLLECTED / f"{found.name}-{compact(now)}"
    return await in_thread("pool-collect", partial(_collect, around, found, output, lines, _Said(answer, exit_), now))


async def _find(pool: Pool, around: Around, worker: str) -> _Found:
    declared = around.workers.get(worker.lower())
    status = await status_of(pool, worker)
    name = declared.name if declared is not None else status.name if status is not None else worker
    path = around.daemon.data_dir / WORKTREES / name
    try:
        record = await in_thread("pool-record", partial(read_record, path)) if "/" not in name else None
    except RecordError as error:
        raise PoolError(Code.FAILED, str(error), "agentctl worktrees") from error
    worktree = None if record is None else Worktree(path, record)
    if declared is None and status is None and worktree is None:
        raise unknown_worker(worker)
    isolation = WorkerIsolation.NONE if worktree is None else WorkerIsolation.WORKTREE
    facts = WorkerFacts("unknown", isolation=isolation) if declared is None else declared.facts
    return _Found(name, facts, status, worktree)


async def _answer(pool: Pool, found: _Found) -> str | None:
    if found.status is not None:
        last = (await look_at(pool, found.name)).last
        return None if last is None else last.text
    ends = await events_of(pool, (EventKind.TURN_ENDED,), [found.name], tail=1)
    text = fields(ends[-1].get("data")).get("text") if ends else None
    return text if isinstance(text, str) else None


def _changes(around: Around, found: _Found) -> Changes | None:
    """Find what it changed; ``None`` where there is no repository."""
    git = around.git(Path("/"))
    if found.worktree is not None:
        return read_changes(git, found.worktree)
    if found.facts.isolation is WorkerIsolation.NONE and found.facts.repo and found.facts.base:
        return read_repository_changes(git, Path(found.facts.repo), found.facts.base)
    return None


def _collect(around: Around, found: _Found, output: Path, lines: Sequence[str], said: _Said, now: float) -> Collection:
    output = absolute(str(output))
    try:
        changes = _changes(around, found)
        with new_folder(output) as folder:
            work = None if changes is None else write_work(changes, folder)
            summary = "nothing is known of changes: its folder is in no git repository"
            if changes is not None:
                summary = changes.stat().decode("utf-8", "replace").strip() or "nothing was changed"
            _write(folder, TRANSCRIPT, "".join(f"{line}\n" for line in lines))
            _write(folder, SUMMARY, f"{said.answer or ''}\n\n{summary}\n".lstrip())
            result = _result(found, output, changes, work, summary, said)
            _write(folder, MANIFEST, json.dumps(_manifest(result, work, now), indent=2) + "\n")
    except (GitError, RunnerError, RecordError) as error:
        raise PoolError(Code.FAILED, str(error), f"agentctl transcript {found.name} --tail-lines 50") from error
    except OutputError as error:
        raise PoolError(
            Code.CONFLICT, str(error), f"agentctl collect {found.name} --output NEW_FOLDER", output=str(output)
        ) from error
    return result


def _write(folder: OutputFolder, name: str, text: str) -> None:
    with folder.new_file(name) as file:
        file.write(text.encode("utf-8", "surrogateescape"))


def _result(
    found: _Found, output: Path, changes: Changes | None, work: WrittenWork | None, summary: str, said: _Said
) -> Collection:
    status = found.status
    files = (
        [] if work is None else [ChangedPath(each.path, each.status, each.added, each.removed) for each in work.changed]
    )
    commits = (
        []
        if work is None
        else [CollectedCommit(each.id, each.author, each.date, each.subject) for each in work.commits]
    )
    patch = None if work is None else str(output / PATCH)
    repo = found.facts.repo if found.worktree is None else found.worktree.record.repo
    base = "" if changes is None else f"git -C {repo} apply --index {patch}"
    return Collection(
        worker=found.name,
        folder=str(output),
        summary=summary[:_LONGEST_SUMMARY],
        answer=None if said.answer is None else said.answer[:_LONGEST_SUMMARY],
        base=None if changes is None else changes.start,
        head=None if changes is None else changes.head,
        patch=patch,
        patch_bytes=0 if work is None else work.patch_bytes,
        files=files[:_MOST_LISTED],
        commits=commits[:_MOST_LISTED],
        outside_allowed_paths=outside(found.facts.allowed_paths, [each.path for each in files]),
        not_written=[] if work is None else [f"{each.path}: {each.reason}" for each in work.not_written],
        transcript=str(output / TRANSCRIPT),
        manifest=str(output / MANIFEST),
        state=None if status is None else status.state.value,
        exit=said.exit,
        next=base if patch and work is not None and work.patch_bytes else f"agentctl terminate {found.name}",
    )


def _manifest(result: Collection, work: WrittenWork | None, now: float) -> dict[str, object]:
    whole: dict[str, object] = {"version": 1, "collected_at": rfc3339(now), **document(result)}
    if work is not None:
        whole |= {
            "files": [asdict(each) for each in work.changed],
            "commits": [asdict(each) for each in work.commits],
            "bundle": BUNDLE if work.bundle else None,
            "changed_files": FILES if work.files else None,
        }
    return whole


def outside(allowed: Sequence[str], paths: Sequence[str]) -> list[str]:
    """Name the changed paths that are below none of those that may be changed; none where anything may."""
    if not allowed or "." in allowed:
        return []
    return [path for path in paths if not any(path == each or path.startswith(f"{each}/") for each in allowed)]


async def artifacts(pool: Pool, worker: str, offset: int = 0, limit: int = 100) -> ArtifactPage:
    """List the files that a worker made or changed; raises as `collect`."""
    if offset < 0 or limit < 1:
        message = "expected an offset from 0 and a limit from 1"
        raise PoolError(Code.INVALID_ARGUMENT, message, f"agentctl artifacts {worker}")
    around = await look_around(pool)
    found = await _find(pool, around, worker)
    files = await in_thread("pool-artifacts", partial(_artifacts, around, found))
    page = files[offset : offset + limit]
    end = min(offset, len(files)) + len(page)
    return ArtifactPage(found.name, page, offset, end, len(files), has_more=end < len(files))


def _artifacts(around: Around, found: _Found) -> list[Artifact]:
    try:
        changes = _changes(around, found)
        files = [] if changes is None else changes.files()
    except (GitError, RunnerError) as error:
        raise PoolError(Code.FAILED, str(error), f"agentctl collect {found.name}") from error
    root = found.worktree.path if found.worktree is not None else Path(found.facts.repo or "/")
    return [Artifact(each.path, each.status, _size(root / each.path)) for each in files]


def _size(path: Path) -> int | None:
    try:
        return path.lstat().st_size
    except OSError:
        return None
