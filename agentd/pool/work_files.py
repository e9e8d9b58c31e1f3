"""Write what an agent changed into a folder.

It is read by git, as the agents' user, from git's own objects: whatever the agent puts into its worktree meanwhile,
links above all, cannot make us read another file. Nor can git's output, which that user can forge, make us write
another one: all paths are checked before the first is written, and files are written relative to descriptors
(`output_folder`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from agentd.pool.output_folder import OutputFolder
from agentd.text.quoting import quote
from agentd.worktrees.changes import ChangedFile, Changes, Commit
from agentd.worktrees.git import CHECKOUT_LIMIT
from agentd.worktrees.tree_paths import EXECUTABLE, LINK, SUBMODULE, TreeFile, folded, leads_outside

PATCH: Final = "changes.patch"
BUNDLE: Final = "commits.bundle"
FILES: Final = "files"

MOST: Final = 4 * 1024**3
"""Most bytes of the patch, of the bundle, and of all files together: an agent must not fill our disk."""


@dataclass(frozen=True, slots=True)
class NotWritten:
    """A changed file that was left out."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class WrittenWork:
    """What was written."""

    commits: Sequence[Commit]
    changed: Sequence[ChangedFile]
    patch_bytes: int
    bundle: bool
    files: bool
    not_written: Sequence[NotWritten]


def write_work(changes: Changes, folder: OutputFolder) -> WrittenWork:
    """Write the patch, the commits and the changed files as they are now.

    Raises
    ------
    GitError
        If git fails, or there is too much.
    OutputError
        If a file cannot be created under its name.
    """
    commits, files = changes.commits(), changes.files()
    present = changes.tree_files(frozenset(file.path for file in files if file.status != "D"))
    with folder.new_file(PATCH) as file:
        changes.patch(file.write, MOST)
        size = file.tell()
    if commits:
        with folder.new_file(BUNDLE) as file:
            bundle = ("bundle", "create", "--quiet", "-", f"{changes.start}..HEAD")
            changes.git.out(*bundle, take=file.write, limit=CHECKOUT_LIMIT, most=MOST)
    left = _write_files(changes, present, folder)
    return WrittenWork(commits, files, size, bool(commits), bool(present), left)


def _write_files(changes: Changes, present: list[TreeFile], folder: OutputFolder) -> list[NotWritten]:
    """Write the changed files as they are in the worktree, and return those left out, with the reason."""
    files = [file for file in present if file.mode not in (LINK, SUBMODULE)]
    links = [file for file in present if file.mode == LINK]
    left = [NotWritten(file.path, "a repository of its own") for file in present if file.mode == SUBMODULE]
    writer = _Writer(folder)
    try:
        changes.read(files, writer.begin, MOST)
    finally:
        writer.end()
    targets: dict[str, bytearray] = {link.path: bytearray() for link in links}
    changes.read(links, lambda link: targets[link.path].extend, MOST)
    # Links must not lead the reader, or a program that follows them, to the reader's own files.
    known = {folded(link.path): link for link in links}
    for link in links:
        target = bytes(targets[link.path])
        if leads_outside(link, target, known):
            left.append(NotWritten(link.path, f"a link that leads outside, to {quote(os.fsdecode(target))}"))
        else:
            folder.new_link(f"{FILES}/{link.path}", target)
    return left


class _Writer:
    """Writes files one after the other."""

    def __init__(self, folder: OutputFolder) -> None:
        self._folder = folder
        self._file: BinaryIO | None = None

    def begin(self, file: TreeFile) -> Callable[[bytes], object]:
        self.end()
        self._file = self._folder.new_file(f"{FILES}/{file.path}", executable=file.mode == EXECUTABLE)
        return self._file.write

    def end(self) -> None:
        if self._file is not None:
            self._file.close()
