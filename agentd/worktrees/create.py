"""Making the worktree of an agent before its launch, or using again the one that it has."""

from __future__ import annotations

import os
import shlex
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from agentd.launch.launcher import quote
from agentd.model.spec import Checkout
from agentd.process.runner import RunnerError
from agentd.worktrees.belonging import (
    RepositoryGoneError,
    entry_of,
    mend_link,
    repository_of,
    under_another_path,
)
from agentd.worktrees.branches import refuse_in_use, refuse_name_in_the_way
from agentd.worktrees.cleanup import branch_lock, clear_torn, delete, forget_missing, remove_stale_lock
from agentd.worktrees.git import CHECKOUT_LIMIT, Git, GitError, GitRefusedError
from agentd.worktrees.inspect import (
    LOCKED_TO_MAKE,
    Work,
    inspect,
    leads_nowhere,
    making_cut_off,
    missing_submodules,
    processes_in,
)
from agentd.worktrees.record import (
    MAKING,
    Held,
    Place,
    forget_held,
    free_place_beside,
    read_held,
    rubbish_of,
    write_held,
)
from agentd.worktrees.recovery import settle
from agentd.worktrees.removal import Allowed, remove
from agentd.worktrees.repository_lock import alone_in
from agentd.worktrees.tidying import keeping_the_reason
from agentd.worktrees.trash import save_head

log = structlog.get_logger(__name__)


def ensure_worktree(git: Git, checkout: Checkout, agent: str, now: float, shell: int | None = None) -> None:
    """Create an agent's worktree, or find it as it should be.

    One that is there is used as it is. One of another repository, branch or kind, one without work whose base is
    another now, and a read-only checkout that is behind its base make room for a new one: removed if nothing would be
    lost with it, else set aside.

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
    shell
        The process that the agent's former run left in its pane, and so perhaps in the worktree; it ends soon.

    Raises
    ------
    GitError, HeldError, RunnerError
        If it cannot be made; the text says why.
    """
    path = checkout.path
    held = read_held(path)
    if held is not None:
        with _alone_in(git, Path(held.repo), path):
            held = _recognised(git, checkout, held)
            try:
                held = _settled(git, path, held, now)
                if held is not None and not _is_declared(held, checkout):
                    _make_room(git, Place(path.name, path, held), now, shell)
                    held = None
                elif held is not None and os.path.lexists(path / ".git"):
                    if _use(git, checkout, Place(path.name, path, held), now, shell):
                        return
                    held = None
            except RepositoryGoneError:
                if held is None or _is_declared(held, checkout):
                    raise
                _set_orphan_aside(git, Place(path.name, path, held))
                held = None
    with _alone_in(git, checkout.repo, path):
        if held is not None or not _adopted(git, checkout, agent, now):
            _make(git, checkout, agent, now, held)


def _alone_in(git: Git, repo: Path, path: Path) -> AbstractContextManager[None]:
    return alone_in(git.runner, repo, lambda: _end_makers(git, path))


def _recognised(git: Git, checkout: Checkout, held: Held) -> Held:
    """Take note that the repository has another path."""
    if held.repo == str(checkout.repo):
        return held
    found = under_another_path(git, Place(checkout.path.name, checkout.path, held), checkout.repo)
    if found is None:
        return held
    log.info("worktree_repository_moved", path=str(checkout.path), former=held.repo, repo=found.repo)
    write_held(git.runner, checkout.path, found)
    return found


def _settled(git: Git, path: Path, held: Held, now: float) -> Held | None:
    """Finish what was cut off, and read what is known of the worktree then."""
    place = Place(path.name, path, held)
    if held.under_way != MAKING and making_cut_off(path):
        # It was finished, but agentd ended before it could say so.
        repository_of(git, place).out("worktree", "unlock", path)
    settle(git, place, now)
    return read_held(path)


def _use(git: Git, checkout: Checkout, place: Place, now: float, shell: int | None) -> bool:
    """Use the worktree that is there, unless it has to start from another commit: then make room for a new one."""
    here = git.elsewhere(place.path)
    if leads_nowhere(place.path):
        mend_link(repository_of(git, place))
        here.own_folder(repository_of(git, place))
    if place.held.base == checkout.base and not checkout.read_only:
        return True
    commit, ref = _base(git.elsewhere(checkout.repo), checkout)
    if here.commit("HEAD") != commit:
        if checkout.read_only:
            _make_room(git, place, now, shell)
            return False
        work = inspect(git, place)
        if work.head == place.held.base_commit and not work.reasons():
            _make_room(git, _without_branch(git, place, work, now), now, shell)
            return False
    held = replace(place.held, base=checkout.base, base_ref=ref, base_commit=commit)
    if held != place.held:
        # Of one that has work, it is only what that is compared with.
        write_held(git.runner, place.path, held)
    if checkout.read_only:
        _protect(here)
    return True


