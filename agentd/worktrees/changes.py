"""What an agent changed in its worktree since it started: committed, uncommitted and untracked."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentd.process.runner import MOST
from agentd.text.quoting import shell_quote
from agentd.worktrees.blobs import Blobs
from agentd.worktrees.cleanup import log_cleanup_errors
from agentd.worktrees.git import CHECKOUT_LIMIT, Git, GitError, is_object, split_z
from agentd.worktrees.record import Worktree
from agentd.worktrees.repository import repository_of
from agentd.worktrees.tree_paths import TreeFile, check_files, tree_file

_DIFF: Final = ("diff", "--no-ext-diff", "--no-textconv", "--find-renames")
_LETTER: Final = re.compile("[A-Z]", re.ASCII)
_COUNTS: Final = re.compile(r"([0-9]{1,18}|-)\t([0-9]{1,18}|-)\t(.+)", re.ASCII | re.DOTALL)
_CONTRADICTION: Final = "git gave two lists of what differs that do not fit; look at that repository"

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
    """The state of a worktree at one moment, and where it started; each method raises `GitError` if git fails."""

    git: Git
    """In the worktree."""
    start: str
    """Commit."""
    head: str
    """Commit."""
    tree: str
    """Tree object of everything in the worktree that git does not ignore."""

    def patch(self, take: Callable[[bytes], object] | None = None, most: int = MOST) -> bytes:
        """Write the difference as a patch that ``git apply`` takes.

        Parameters
        ----------
        take
            Called with each part, instead of a result.
        most
            Limit, in bytes.
        """
        return self.git.out(
            *_DIFF, "--binary", "--no-color", self.start, self.tree, take=take, limit=CHECKOUT_LIMIT, most=most
        )

    def stat(self, *, columns: int = 80) -> bytes:
        """Summarise the difference, a line of at most `columns` for each file."""
        return self.git.out(*_DIFF, f"--stat={columns}", "--no-color", self.start, self.tree)

    def files(self) -> list[ChangedFile]:
        """List the files that differ, sorted by path."""
        plain = ("--no-renames", "-z", self.start, self.tree)
        states = split_z(self.git.out("diff", "--no-ext-diff", "--name-status", *plain))
        letters = dict(zip(states[1::2], states[::2], strict=False))
        found = []
        for entry in split_z(self.git.out("diff", "--no-ext-diff", "--no-textconv", "--numstat", *plain)):
            counts = _COUNTS.fullmatch(entry)
            letter = None if counts is None else letters.get(counts[3])
            if counts is None or letter is None or not _LETTER.fullmatch(letter):
                raise GitError(_CONTRADICTION)
            found.append(ChangedFile(counts[3], letter, _lines(counts[1]), _lines(counts[2])))
        return sorted(found, key=lambda file: file.path)

    def commits(self) -> list[Commit]:
        """List the commits since the start, oldest first."""
        listed = self.git.out("log", "-z", "--reverse", f"--format={_COMMIT}", f"{self.start}..{self.head}")
        words = listed.decode("utf-8", "replace").removesuffix("\0").split("\0") if listed else []
        if len(words) % 4 or not all(map(is_object, words[::4])):
            raise GitError("git gave a list of commits that is none; look at that repository")
        return [Commit(*words[index : index + 4]) for index in range(0, len(words), 4)]

    def tree_files(self, paths: frozenset[str]) -> list[TreeFile]:
        """Look files up as they are in the worktree now; their paths are safe to write into a folder.

        Raises
        ------
        GitError
            If git fails, or names an unsafe path.
        """
        entries = map(tree_file, split_z(self.git.out("ls-tree", "-r", "-z", "--full-tree", self.tree)))
        found = [file for file in entries if file.path in paths]
        check_files(found)
        return found

    def read(
        self, files: Sequence[TreeFile], begin: Callable[[TreeFile], Callable[[bytes], object]], most: int
    ) -> None:
        """Read files as they are in the worktree now.

        Parameters
        ----------
        files
            The files; no submodules.
        begin
            Called with each file, gives a function that is called with the parts of its content (a link's target).
        most
            Limit of all together, in bytes.

        Raises
        ------
        GitError
            If git fails, or prints anything else.
        """
        blobs = Blobs(files, begin, most)
        names = "".join(f"{file.object}\n" for file in files).encode()
        longest = blobs.longest_answer
        self.git.out("cat-file", "--batch", stdin=names, take=blobs.take, limit=CHECKOUT_LIMIT, most=longest)
        blobs.end()


def read_changes(git: Git, worktree: Worktree) -> Changes:
    """Read the state of a worktree without changing it or its index.

    Raises
    ------
    GitError
        If git fails.
    """
    here = git.in_folder(worktree.path)
    own = here.git_dir(repository_of(git, worktree))
    head = here.commit("HEAD")
    if head is None:
        raise GitError(f"{worktree.path} has no commit to compare with")
    return Changes(here, _start(here, worktree, head), head, snapshot(here, own))


def read_repository_changes(git: Git, root: Path, base: str) -> Changes:
    """Read what differs in a repository's own folder from a commit, whoever changed it; nothing is changed by that.

    Raises
    ------
    GitError
        If git fails, or has no such commit.
    """
    here = git.in_folder(root)
    start, head = here.commit(base), here.commit("HEAD")
    if start is None or head is None:
        raise GitError(f"{root} has no commit {base} any more to compare with")
    own = Path(os.fsdecode(here.out("rev-parse", "--absolute-git-dir").rstrip(b"\n")))
    return Changes(here, start, head, snapshot(here, own))


def _start(here: Git, worktree: Worktree, head: str) -> str:
    """Find the commit that the agent's work starts from.

    That is where its commits and the base parted, so that later commits of the base do not count as the agent's; or
    where the worktree was created, if the base has all its commits.
    """
    record = worktree.record
    if record.base_ref is not None and here.commit(record.base_ref) is not None:
        parted = here.found("merge-base", record.base_ref, head)
        if parted is not None and is_object(parted) and parted != head:
            return parted
    start = here.commit(record.base_commit)
    if start is None:
        raise GitError(f"{worktree.path} began at commit {record.base_commit}, which {record.repo} no longer has")
    return start


def snapshot(here: Git, own: Path) -> str:
    """Write a tree object of all files in a worktree that git does not ignore.

    Raises
    ------
    GitError
        If git fails.
    """
    with _temporary_index(here, own) as environment:
        hidden = here.hidden()
        if hidden:
            names = b"".join(os.fsencode(path) + b"\0" for path in hidden)
            for mark in ("--no-assume-unchanged", "--no-skip-worktree"):
                here.out("update-index", mark, "-z", "--stdin", stdin=names, environment=environment)
        here.out("add", "--all", environment=environment, limit=CHECKOUT_LIMIT)
        return here.object("write-tree", environment=environment)


@contextmanager
def _temporary_index(here: Git, own: Path) -> Iterator[dict[str, str]]:
    """Give a copy of a worktree's index, with which git need not read unchanged files again."""
    index = own / f"{_INDEX}.{os.getpid()}"
    copy, original = shell_quote(index), shell_quote(own / "index")
    # A killed process with this PID may have left them.
    here.runner.script(
        b"rm -f -- " + copy + b" " + copy + b".lock;"
        b" if [ -e " + original + b" ]; then cp -p -- " + original + b" " + copy + b"; fi"
    )
    try:
        yield {"GIT_INDEX_FILE": str(index)}
    finally:
        with log_cleanup_errors():
            here.runner.script(b"rm -f -- " + copy + b" " + copy + b".lock")


def _lines(text: str) -> int | None:
    return int(text) if text.isdecimal() else None
