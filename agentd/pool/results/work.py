"""What is told of a worker's work: changes, files, output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentd.model.json_schema import Count, State
from agentd.pool.results.common import Exit


@dataclass(frozen=True, slots=True)
class ChangedPath:
    """A file that differs from the base."""

    path: str
    status: str
    """git's letter: A, M, D or T."""
    added: Count | None
    """Lines; null for a binary file."""
    removed: Count | None


@dataclass(frozen=True, slots=True)
class CollectedCommit:
    """A commit of a worker."""

    id: str
    author: str
    date: str
    subject: str


@dataclass(frozen=True, slots=True)
class Collection:
    """A worker's work in a folder."""

    worker: str
    folder: str
    summary: str
    """What was changed, in a few lines."""
    answer: str | None
    """What it said last."""
    base: str | None
    """Commit that the patch applies to; null where there is no git repository."""
    head: str | None
    patch: str | None
    """Path of the patch: commits, staged, unstaged and untracked changes as one."""
    patch_bytes: Count
    files: Sequence[ChangedPath]
    commits: Sequence[CollectedCommit]
    outside_allowed_paths: Sequence[str]
    """What it changed although it was not to."""
    not_written: Sequence[str]
    transcript: str | None
    """Path of the end of its output."""
    manifest: str
    state: State | None
    exit: Exit | None
    next: str


@dataclass(frozen=True, slots=True)
class TranscriptPage:
    """A part of what a worker printed."""

    worker: str
    lines: Sequence[str]
    offset: Count
    """Number of the first line, from 0."""
    next_offset: Count
    total: Count
    """Lines there are so far."""
    has_more: bool


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a worker made or changed."""

    path: str
    status: str
    bytes: Count | None
    """Null for one that it deleted."""


@dataclass(frozen=True, slots=True)
class ArtifactPage:
    """A part of the files that a worker made or changed."""

    worker: str
    artifacts: Sequence[Artifact]
    offset: Count
    next_offset: Count
    total: Count
    has_more: bool