def _without_branch(git: Git, place: Place, work: Work, now: float) -> Place:
    """Delete the branch of a worktree without work: a new one begins on it. May be repeated after each step."""
    repository, here = repository_of(git, place), git.elsewhere(place.path)
    remove_stale_lock(git, here.own_folder(repository) / "HEAD.lock", now)
    here.out("update-ref", "--no-deref", "HEAD", str(work.head))
    if work.tip is not None:
        repository.out("update-ref", "-d", f"refs/heads/{place.held.branch}", work.tip)
    held = replace(place.held, branch=None)
    write_held(git.runner, place.path, held)
    return Place(place.name, place.path, held)


def _protect(here: Git) -> None:
    """Write-protect the files of a checkout; links are not followed."""
    done = here.runner.script(b"chmod -R a-w -- " + quote(os.fsencode(here.at)), limit=CHECKOUT_LIMIT)
    if done.status != 0:
        raise RunnerError(f"cannot write-protect {here.at}: {done.reason}")


def needs_git(checkout: Checkout) -> bool:
    """Whether there is more to do before a launch than to find the worktree there.

    Raises
    ------
    HeldError
        If what is known of it cannot be read.
    """
    held = read_held(checkout.path)
    if held is None or checkout.read_only or held.under_way is not None or making_cut_off(checkout.path):
        return True
    if leads_nowhere(checkout.path):
        return True
    as_declared = _is_declared(held, checkout) and held.base == checkout.base
    return not as_declared or not os.path.lexists(checkout.path / ".git")


def _is_declared(held: Held, checkout: Checkout) -> bool:
    return held.repo == str(checkout.repo) and held.branch == checkout.branch


def _make_room(git: Git, place: Place, now: float, shell: int | None) -> None:
    """Remove or set aside the worktree that is in the place of another one."""
    if os.path.lexists(place.path):
        work = inspect(git, place)
        if work.reasons() or work.ignored or work.obstacles(shell):
            other = free_place_beside(place)
            # First, so that there never is one that nothing is known of.
            write_held(git.runner, other, place.held)
            try:
                repository_of(git, place).out("worktree", "move", place.path, other)
            except GitRefusedError:
                with keeping_the_reason():
                    if not os.path.lexists(other):
                        forget_held(git.runner, other)
                raise
            forget_held(git.runner, place.path)
            log.info("worktree_set_aside", path=str(other), former=str(place.path), branch=place.held.branch)
            return
    removed = remove(git, place, Allowed(shell=shell), now)
    if removed.kept and os.path.lexists(place.path):
        raise GitError(f"{place.path}: {removed.kept}")
    if removed.kept:
        # Its folder is gone, and its branch has commits: that stays as it is.
        forget_held(git.runner, place.path)


def _set_orphan_aside(git: Git, place: Place) -> None:
    """Make room where no git can say what would be lost: the repository is gone."""
    if os.path.lexists(place.path):
        other = free_place_beside(place)
        write_held(git.runner, other, place.held)
        done = git.runner.script(
            b"mv -- " + quote(os.fsencode(place.path)) + b" " + quote(os.fsencode(other)),
        )
        if done.status != 0:
            raise RunnerError(f"cannot set {place.path} aside: {done.reason}")
        log.warning("worktree_without_repository_set_aside", path=str(other), repo=place.held.repo)
    forget_held(git.runner, place.path)


def _adopted(git: Git, checkout: Checkout, agent: str, now: float) -> bool:
    """Take a worktree that nothing is known of, but that the repository has registered here, on the declared branch."""
    path = checkout.path
    if not os.path.lexists(path / ".git"):
        return False
    repository = git.elsewhere(checkout.repo)
    commit, ref = _base(repository, checkout)
    entry = entry_of(repository, path)
    if entry is None or entry.locked == LOCKED_TO_MAKE or entry.branch != checkout.branch:
        return False
    git.elsewhere(path).own_folder(repository)
    held, _ = _record(repository, checkout, agent, commit, ref, now)
    write_held(git.runner, path, held)
    log.info("worktree_adopted", path=str(path), branch=checkout.branch)
    return True


