"""Find what would be lost with a worktree."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agentd.files.regular import read_regular
from agentd.model.user import AgentUser
from agentd.process.proc import PROC, numbers_in
from agentd.text.quoting import some
from agentd.worktrees.git import Git, split_z
from agentd.worktrees.record import Worktree
from agentd.worktrees.repository import entry_of, repository_of

_UNDER_WAY: Final = {
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "BISECT_LOG": "a bisection",
    "sequencer": "a cherry-pick or revert",
}
"""Meaning of files in a worktree's git directory (gitrepository-layout(5))."""

_KEPT: Final = ("refs/heads/", "refs/remotes/", "refs/tags/")
"""Refs that keep commits."""

CREATION_LOCK: Final = "agentd is making it"
"""Reason of git's lock on a worktree that is being created. Kept in repositories: do not change it."""

_LONGEST_NOTE: Final = 64 * 1024
"""Bytes."""


@dataclass(frozen=True, slots=True)
class Work:
    """What only one worktree holds."""

    uncommitted: tuple[str, ...] = ()
    """Paths that are staged, changed, conflicted or untracked, sorted."""
    hidden: tuple[str, ...] = ()
    """Paths whose changes git is told to overlook (``assume-unchanged``, ``skip-worktree``)."""
    ignored: tuple[str, ...] = ()
    """Paths that git ignores; folders end in ``/``."""
    nested: tuple[str, ...] = ()
    """Repositories and submodules inside it, which cannot be saved."""
    missing: tuple[str, ...] = ()
    """Submodules that were not initialised."""
    unmerged: int = 0
    """Commits of its branch or HEAD that no other branch, remote branch or tag holds."""
    under_way: str | None = None
    """An unfinished rebase, merge or the like."""
    locked: str | None = None
    """Reason of a ``git worktree lock``; ``""`` if none was given."""
    users: tuple[int, ...] = ()
    """PIDs whose working directory is in it."""
    head: str | None = None
    """Commit."""
    tip: str | None = None
    """Commit of its own branch."""

    @property
    def dirty(self) -> bool:
        """Whether there is uncommitted work, ignored files not counted."""
        return bool(self.uncommitted or self.hidden or self.under_way)

    def reasons(self) -> list[str]:
        """Say what would be lost, ignored files not counted."""
        found = []
        if self.uncommitted:
            found.append(f"{_number(len(self.uncommitted), 'uncommitted file')} ({some(self.uncommitted)})")
        if self.hidden:
            found.append(f"{_number(len(self.hidden), 'file')} hidden from git ({some(self.hidden)})")
        if self.unmerged:
            found.append(_number(self.unmerged, "unmerged commit"))
        if self.under_way is not None:
            found.append(f"{self.under_way} under way")
        return found

    def obstacles(self, shell: int | None = None) -> list[str]:
        """Say why it must not be removed at all; the process `shell` may be in it."""
        found = []
        if self.nested:
            found.append(f"it holds repositories of its own ({some(self.nested)}), which cannot be saved")
        if self.locked is not None:
            found.append("it is locked" + (f": {self.locked}" if self.locked else ""))
        users = [str(user) for user in self.users if user != shell]
        if users:
            found.append(f"processes are in it ({', '.join(users)})")
        return found

    def ignored_reason(self) -> str | None:
        """Say which ignored files would be lost."""
        if not self.ignored:
            return None
        number = _number(len(self.ignored), "ignored file or folder", "ignored files or folders")
        return f"{number} ({some(self.ignored)})"


def inspect(git: Git, worktree: Worktree) -> Work:
    """Inspect everything a worktree holds.

    Parameters
    ----------
    worktree
        Its folder may be gone.

    Raises
    ------
    GitError
        If git cannot say; then nothing may be removed.
    """
    repository = repository_of(git, worktree)
    own_branch = _own_branch(repository, worktree)
    tip = None if own_branch is None else repository.commit(own_branch)
    if not os.path.lexists(worktree.path):
        entry = entry_of(repository, worktree.path)
        # git still knows what was checked out.
        head = None if entry is None else repository.commit(entry.head)
        unmerged = _unmerged(repository, worktree, own_branch, [tip, head])
        return Work(unmerged=unmerged, locked=None if entry is None else _foreign(entry.locked), head=head, tip=tip)
    here = git.in_folder(worktree.path)
    head = here.commit("HEAD")
    own = here.git_dir(repository)
    look = _status(here)
    inside, missing = _submodules(here, own)
    return Work(
        uncommitted=tuple(sorted(look.changed)),
        hidden=tuple(here.hidden()),
        ignored=tuple(sorted(look.ignored)),
        nested=(*sorted(look.nested), *inside),
        missing=missing,
        unmerged=_unmerged(repository, worktree, own_branch, [tip, head]),
        under_way=next((name for file, name in _UNDER_WAY.items() if os.path.lexists(own / file)), None),
        locked=_lock_reason(own, here.runner.reader),
        users=processes_in(worktree.path),
        head=head,
        tip=tip,
    )


