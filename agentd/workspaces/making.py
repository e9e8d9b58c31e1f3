"""Making the worktree of an agent before its launch, or using again the one that it has."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from agentd.jcard.spec import Checkout
from agentd.tmux.launcher import quote
from agentd.workspaces.git import CHECKOUT_LIMIT, Git, GitError
from agentd.workspaces.held import Held, Place, forget_held, free_place_beside, read_held, rename_held, write_held
from agentd.workspaces.runner import RunnerError
from agentd.workspaces.work import MAKING, inspect, processes_in


def ensure_worktree(git: Git, checkout: Checkout, agent: str, now: float) -> None:
    """See to it that an agent's worktree is there.

    One that is there is used as it is; a checkout that is not to be changed is brought to what the base is now. One of
    another repository, branch or kind is removed if nothing would be lost with it, else set aside.

    Parameters
    ----------
    git
        At any place.
    checkout
        As declared.
    agent
        Whose it is.
    now
        Seconds since the epoch.

    Raises
    ------
    GitError, HeldError, RunnerError
        If it cannot be made; the text says why.
    """
    path = checkout.path
    held = read_held(path)
    if held is not None and _is_declared(held, checkout):
        place = Place(path.name, path, held)
        if os.path.lexists(path / ".git"):
            if held.base != checkout.base:
                _rebase_record(git, checkout, place)
            elif checkout.read_only:
                _refresh(git, checkout, place)
            return
    elif held is not None:
        _make_room(git, Place(path.name, path, held))
    _make(git, checkout, agent, now)


def needs_git(checkout: Checkout) -> bool:
    """Whether there is more to do before a launch than to find the worktree there.

    Raises
    ------
    HeldError
        If what is known of it cannot be read.
    """
    held = read_held(checkout.path)
    as_declared = held is not None and _is_declared(held, checkout) and held.base == checkout.base
    return checkout.read_only or not as_declared or not os.path.lexists(checkout.path / ".git")


def _is_declared(held: Held, checkout: Checkout) -> bool:
    return held.repo == str(checkout.repo) and held.branch == checkout.branch


def _rebase_record(git: Git, checkout: Checkout, place: Place) -> None:
    """Take another base: by moving there what has nothing of its own yet, else only for what is shown against it."""
    commit, ref = _base(git.elsewhere(checkout.repo), checkout)
    work = inspect(git, place)
    if not work.dirty and not work.unmerged and work.head == place.held.base_commit:
        _move(git.elsewhere(place.path), checkout, commit)
    elif checkout.read_only:
        raise _changed_though_read_only(place)
    write_held(git.runner, place.path, replace(place.held, base=checkout.base, base_ref=ref, base_commit=commit))


def _refresh(git: Git, checkout: Checkout, place: Place) -> None:
    commit, ref = _base(git.elsewhere(checkout.repo), checkout)
    here = git.elsewhere(place.path)
    if here.commit("HEAD") == commit:
        _protect(here)
        return
    work = inspect(git, place)
    if work.dirty or work.unmerged:
        raise _changed_though_read_only(place)
    _move(here, checkout, commit)
    write_held(git.runner, place.path, replace(place.held, base_ref=ref, base_commit=commit))


def _changed_though_read_only(place: Place) -> GitError:
    return GitError(
        f"the read-only checkout {place.path} was changed, so it cannot be brought up to date: "
        f"see agentctl diff {place.held.agent}, and undo it with git"
    )


def _move(here: Git, checkout: Checkout, commit: str) -> None:
    """Bring a worktree without work of its own to another commit."""
    if checkout.read_only:
        _protect(here, protect=False)
    # Keeps files that would be overwritten, by failing.
    here.out("reset", "--quiet", "--keep", commit, limit=CHECKOUT_LIMIT)
    if checkout.read_only:
        _protect(here)


def _make_room(git: Git, place: Place) -> None:
    """Remove or set aside the worktree that is in the place of another one."""
    from agentd.workspaces.removal import Allowed, remove  # noqa: PLC0415 (of both that is the smaller part)

    if os.path.lexists(place.path):
        work = inspect(git, place)
        if work.reasons() or work.ignored or work.obstacles():
            other = free_place_beside(place.path)
            git.elsewhere(Path(place.held.repo)).out("worktree", "move", place.path, other)
            rename_held(git.runner, place.path, other)
            return
    removed = remove(git, place, Allowed(), 0.0)
    if removed.kept:
        # Its folder is gone, and its branch has commits: that stays as it is.
        forget_held(git.runner, place.path)


def _make(git: Git, checkout: Checkout, agent: str, now: float) -> None:
    repository = git.elsewhere(checkout.repo)
    path = checkout.path
    commit, ref = _base(repository, checkout)
    _make_folder(git, path.parent)
    _remove_unfinished(repository, path)
    lock = ("--lock", "--reason", MAKING)
    start = commit
    if checkout.branch is None:
        repository.out("worktree", "add", *lock, "--detach", path, commit, limit=CHECKOUT_LIMIT)
    elif repository.commit(f"refs/heads/{checkout.branch}") is None:
        new = ("--no-track", "-b", checkout.branch)
        repository.out("worktree", "add", *lock, *new, path, commit, limit=CHECKOUT_LIMIT)
    else:
        repository.out("worktree", "add", *lock, path, checkout.branch, limit=CHECKOUT_LIMIT)
        start = repository.found("merge-base", commit, f"refs/heads/{checkout.branch}") or commit
    here = git.elsewhere(path)
    if checkout.read_only:
        _protect(here)
    made = datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    held = Held(agent, str(checkout.repo), checkout.branch, checkout.base, ref, start, made)
    write_held(git.runner, path, held)
    repository.out("worktree", "unlock", path)


def _base(repository: Git, checkout: Checkout) -> tuple[str, str | None]:
    """Find the commit to start from, and the branch or tag that it was named by."""
    # Asked first, for git's own words where there is no repository, or none that this user may use.
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


def _make_folder(git: Git, folder: Path) -> None:
    done = git.runner.script(b"umask 077; mkdir -p -- " + quote(os.fsencode(folder)))
    if done.status != 0:
        raise RunnerError(
            f"user {git.runner.user.name} cannot make the folder of worktrees {folder}: {done.reason}; "
            "name another with --data-dir"
        )


def _remove_unfinished(repository: Git, path: Path) -> None:
    """Clear what a former attempt left: a worktree that was never finished, or one whose folder is gone."""
    for entry in repository.out("worktree", "list", "--porcelain", "-z").split(b"\0\0"):
        lines = entry.decode("utf-8", "surrogateescape").split("\0")
        if f"worktree {path}" not in lines and f"worktree {os.path.realpath(path)}" not in lines:
            continue
        if f"locked {MAKING}" in lines:
            _end_makers(repository, path)
        if f"locked {MAKING}" in lines or not os.path.lexists(path):
            repository.out("worktree", "remove", "--force", "--force", path)


def _end_makers(repository: Git, path: Path) -> None:
    """End the git that an agentd which was killed left at work: it would clear away what is made now."""
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
        # As the agents' user, who may end what is its own; for 2 s at most, since nobody may be there to reap it.
        repository.runner.script(
            b"kill -KILL -%d; i=0; while [ $i -lt 40 ] && kill -0 -%d 2>/dev/null;"
            b" do sleep 0.05; i=$((i+1)); done" % (group, group)
        )


def _protect(here: Git, *, protect: bool = True) -> None:
    """Write-protect the files of a checkout, or undo that; links are not followed."""
    mode = b"a-w" if protect else b"u+w"
    done = here.runner.script(b"chmod -R " + mode + b" -- " + quote(os.fsencode(here.at)), limit=CHECKOUT_LIMIT)
    if done.status != 0:
        raise RunnerError(f"cannot write-protect {here.at}: {done.reason}")