def _record(
    repository: Git, checkout: Checkout, agent: str, commit: str, ref: str | None, now: float
) -> tuple[Held, bool]:
    """Say what is known of a worktree that begins now, and whether its branch was there."""
    existing = checkout.branch is not None and repository.commit(f"refs/heads/{checkout.branch}") is not None
    start = commit
    if existing:
        start = repository.found("merge-base", commit, f"refs/heads/{checkout.branch}") or commit
    made = datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Held(agent, str(checkout.repo), checkout.branch, checkout.base, ref, start, made), existing


def _make(git: Git, checkout: Checkout, agent: str, now: float, former: Held | None) -> None:
    repository = git.elsewhere(checkout.repo)
    path = checkout.path
    commit, ref = _base(repository, checkout)
    _make_folder(git, path.parent)
    clear_torn(repository)
    _remove_unfinished(repository, path, now)
    held, existing = _record(repository, checkout, agent, commit, ref, now)
    _add(repository, held, path, former, existing=existing)
    if checkout.read_only:
        _protect(git.elsewhere(path))
    write_held(git.runner, path, held)
    repository.out("worktree", "unlock", path)
    with keeping_the_reason():
        _tell_of_submodules(git.elsewhere(path), agent)


def _tell_of_submodules(here: Git, agent: str) -> None:
    """Say that submodules are empty: agentd fetches nothing, and git neither moves nor removes worktrees with them."""
    missing = missing_submodules(here)
    if missing:
        advice = f"git -C {shlex.quote(str(here.at))} submodule update --init"
        log.warning(
            "worktree_submodules_missing", agent=agent, path=str(here.at), submodules=list(missing), advice=advice
        )


def _add(repository: Git, held: Held, path: Path, former: Held | None, *, existing: bool) -> None:
    """Let git write a worktree, so that it can be told from work if it is cut off."""
    what: tuple[str | Path, ...] = ("--detach", path, held.base_commit)
    if held.branch is not None:
        what = (path, held.branch) if existing else ("--no-track", "-b", held.branch, path, held.base_commit)
        if not existing:
            refuse_name_in_the_way(repository, held.branch)
        refuse_in_use(repository, held.branch, path)
    marked = not _is_in_the_way(path)
    if marked:
        write_held(repository.runner, path, replace(held, under_way=MAKING))
    try:
        repository.out("worktree", "add", "--lock", "--reason", LOCKED_TO_MAKE, *what, limit=CHECKOUT_LIMIT)
    except GitRefusedError:
        with keeping_the_reason():
            left = os.path.lexists(path) or (
                held.branch is not None and os.path.lexists(branch_lock(repository, held.branch))
            )
            if marked and not left and former is not None and former.under_way is None:
                # Its folder may come back.
                write_held(repository.runner, path, former)
            elif marked and not left:
                forget_held(repository.runner, path)
        raise


def _is_in_the_way(path: Path) -> bool:
    """Whether there is something that is not agentd's, which git refuses to write to."""
    try:
        return any(path.iterdir())
    except FileNotFoundError:
        return False
    except OSError:
        return True


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


def _remove_unfinished(repository: Git, path: Path, now: float) -> None:
    """Clear what a former attempt left: a worktree that was never finished, or one whose folder is gone."""
    try:
        delete(repository, rubbish_of(path))
    except RunnerError as error:
        # It is in nobody's way.
        log.warning("worktree_rubbish_stays", reason=str(error))
    entry = entry_of(repository, path)
    if entry is None:
        return
    if entry.locked == LOCKED_TO_MAKE:
        # git removes none that is only half there.
        delete(repository, path)
    elif os.path.lexists(path):
        return
    else:
        save_head(repository, path.name, entry.head, now)
    forget_missing(repository, path)


def _end_makers(git: Git, path: Path) -> None:
    """End the git that an agentd which was killed left at work: it may take long, and would be for nothing."""
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
        # As the agents' user, who may end what is its own; for 2 s at most, since nobody may be there to reap it. Not
        # at once for good: git removes its locks first.
        git.runner.script(
            b"kill -TERM -%d; i=0; while [ $i -lt 40 ] && kill -0 -%d 2>/dev/null;"
            b" do sleep 0.05; i=$((i+1)); done; kill -KILL -%d 2>/dev/null" % (group, group, group)
        )
