"""What an agent changed in its worktree: committed, uncommitted and untracked, against where it started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from agentd.tmux.launcher import quote
from agentd.workspaces.git import CHECKOUT_LIMIT, Git, GitError, split_z
from agentd.workspaces.held import Place

_DIFF: Final = ("diff", "--no-ext-diff", "--no-textconv", "--find-renames")
LINK: Final = "120000"
EXECUTABLE: Final = "100755"
_AT_ONCE: Final = 100
"""Files that are held in memory together."""
_SUBMODULE: Final = "160000"

_INDEX: Final = "agentd-index"
_COMMIT: Final = "%H%x00%an%x00%aI%x00%s"


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """One file that differs from where the worktree started."""

    path: str
    status: str
    """git's letter: ``A`` added, ``M`` modified, ``D`` deleted, ``T`` another type."""
    added: int | None
    """Lines; ``None`` for a binary file."""
    removed: int | None


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of a worktree."""

    id: str
    author: str
    date: str
    subject: str


@dataclass(frozen=True, slots=True)
class Changes:
    """The state of a worktree at one moment, against where it started."""

    git: Git
    """At the worktree."""
    start: str
    """Commit."""
    head: str
    """Commit."""
    tree: str
    """Everything in the worktree that git does not ignore, as a tree of git's."""

    def patch(self, stdout: IO[bytes] | None = None, *, colour: bool = False) -> bytes:
        """Write the difference as a patch that ``git apply`` takes.

        Raises
        ------
        GitError
            If git cannot.
        """
        style = "--color=always" if colour else "--no-color"
        return self.git.out(*_DIFF, "--binary", style, self.start, self.tree, stdout=stdout, limit=CHECKOUT_LIMIT)

    def stat(self, *, colour: bool = False, columns: int = 80) -> bytes:
        """Sum the difference up, a line for each file.

        Raises
        ------
        GitError
            If git cannot.
        """
        style = "--color=always" if colour else "--no-color"
        return self.git.out(*_DIFF, f"--stat={columns}", style, self.start, self.tree)

    def files(self) -> list[ChangedFile]:
        """List the files that differ, sorted by path.

        Raises
        ------
        GitError
            If git cannot.
        """
        plain = ("--no-renames", "-z", self.start, self.tree)
        states = split_z(self.git.out("diff", "--no-ext-diff", "--name-status", *plain))
        letters = dict(zip(states[1::2], states[::2], strict=True))
        found = []
        for entry in split_z(self.git.out("diff", "--no-ext-diff", "--no-textconv", "--numstat", *plain)):
            added, removed, path = entry.split("\t", 2)
            found.append(ChangedFile(path, letters[path], _lines(added), _lines(removed)))
        return sorted(found, key=lambda file: file.path)

    def commits(self) -> list[Commit]:
        """List the commits since the start, oldest first.

        Raises
        ------
        GitError
            If git cannot.
        """
        listed = self.git.out("log", "-z", "--reverse", f"--format={_COMMIT}", f"{self.start}..{self.head}")
        words = listed.decode("utf-8", "replace").removesuffix("\0").split("\0") if listed else []
        return [Commit(*words[index : index + 4]) for index in range(0, len(words), 4)]

    def contents(self, paths: frozenset[str]) -> Iterator[tuple[str, str, bytes]]:
        """Read files as they are in the worktree now.

        Yields
        ------
        Path, git's mode (`LINK`, `EXECUTABLE` or another), and content, which is a link's target.

        Raises
        ------
        GitError
            If git cannot.
        """
        wanted: list[tuple[str, str, str]] = []
        for entry in split_z(self.git.out("ls-tree", "-r", "-z", "--full-tree", self.tree)):
            kind, _, path = entry.partition("\t")
            mode, _, blob = kind.split(" ", 2)
            if path in paths and mode != _SUBMODULE:
                wanted.append((path, mode, blob))
        for index in range(0, len(wanted), _AT_ONCE):
            part = wanted[index : index + _AT_ONCE]
            blobs = self._blobs([blob for _, _, blob in part])
            for (path, mode, _), content in zip(part, blobs, strict=True):
                yield path, mode, content

    def _blobs(self, names: list[str]) -> Iterator[bytes]:
        output = self.git.out("cat-file", "--batch", stdin="".join(f"{name}\n" for name in names).encode())
        while output:
            # NAME SP TYPE SP SIZE LF CONTENT LF
            head, _, rest = output.partition(b"\n")
            size = int(head.rpartition(b" ")[2])
            yield rest[:size]
            output = rest[size + 1 :]


def look_at_changes(git: Git, place: Place) -> Changes:
    """Take the state of a worktree as it is now; neither it nor its index is touched.

    Raises
    ------
    GitError
        If git cannot.
    """
    here = git.elsewhere(place.path)
    own = here.own_folder(Path(place.held.repo))
    head = here.commit("HEAD")
    if head is None:
        raise GitError(f"{place.path} has no commit to compare with")
    return Changes(here, _start(here, place, head), head, snapshot(here, own))


def _start(here: Git, place: Place, head: str) -> str:
    """Find where the worktree's work begins.

    That is where its commits and the base parted, so that what came from the base since does not count as the agent's;
    and where it was made, if all its commits are in the base already.
    """
    held = place.held
    if held.base_ref is not None and here.commit(held.base_ref) is not None:
        parted = here.found("merge-base", held.base_ref, head)
        if parted is not None and parted != head:
            return parted
    if here.commit(held.base_commit) is None:
        raise GitError(f"{place.path} began at commit {held.base_commit}, which {held.repo} no longer has")
    return held.base_commit


def snapshot(here: Git, own: Path) -> str:
    """Write all that is in a worktree, untracked files included and ignored ones not, as a tree.

    Parameters
    ----------
    here
        At the worktree.
    own
        The folder that git keeps of it.

    Raises
    ------
    GitError
        If git cannot.
    """
    with _other_index(here, own) as environment:
        marked = [entry for entry in here.paths("ls-files", "-v", "-z") if entry[0].islower() or entry[0] == "S"]
        there = [entry[2:] for entry in marked if os.path.lexists(here.at / entry[2:])]
        if there:
            names = b"".join(os.fsencode(path) + b"\0" for path in there)
            for mark in ("--no-assume-unchanged", "--no-skip-worktree"):
                here.out("update-index", mark, "-z", "--stdin", stdin=names, environment=environment)
        here.out("add", "--all", environment=environment, limit=CHECKOUT_LIMIT)
        return here.line("write-tree", environment=environment)


@contextmanager
def _other_index(here: Git, own: Path) -> Iterator[dict[str, str]]:
    """Give a copy of a worktree's index to work on: so git need not read again what it knows to be unchanged."""
    index = own / f"{_INDEX}.{os.getpid()}"
    copy, original = quote(os.fsencode(index)), quote(os.fsencode(own / "index"))
    # Another process of this number may have been killed.
    here.runner.script(
        b"rm -f -- " + copy + b" " + copy + b".lock;"
        b" if [ -e " + original + b" ]; then cp -p -- " + original + b" " + copy + b"; fi"
    )
    try:
        yield {"GIT_INDEX_FILE": str(index)}
    finally:
        here.runner.script(b"rm -f -- " + copy + b" " + copy + b".lock")


def _lines(text: str) -> int | None:
    return int(text) if text.isdecimal() else None
