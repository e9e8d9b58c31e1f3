"""The record of a worktree: a JSON file beside its folder, which outlives the agent's declaration."""

from __future__ import annotations

import json
import os
from dataclasses import MISSING, asdict, dataclass, fields
from itertools import count
from pathlib import Path
from typing import Final

from agentd.files.regular import read_regular
from agentd.process.runner import Runner, RunnerError
from agentd.text.quoting import quote, shell_quote

_SUFFIX: Final = ".json"
_LARGEST: Final = 64 * 1024
_ASIDE: Final = "~"
"""Between an agent's name and the number of a worktree that was set aside; no agent name contains it."""

CREATING: Final = "making"
"""It is being created: no agent was in it yet."""


class RecordError(RuntimeError):
    """A record cannot be read or written; the message says why."""


@dataclass(frozen=True, slots=True)
class WorktreeRecord:
    """What agentd knows of a worktree that it created."""

    agent: str
    repo: str
    branch: str | None
    """``None`` for a read-only checkout."""
    base: str | None
    """As declared."""
    base_ref: str | None
    """Full name of the branch or tag that the base names; ``None`` for a commit."""
    base_commit: str
    """The commit it started from."""
    made: str
    """When it was created, RFC 3339."""
    under_way: str | None = None
    """`CREATING` until git has finished: nothing in it is the agent's work until then."""
    branch_found: str | None = None
    """Where the branch was when agentd found it: it stays when the worktree goes. ``None`` if agentd created it."""


@dataclass(frozen=True, slots=True)
class Worktree:
    """A worktree and its record."""

    path: Path
    record: WorktreeRecord

    @property
    def name(self) -> str:
        """The agent's name, followed by ``~`` and a number if it was set aside."""
        return self.path.name


def read_record(path: Path) -> WorktreeRecord | None:
    """Read the record of the worktree at `path`; ``None`` if there is none.

    Raises
    ------
    RecordError
        If it cannot be read, or is not agentd's.
    """
    file = _file(path)
    try:
        values = json.loads(read_regular(file, _LARGEST))
        # Older records lack the fields that have a default.
        known = [field.name for field in fields(WorktreeRecord) if field.default is MISSING or field.name in values]
        return checked(WorktreeRecord(**{name: _text_of(values[name]) for name in known}))  # type: ignore[arg-type]  # checked
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordError(f"cannot read {file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordError(f"{file} is not a record of agentd's: {error}; move it away") from error


def checked(record: WorktreeRecord) -> WorktreeRecord:
    """Refuse values that git would take for an option, and relative paths."""
    if not all(isinstance(text, str) for text in (record.agent, record.repo, record.base_commit, record.made)):
        raise TypeError("expected text, found null")
    if not record.repo.startswith("/"):
        raise ValueError(f"expected an absolute path as repo, found {quote(record.repo)}")
    for text in (record.branch, record.base, record.base_ref, record.base_commit, record.branch_found):
        if text is not None and text.startswith("-"):
            raise ValueError(f"expected no git option, found {quote(text)}")
    return record


def _text_of(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        msg = f"expected text, found {type(value).__name__}"
        raise TypeError(msg)
    if value is not None and "\0" in value:
        raise ValueError("expected text, found a NUL byte in it")
    return value


def list_worktrees(folder: Path) -> tuple[list[Worktree], list[str]]:
    """List the worktrees in the worktrees folder.

    Returns
    -------
    The worktrees, sorted by name, and a message for each record that cannot be used.

    Raises
    ------
    RecordError
        If the folder cannot be read.
    """
    worktrees, problems = [], []
    try:
        names = sorted(entry.name.removesuffix(_SUFFIX) for entry in folder.iterdir() if entry.suffix == _SUFFIX)
    except FileNotFoundError:
        return [], []
    except OSError as error:
        raise RecordError(f"cannot list {folder}: {error.strerror}") from error
    for name in names:
        try:
            record = read_record(folder / name)
        except RecordError as error:
            problems.append(str(error))
            continue
        if record is not None:
            worktrees.append(Worktree(folder / name, record))
    return worktrees, problems


def write_record(runner: Runner, path: Path, record: WorktreeRecord) -> None:
    """Write the record of the worktree at `path`, as the agents' user.

    Raises
    ------
    RecordError
        If it cannot be written.
    """
    file = _file(path)
    text = json.dumps(asdict(record), indent=1) + "\n"
    part, whole = shell_quote(f"{file}.part"), shell_quote(file)
    _script(runner, b"printf %s " + shell_quote(text) + b" >" + part + b" && mv -f -- " + part + b" " + whole)


def delete_record(runner: Runner, path: Path) -> None:
    """Remove the record of the worktree at `path`.

    Raises
    ------
    RecordError
        If it cannot be removed.
    """
    _script(runner, b"rm -f -- " + shell_quote(_file(path)))


def free_path_beside(worktree: Worktree) -> Path:
    """Find a path to set a worktree aside: ``NAME~1``, then ``NAME~2`` and so on.

    Raises
    ------
    RecordError
        If a record there cannot be read.
    """
    for number in count(1):
        candidate = worktree.path.with_name(f"{worktree.path.name}{_ASIDE}{number}")
        # The same record without a folder was left by an interrupted attempt.
        if not os.path.lexists(candidate) and read_record(candidate) in (None, worktree.record):
            return candidate
    raise AssertionError


def find_set_aside(worktree: Worktree) -> Path | None:
    """Find where a worktree was set aside, if agentd was killed before it removed the old record.

    Raises
    ------
    RecordError
        If the worktrees folder cannot be read.
    """
    for other in list_worktrees(worktree.path.parent)[0]:
        beside = other.name.rpartition(_ASIDE)[0] == worktree.name
        if beside and other.record == worktree.record and os.path.lexists(other.path):
            return other.path
    return None


def removal_path(path: Path) -> Path:
    """Where a worktree is moved before it is deleted."""
    return path.with_name(f"{path.name}{_ASIDE}removed")


def _file(path: Path) -> Path:
    return path.with_name(path.name + _SUFFIX)


def _script(runner: Runner, text: bytes) -> None:
    try:
        runner.must(text, f"as user {runner.user.name}")
    except RunnerError as error:
        raise RecordError(str(error)) from error