@dataclass(slots=True)
class _Status:
    changed: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    nested: list[str] = field(default_factory=list)


def _status(here: Git) -> _Status:
    options = ("--porcelain=v1", "-z", "--untracked-files=all", "--ignored=matching")
    look = _Status()
    # Options override the repository's status.* and diff.* settings, which could hide files.
    for entry in here.paths("status", *options, "--ignore-submodules=none", "--no-renames"):
        code, path = entry[:2], entry[3:]
        if code == "!!":
            look.ignored.append(path)
        elif code == "??" and path.endswith("/"):
            # Only repositories inside this one are listed as folders.
            look.nested.append(path)
        else:
            look.changed.append(path)
    return look


def _submodules(here: Git, own: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Find the initialised submodules, and the others."""
    links = _links(here)
    inside = tuple(path for path in links if os.path.lexists(here.at / path / ".git"))
    missing = tuple(path for path in links if path not in inside)
    return inside or (("its submodules' commits",) if os.path.lexists(own / "modules") else ()), missing


def _links(here: Git) -> list[str]:
    staged = here.out("ls-files", "--stage", "-z")
    return [entry.partition("\t")[2] for entry in split_z(staged) if entry.startswith("160000 ")]


def missing_submodules(here: Git) -> tuple[str, ...]:
    """Find the submodules of a worktree that were not initialised.

    Raises
    ------
    GitError
        If git cannot say.
    """
    return tuple(path for path in _links(here) if not os.path.lexists(here.at / path / ".git"))


def _own_branch(repository: Git, worktree: Worktree) -> str | None:
    """Give the ref of the worktree's branch, unless another worktree has it checked out."""
    if worktree.record.branch is None:
        return None
    ref = f"refs/heads/{worktree.record.branch}"
    user = repository.line("for-each-ref", "--format=%(worktreepath)", ref)
    return ref if user in ("", str(worktree.path), os.path.realpath(worktree.path)) else None


def _unmerged(repository: Git, worktree: Worktree, own: str | None, tips: list[str | None]) -> int:
    """Count the commits that only this worktree's branch or HEAD holds."""
    known = sorted({tip for tip in tips if tip is not None})
    if not known:
        return 0
    listed = repository.line("for-each-ref", "--format=%(refname)", *_KEPT).splitlines()
    kept = [ref for ref in listed if ref != own]
    excluded = [f"^{ref}" for ref in kept]
    starts = (repository.commit(worktree.record.base_commit), repository.commit("HEAD"))
    excluded += [f"^{commit}" for commit in starts if commit is not None]
    request = "\n".join([*known, *excluded]) + "\n"
    return repository.number("rev-list", "--count", "--ignore-missing", "--stdin", stdin=os.fsencode(request))


def _lock_reason(own: Path, reader: AgentUser | None) -> str | None:
    try:
        # The agents' user may have put a FIFO there, or a link to a file of root's.
        reason = read_regular(own / "locked", _LONGEST_NOTE, reader).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"its lock file cannot be read: {error.strerror}"
    return _foreign(reason)


def _foreign(reason: str | None) -> str | None:
    return None if reason == CREATION_LOCK else reason


def has_creation_lock(own: Path) -> bool:
    """Whether a worktree's git directory has the lock of an unfinished creation."""
    return _lock_reason(own, None) is None and os.path.lexists(own / "locked")


def creation_interrupted(path: Path) -> bool:
    """Whether a worktree still has the lock of its creation, asking only the file system."""
    own = _linked_git_dir(path)
    return own is not None and has_creation_lock(own)


def leads_nowhere(path: Path) -> bool:
    """Whether a worktree's link to its git directory is broken, asking only the file system."""
    own = _linked_git_dir(path)
    return own is not None and not os.path.lexists(own)


def _linked_git_dir(path: Path) -> Path | None:
    try:
        link = read_regular(path / ".git", _LONGEST_NOTE).removeprefix(b"gitdir:").strip()
    except OSError:
        return None
    # After a power cut the link may be all NUL bytes.
    return None if b"\0" in link else path / os.fsdecode(link)


def processes_in(folder: Path) -> tuple[int, ...]:
    """Find the processes whose working directory is in a folder, as far as this user may see them (Linux only)."""
    found = []
    root = os.path.realpath(folder)
    for pid in numbers_in(PROC):
        try:
            where = os.readlink(f"{PROC}/{pid}/cwd")  # noqa: PTH115 (Path would cost twice the time for each process)
        except OSError:
            continue
        if where == root or where.startswith(f"{root}/"):
            found.append(pid)
    return tuple(sorted(found))


def _number(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
