"""Create a worktree, or adopt one that git has but agentd has no record of."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path

import structlog

from agentd.model.spec import Checkout
from agentd.process.runner import RunnerError
from agentd.text.quoting import shell_quote
from agentd.text.timestamps import rfc3339
from agentd.worktrees.branches import refuse_in_use, refuse_name_in_the_way
from agentd.worktrees.cleanup import branch_lock, delete, log_cleanup_errors, remove_torn_metadata, unregister
from agentd.worktrees.git import CHECKOUT_LIMIT, Git, GitError, GitRefusedError
from agentd.worktrees.inspect import CREATION_LOCK, missing_submodules
from agentd.worktrees.record import CREATING, WorktreeRecord, delete_record, removal_path, write_record
from agentd.worktrees.repository import entry_of
from agentd.worktrees.trash import save_head

log = structlog.get_logger(__name__)


def create_worktree(git: Git, checkout: Checkout, agent: str, now: float, former: WorktreeRecord | None) -> None:
    """Create a worktree and its record.

    Parameters
    ----------
    former
        Record of a worktree whose folder is gone; it is restored if git refuses to create another.

    Raises
    ------
    GitError, RecordError, RunnerError
        If it cannot be created.
    """
    repository = git.in_folder(checkout.repo)
    path = checkout.path
    commit, ref = resolve_base(repository, checkout)
    create_parent(git, path.parent)
    remove_torn_metadata(repository)
    clear_path(repository, path, now)
    record, existing = _new_record(repository, checkout, agent, commit, ref, now)
    if former is not None and former.branch == record.branch:
        # It may be there because agentd created it for the former one.
        record = replace(record, branch_found=former.branch_found)
    _add(repository, record, path, former, existing=existing)
    if checkout.read_only:
        write_protect(git.in_folder(path))
    write_record(git.runner, path, record)
    repository.out("worktree", "unlock", path)
    with log_cleanup_errors():
        _warn_of_submodules(git.in_folder(path), agent)


def adopt_worktree(git: Git, checkout: Checkout, agent: str, now: float) -> bool:
    """Write the record of a worktree that has none, but that the repository lists at this path and branch.

    Returns
    -------
    Whether there is such a worktree.

    Raises
    ------
    GitError, RecordError
        If git cannot say, or the record cannot be written.
    """
    path = checkout.path
    if not os.path.lexists(path / ".git"):
        return False
    repository = git.in_folder(checkout.repo)
    commit, ref = resolve_base(repository, checkout)
    entry = entry_of(repository, path)
    if entry is None or entry.locked == CREATION_LOCK or entry.branch != checkout.branch:
        return False
    git.in_folder(path).git_dir(repository)
    record, _ = _new_record(repository, checkout, agent, commit, ref, now)
    write_record(git.runner, path, record)
    log.info("worktree_adopted", path=str(path), branch=checkout.branch)
    return True


def resolve_base(repository: Git, checkout: Checkout) -> tuple[str, str | None]:
    """Find the commit that a worktree starts from.

    Returns
    -------
    The commit, and the full name of the branch or tag if the base names one.

    Raises
    ------
    GitError
        If there is no such commit, or git cannot use the repository.
    """
    # First, to report git's own words about a repository that is missing or not this user's.
    asked = repository.finish("rev-parse", "--git-dir")
    if asked.status != 0:
        user = repository.runner.user.name
        raise GitError(f"user {user} cannot use the git repository {checkout.repo}: {asked.reason}; check repo")
    revision = checkout.base or "HEAD"
    commit = repository.commit(revision)
    if commit is None:
        what = f"base {revision}" if checkout.base else "anything that it has checked out"
        raise GitError(f"the repository {checkout.repo} has no commit for {what}: commit something, or change base")
    ref = repository.found("rev-parse", "--symbolic-full-name", revision)
    return commit, ref if ref and ref != "HEAD" else None


def write_protect(here: Git) -> None:
    """Write-protect the files of a checkout; links are not followed.

    Raises
    ------
    RunnerError
        If that fails.
    """
    script = b"chmod -R a-w -- " + shell_quote(here.at)
    here.runner.must(script, f"cannot write-protect {here.at}", limit=CHECKOUT_LIMIT)


def _new_record(
    repository: Git, checkout: Checkout, agent: str, commit: str, ref: str | None, now: float
) -> tuple[WorktreeRecord, bool]:
    """Build the record of a new worktree; also says whether its branch exists."""
    found = repository.commit(f"refs/heads/{checkout.branch}") if checkout.branch is not None else None
    start = commit
    if found is not None:
        start = repository.found("merge-base", commit, f"refs/heads/{checkout.branch}") or commit
    record = WorktreeRecord(
        agent, str(checkout.repo), checkout.branch, checkout.base, ref, start, rfc3339(now), branch_found=found
    )
    return record, found is not None


def create_parent(git: Git, folder: Path) -> None:
    """Create the worktrees folder if it is missing.

    Raises
    ------
    RunnerError
        If it cannot be created.
    """
    done = git.runner.script(b"umask 077; mkdir -p -- " + shell_quote(folder))
    if done.status != 0:
        raise RunnerError(
            f"user {git.runner.user.name} cannot create the worktrees folder {folder}: {done.reason}; "
            "choose another with --data-dir"
        )


def clear_path(repository: Git, path: Path, now: float) -> None:
    """Remove what an earlier attempt left: an incomplete worktree, or the entry of one whose folder is gone.

    Raises
    ------
    GitError, RunnerError
        If that fails.
    """
    try:
        delete(repository, removal_path(path))
    except RunnerError as error:
        # It blocks nothing.
        log.warning("worktree_rest_stays", reason=str(error))
    entry = entry_of(repository, path)
    if entry is None:
        return
    if entry.locked == CREATION_LOCK:
        # git refuses to remove an incomplete one.
        delete(repository, path)
    elif os.path.lexists(path):
        return
    else:
        save_head(repository, path.name, entry.head, now)
    unregister(repository, path)


def _add(repository: Git, record: WorktreeRecord, path: Path, former: WorktreeRecord | None, *, existing: bool) -> None:
    """Run ``git worktree add``, marked so that an incomplete result is not taken for work."""
    what: tuple[str | Path, ...] = ("--detach", path, record.base_commit)
    if record.branch is not None:
        what = (path, record.branch) if existing else ("--no-track", "-b", record.branch, path, record.base_commit)
        if not existing:
            refuse_name_in_the_way(repository, record.branch)
        refuse_in_use(repository, record.branch, path)
    if _is_in_the_way(path):
        raise GitError(
            f"{path} already exists, and is no worktree of {repository.at} on that branch: move it away, "
            "or give the agent another name"
        )
    write_record(repository.runner, path, replace(record, under_way=CREATING))
    try:
        repository.out("worktree", "add", "--lock", "--reason", CREATION_LOCK, *what, limit=CHECKOUT_LIMIT)
    except GitRefusedError:
        with log_cleanup_errors():
            left = os.path.lexists(path) or (
                record.branch is not None and os.path.lexists(branch_lock(repository, record.branch))
            )
            if not left and former is not None and former.under_way is None:
                # The folder may come back.
                write_record(repository.runner, path, former)
            elif not left:
                delete_record(repository.runner, path)
        raise


def _is_in_the_way(path: Path) -> bool:
    """Whether there is a folder that agentd did not create; git refuses to use it."""
    try:
        return any(path.iterdir())
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _warn_of_submodules(here: Git, agent: str) -> None:
    """Log that submodules are empty: agentd fetches nothing, and git neither moves nor removes worktrees with them."""
    missing = missing_submodules(here)
    if missing:
        advice = f"git -C {shlex.quote(str(here.at))} submodule update --init"
        log.warning(
            "worktree_submodules_missing", agent=agent, path=str(here.at), submodules=list(missing), advice=advice
        )
