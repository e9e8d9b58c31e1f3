"""Snapshots: what an agent was doing at a moment, as a file, and its worktree on refs of the repository.

The files are beside the worktrees and belong to the agents' user, who could write anything into them: what is read is
checked, and leads nowhere but to refs of agentd's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, TypeAdapter, ValidationError

from agentd.files.json_faults import first_fault
from agentd.files.regular import read_regular
from agentd.process.runner import Runner
from agentd.text.quoting import shell_quote
from agentd.worktrees.record import RecordError, WorktreeRecord, checked

FOLDER: Final = "snapshots"
"""Of the snapshots, in the data directory beside the worktrees."""

FILE: Final = "snapshot.json"
"""Name of a snapshot in a folder that can be carried elsewhere."""

REMOVED: Final = "its worktree was removed"
"""Why agentd takes a snapshot by itself."""

_LARGEST: Final = 4 * 1024 * 1024
"""Bytes: the largest prompt is 1 MB."""
_VERSION: Final = 1
_SUFFIX: Final = ".json"
_STAMP: Final = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z", re.ASCII)

_Ref = Annotated[str, Field(pattern=r"^refs/agentd/(trash|snapshots)/[A-Za-z0-9._-]+/[0-9TZ.]+/(work|branch|head)$")]
_Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")]
Declaration = Mapping[str, object]
"""The fields of an agent's table in the jcard."""


@dataclass(frozen=True, slots=True)
class SavedRef:
    """Part of a worktree on a ref."""

    ref: _Ref
    commit: _Commit


@dataclass(frozen=True, slots=True)
class SavedWorktree:
    """A worktree, as it was."""

    record: WorktreeRecord
    branch: SavedRef | None
    """The tip of its branch; ``None`` without one."""
    head: SavedRef | None
    """What was checked out, if that was not the branch."""
    work: SavedRef | None
    """What was not committed, untracked files too; its second parent is what was staged."""

    @property
    def refs(self) -> list[str]:
        """All of them."""
        return [each.ref for each in (self.branch, self.head, self.work) if each is not None]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An agent at a moment."""

    version: int
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._~-]*$", max_length=255)]
    """Of the agent, followed by ``~`` and a number if its worktree was set aside."""
    stamp: str
    """When it was taken, as in its refs; names the snapshot."""
    why: str
    conversation: str | None = None
    """The harness's own id of the conversation."""
    harness: str | None = None
    workdir: str | None = None
    """The folder that the conversation was held in."""
    declaration: Declaration | None = None
    """Only in a folder that an operator made: the agents' user must not declare agents by a snapshot."""
    worktree: SavedWorktree | None = None

    @classmethod
    def taken(cls, name: str, now: float, why: str, worktree: SavedWorktree | None) -> Snapshot:
        """Take one; `now` is in seconds since the epoch."""
        return cls(_VERSION, name, stamp_of(now), why, worktree=worktree)

    def text(self) -> bytes:
        """Write it as JSON."""
        return _JSON.dump_json(self, indent=1) + b"\n"


_JSON: Final = TypeAdapter(Snapshot)


def stamp_of(now: float) -> str:
    """Give the name of a moment, in seconds since the epoch; names sort by time."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def write_snapshot(runner: Runner, data_dir: Path, snapshot: Snapshot) -> Path:
    """Keep a snapshot in the data directory, as the agents' user, who alone can read it.

    Raises
    ------
    RunnerError
        If it cannot be written.
    """
    file = data_dir / FOLDER / snapshot.name / f"{snapshot.stamp}{_SUFFIX}"
    part, whole, folder = shell_quote(f"{file}.part"), shell_quote(file), shell_quote(file.parent)
    kept = replace(snapshot, declaration=None).text()
    script = b"umask 077; mkdir -p -- " + folder + b" && printf %s " + shell_quote(kept.decode())
    runner.must(script + b" >" + part + b" && mv -f -- " + part + b" " + whole, f"cannot write {file}")
    return file


def read_snapshot(file: Path) -> Snapshot:
    """Read a snapshot.

    Raises
    ------
    RecordError
        If there is none, or none that this version understands.
    """
    try:
        found = _JSON.validate_json(read_regular(file, _LARGEST))
    except OSError as error:
        raise RecordError(f"cannot read {file}: {error.strerror}") from error
    except ValidationError as error:
        raise RecordError(f"{file} is not a snapshot of agentd's: {first_fault(error)}") from None
    if found.version != _VERSION:
        raise RecordError(f"{file} has version {found.version}, expected {_VERSION}: a newer agentd wrote it")
    try:
        if not _STAMP.fullmatch(found.stamp):
            raise ValueError(f"expected a time as stamp, found {found.stamp!r}")
        if found.worktree is not None:
            checked(found.worktree.record)
    except (TypeError, ValueError) as error:
        raise RecordError(f"{file} is not a snapshot of agentd's: {error}") from None
    return found


def list_snapshots(data_dir: Path, name: str | None) -> tuple[list[Snapshot], list[str]]:
    """List the kept snapshots of an agent, case ignored, or of all.

    Returns
    -------
    The snapshots by name and time, and a message for each that cannot be read.

    Raises
    ------
    RecordError
        If a folder cannot be read.
    """
    found, problems = [], []
    for folder in _entries(data_dir / FOLDER):
        if name is not None and folder.name.lower() != name.lower():
            continue
        for file in _entries(folder):
            if file.suffix != _SUFFIX:
                continue
            try:
                snapshot = read_snapshot(file)
            except RecordError as error:
                problems.append(str(error))
                continue
            if (snapshot.name, f"{snapshot.stamp}{_SUFFIX}") == (folder.name, file.name):
                found.append(snapshot)
            else:
                problems.append(f"{file} is the snapshot of another agent or time: move it away")
    return found, problems


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise RecordError(f"cannot list {folder}: {error.strerror}") from error
