"""Prepare an agent's worktree before a launch: use the one that is there, or make room for a new one."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import structlog

from agentd.model.spec import Checkout
from agentd.text.quoting import shell_quote
from agentd.worktrees.cleanup import log_cleanup_errors, remove_stale_lock
from agentd.worktrees.create import adopt_worktree, create_worktree, resolve_base, write_protect
from agentd.worktrees.git import Git, GitError, GitRefusedError
from agentd.worktrees.inspect import Work, creation_interrupted, inspect, leads_nowhere, processes_in
from agentd.worktrees.record import (
    CREATING,
    Worktree,
    WorktreeRecord,
    delete_record,
    free_path_beside,
    read_record,
    write_record,
)
from agentd.worktrees.recovery import recover
from agentd.worktrees.removal import Allowed, remove
from agentd.worktrees.repository import RepositoryGoneError, recognize_repository, repair_links, repository_of
from agentd.worktrees.repository_lock import repository_lock

log = structlog.get_logger(__name__)


def ensure_worktree(git: Git, checkout: Checkout, agent: str, now: float, shell: int | None = None) -> None:
    """Use an agent's worktree if it is as declared, else create it.

    A worktree that has to make room is removed if nothing would be lost, else set aside. That is one of another
    repository, branch or kind; one without work when the base changed; a read-only checkout that is behind its base.

    Parameters
    ----------
    shell
        PID of the shell that the agent's last run left in its pane. It may be in the worktree, and ends soon.

    Raises
    ------
    GitError, RecordError, RunnerError
        If the worktree cannot be created; the message says why.
    """
    path = checkout.path
    record = read_record(path)
    if record is not None:
        with _lock(git, Path(record.repo), path):
            record = _with_current_repo(git, checkout, record)
            try:
                record = _recovered(git, path, record, now)
                if record is not None and not _matches(record, checkout):
                    _make_room(git, Worktree(path, record), now, shell)
                    record = None
                elif record is not None and os.path.lexists(path / ".git"):
                    if _use(git, checkout, Worktree(path, record), now, shell):
                        return
                    record = None
            except RepositoryGoneError:
                if record is None or _matches(record, checkout):
                    raise
                _set_orphan_aside(git, Worktree(path, record))
                record = None
    with _lock(git, checkout.repo, path):
        if record is not None or not adopt_worktree(git, checkout, agent, now):
            create_worktree(git, checkout, agent, now, record)


def needs_git(checkout: Checkout) -> bool:
    """Whether git has to run before a launch, asking only the file system.

    Raises
    ------
    RecordError
        If the worktree's record cannot be read.
    """
    record = read_record(checkout.path)
    return (
        record is None
        or checkout.read_only
        or record.under_way is not None
        or not _matches(record, checkout)
        or record.base != checkout.base
        or not os.path.lexists(checkout.path / ".git")
        or creation_interrupted(checkout.path)
        or leads_nowhere(checkout.path)
    )


def _matches(record: WorktreeRecord, checkout: Checkout) -> bool:
    return record.repo == str(checkout.repo) and record.branch == checkout.branch


def _lock(git: Git, repo: Path, path: Path) -> AbstractContextManager[None]:
    return repository_lock(git.runner, repo, lambda: _kill_leftover_git(git, path))


def _kill_leftover_git(git: Git, path: Path) -> None:
    """End the ``git worktree add`` that a killed agentd left running: its result would be thrown away."""
    groups = set()
    for pid in processes_in(path):
        try:
            group = os.getpgid(pid)
            words = Path(f"/proc/{group}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0] == b"git" and b"add" in words and os.fsencode(path) in words:
            groups.add(group)
    for group in groups:
        # SIGTERM first, so that git removes its locks. At most 2 s: there may be nobody to reap it.
        git.runner.script(
            b"kill -TERM -%d; i=0; while [ $i -lt 40 ] && kill -0 -%d 2>/dev/null;"
            b" do sleep 0.05; i=$((i+1)); done; kill -KILL -%d 2>/dev/null" % (group, group, group)
        )


def _with_current_repo(git: Git, checkout: Checkout, record: WorktreeRecord) -> WorktreeRecord:
    """Update the record if the declared repository is the recorded one under another path."""
    if record.repo == str(checkout.repo):
        return record
    found = recognize_repository(git, Worktree(checkout.path, record), checkout.repo)
    if found is None:
        return record
    log.info("worktree_repository_moved", path=str(checkout.path), former=record.repo, repo=found.repo)
    write_record(git.runner, checkout.path, found)
    return found


def _recovered(git: Git, path: Path, record: WorktreeRecord, now: float) -> WorktreeRecord | None:
    """Finish what was interrupted, then read the record again."""
    worktree = Worktree(path, record)
    if record.under_way != CREATING and creation_interrupted(path):
        # It was complete, but agentd ended before it removed the lock.
        repository_of(git, worktree).out("worktree", "unlock", path)
    recover(git, worktree, now)
    return read_record(path)


def _use(git: Git, checkout: Checkout, worktree: Worktree, now: float, shell: int | None) -> bool:
    """Use the worktree; ``False`` if it made room for a new one that starts from another commit."""
    here = git.in_folder(worktree.path)
    if leads_nowhere(worktree.path):
        repair_links(repository_of(git, worktree))
        here.git_dir(repository_of(git, worktree))
    if worktree.record.base == checkout.base and not checkout.read_only:
        return True
    commit, ref = resolve_base(git.in_folder(checkout.repo), checkout)
    if here.commit("HEAD") != commit:
        if checkout.read_only:
            _make_room(git, worktree, now, shell)
            return False
        work = inspect(git, worktree)
        untouched = work.head == worktree.record.base_commit and not work.reasons()
        if untouched and worktree.record.branch_found is None:
            _make_room(git, _without_branch(git, worktree, work, now), now, shell)
            return False
    record = replace(worktree.record, base=checkout.base, base_ref=ref, base_commit=commit)
    if record != worktree.record:
        # For a worktree with work, or on somebody else's branch, the base is only what changes are compared with.
        write_record(git.runner, worktree.path, record)
    if checkout.read_only:
        write_protect(here)
    return True


def _without_branch(git: Git, worktree: Worktree, work: Work, now: float) -> Worktree:
    """Delete the branch of a worktree without work, so that a new one can start on it. Each step can be repeated."""
    repository, here = repository_of(git, worktree), git.in_folder(worktree.path)
    remove_stale_lock(git, here.git_dir(repository) / "HEAD.lock", now)
    here.out("update-ref", "--no-deref", "HEAD", str(work.head))
    if work.tip is not None:
        repository.out("update-ref", "-d", f"refs/heads/{worktree.record.branch}", work.tip)
    record = replace(worktree.record, branch=None)
    write_record(git.runner, worktree.path, record)
    return Worktree(worktree.path, record)


def _make_room(git: Git, worktree: Worktree, now: float, shell: int | None) -> None:
    """Remove a worktree, or set it aside if it holds anything."""
    if os.path.lexists(worktree.path):
        work = inspect(git, worktree)
        if work.reasons() or work.ignored or work.obstacles(shell):
            other = free_path_beside(worktree)
            # First, so that no worktree is ever without a record.
            write_record(git.runner, other, worktree.record)
            try:
                repository_of(git, worktree).out("worktree", "move", worktree.path, other)
            except GitRefusedError:
                with log_cleanup_errors():
                    if not os.path.lexists(other):
                        delete_record(git.runner, other)
                raise
            delete_record(git.runner, worktree.path)
            log.info("worktree_set_aside", path=str(other), former=str(worktree.path), branch=worktree.record.branch)
            return
    removed = remove(git, worktree, Allowed(shell=shell), now)
    if removed.kept and os.path.lexists(worktree.path):
        raise GitError(f"{worktree.path}: {removed.kept}")
    if removed.kept:
        # The folder is gone; the branch has commits and stays.
        delete_record(git.runner, worktree.path)


def _set_orphan_aside(git: Git, worktree: Worktree) -> None:
    """Set a worktree aside whose repository is gone, so that git cannot say what would be lost."""
    if os.path.lexists(worktree.path):
        other = free_path_beside(worktree)
        write_record(git.runner, other, worktree.record)
        script = b"mv -- " + shell_quote(worktree.path) + b" " + shell_quote(other)
        git.runner.must(script, f"cannot set {worktree.path} aside")
        log.warning("worktree_without_repository_set_aside", path=str(other), repo=worktree.record.repo)
    delete_record(git.runner, worktree.path)
