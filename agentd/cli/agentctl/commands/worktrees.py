"""``agentctl worktrees``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from agentd.cli.agentctl.command import Commands, Invocation, Status, UsageError, not_empty
from agentd.text.terminal import BOLD, DIM, GREEN, YELLOW, Cell, lines

if TYPE_CHECKING:
    from agentd.cli.agentctl.worktree_context import WorktreeContext
    from agentd.worktrees.inspect import Work
    from agentd.worktrees.record import Worktree
    from agentd.worktrees.removal import Removed

_DETAILS = """\
list: shows each worktree that agentd created, its agent, and the work that exists only in it. When not on a terminal:
one line per worktree, with fields separated by tabs: name, state of its agent (or "not declared"), branch, unmerged
commits, uncommitted files, path.

clean: removes the worktrees and branches of agents that are neither declared nor running; with NAME only those. It
keeps a worktree, and says why, if work would be lost: uncommitted, conflicted or untracked files, commits on no other
branch, remote branch or tag, an unfinished rebase or merge. --force saves such work in the repository under
refs/agentd/trash, removes the worktree, and prints the commands that restore it. Files that git ignores cannot be saved
and keep a worktree too; --ignored deletes them. Worktrees with submodules or repositories inside, locked ones, and ones
that a process uses are always kept.

restore: brings back worktrees by the snapshots of agentctl snapshot, and by those that agentd took before it removed a
worktree with work: branch, commits, what was staged, and uncommitted and untracked files. A worktree that is there is
saved by a snapshot and removed first. --at names a snapshot other than the newest."""

_EXAMPLES = """\
agentctl worktrees list
agentctl worktrees clean --dry-run
agentctl worktrees clean
agentctl worktrees clean reviewer-2 --force
agentctl worktrees restore reviewer-2"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("worktrees", _worktrees, details=_DETAILS, examples=_EXAMPLES)
    parser.add_argument("action", metavar="list|clean|restore", choices=("list", "clean", "restore"), help="what to do")
    parser.add_argument("names", metavar="NAME", nargs="*", default=(), help="only these; case is ignored")
    parser.add_argument("--force", action="store_true", help="clean: save work that exists only there, then remove it")
    parser.add_argument("--ignored", action="store_true", help="delete files that git ignores")
    parser.add_argument("--dry-run", action="store_true", help="clean: only say what would be removed")
    parser.add_argument("--at", metavar="TIME", type=not_empty, help="restore: the snapshot of that time")


def _worktrees(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.worktree_context import WorktreeContext, find_worktree

    if invocation.arguments.action == "restore":
        return _restore(invocation)
    context = WorktreeContext.of(invocation)
    worktrees = context.worktrees(invocation)
    if invocation.arguments.names:
        worktrees = [find_worktree(worktrees, name) for name in dict.fromkeys(invocation.arguments.names)]
    if invocation.arguments.action == "list":
        return _list(invocation, context, worktrees)
    return _clean(invocation, context, worktrees)


def _list(invocation: Invocation, context: WorktreeContext, worktrees: list[Worktree]) -> Status:
    from agentd.cli.agentctl.worktree_context import check_answering
    from agentd.worktrees.git import GitError
    from agentd.worktrees.inspect import inspect
    from agentd.worktrees.repository import RepositoryGoneError

    looks: list[tuple[Worktree, Work | None]] = []
    orphans: dict[str, list[str]] = {}
    for worktree in worktrees:
        try:
            check_answering(worktree)
            looks.append((worktree, inspect(context.git, worktree)))
        except RepositoryGoneError:
            orphans.setdefault(worktree.record.repo, []).append(worktree.name)
            looks.append((worktree, None))
        except GitError as error:
            invocation.warn(f"{worktree.name}: {error}")
            looks.append((worktree, None))
    for repo, names in orphans.items():
        invocation.warn(
            f"the repository {repo} of {', '.join(names)} is gone: if it was moved, put its new path into the jcard, "
            f"or run git -C NEW_PATH worktree repair; else agentctl worktrees clean --force --ignored "
            f"{' '.join(names)} deletes what is left"
        )
    for worktree, work in looks:
        if work is not None and work.missing:
            empty, at = ", ".join(work.missing), shlex.quote(str(worktree.path))
            invocation.warn(
                f"{worktree.name}: the submodules {empty} are empty folders: "
                f"git -C {at} submodule update --init, run as the agents' user, fetches them"
            )
    rows = [
        [
            Cell(worktree.name, BOLD),
            _state(context, worktree),
            Cell(worktree.record.branch or "(read-only)"),
            Cell("?" if work is None else str(work.unmerged)),
            Cell("?" if work is None else str(len(work.uncommitted) + len(work.hidden))),
            Cell(str(worktree.path)),
        ]
        for worktree, work in looks
    ]
    display = invocation.display
    heading = ("NAME", "AGENT", "BRANCH", "UNMERGED", "UNCOMMITTED", "PATH")
    shown = lines(heading, rows, display) if rows or not display.table else ["no worktrees"]
    invocation.print_result([_document(context, worktree, work) for worktree, work in looks], shown)
    return Status.DONE


def _state(context: WorktreeContext, worktree: Worktree) -> Cell:
    if context.agents is None:
        return Cell("unknown", DIM)
    agent = context.agents.get(worktree.name)
    return Cell("not declared", YELLOW) if agent is None else Cell(agent.state, GREEN if agent.running else "")


def _document(context: WorktreeContext, worktree: Worktree, work: Work | None) -> dict[str, object]:
    agents = context.agents
    agent = None if agents is None else agents.get(worktree.name)
    return {
        "name": worktree.name,
        "agent": worktree.record.agent,
        "declared": None if agents is None else agent is not None,
        "state": None if agent is None else agent.state,
        "path": str(worktree.path),
        "repo": worktree.record.repo,
        "branch": worktree.record.branch,
        "base": worktree.record.base,
        "base_commit": worktree.record.base_commit,
        "made": worktree.record.made,
        "head": None if work is None else work.head,
        "unmerged": None if work is None else work.unmerged,
        "uncommitted": None if work is None else [*work.uncommitted, *work.hidden],
        "ignored": None if work is None else list(work.ignored),
        "missing_submodules": None if work is None else list(work.missing),
    }


def _clean(invocation: Invocation, context: WorktreeContext, worktrees: list[Worktree]) -> Status:
    from agentd.cli.agentctl.worktree_context import names_in_use
    from agentd.worktrees.removal import kept_because

    used = {name.casefold() for name in names_in_use(context)}
    named = bool(invocation.arguments.names)
    results = []
    for worktree in worktrees:
        if worktree.name.casefold() not in used:
            results.append(_remove(invocation, context, worktree))
        elif named:
            results.append(kept_because(worktree, "its agent is declared or still running; remove or rename it first"))
    dry = bool(invocation.arguments.dry_run)
    lines = [line for result in results for line in _result_lines(result, dry)] or ["nothing to clean"]
    invocation.print_result([_result_document(result) for result in results], lines)
    # To keep work is no failure, unless it was named on the command line.
    return Status.FAILED if named and any(result.kept is not None for result in results) else Status.DONE


def _remove(invocation: Invocation, context: WorktreeContext, worktree: Worktree) -> Removed:
    import time
    from pathlib import Path

    from agentd.cli.agentctl.worktree_context import check_answering
    from agentd.process.runner import RunnerError
    from agentd.worktrees.git import GitError
    from agentd.worktrees.inspect import inspect
    from agentd.worktrees.record import RecordError
    from agentd.worktrees.removal import Allowed, Removed, kept_because, orphan_verdict, remove, verdict
    from agentd.worktrees.repository import RepositoryGoneError
    from agentd.worktrees.repository_lock import repository_lock

    allowed = Allowed(force=bool(invocation.arguments.force), ignored=bool(invocation.arguments.ignored))
    try:
        check_answering(worktree)
        if not invocation.arguments.dry_run:
            git = context.git
            with repository_lock(git.runner, Path(worktree.record.repo)):
                return remove(git, worktree, allowed, time.time())
        work = inspect(context.git, worktree)
        branch = worktree.record.branch if work.tip is not None else None
        return Removed(worktree.name, str(worktree.path), branch, verdict(work, allowed), tuple(work.reasons()))
    except RepositoryGoneError as error:
        return Removed(worktree.name, str(worktree.path), None, orphan_verdict(worktree, allowed, error))
    except (GitError, RecordError, RunnerError) as error:
        return kept_because(worktree, str(error))


def _restore(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.restoring import restore_worktrees
    from agentd.text.quoting import printable

    names = list(dict.fromkeys(invocation.arguments.names))
    if not names:
        raise UsageError("expected the NAME of a worktree: agentctl snapshot --list shows what can be restored")
    done = restore_worktrees(invocation, names, invocation.arguments.at, ignored=bool(invocation.arguments.ignored))
    invocation.print_result(
        [{"name": each.name, "stamp": each.stamp} for each in done],
        [f"restored {printable(each.name)} as of {each.stamp}" for each in done],
    )
    return Status.DONE


def _result_lines(result: Removed, dry: bool) -> list[str]:
    from agentd.text.quoting import printable

    if result.kept is not None:
        return [f"kept {printable(result.name)}: {printable(result.kept)}"]
    branch = f" and branch {printable(result.branch)}" if result.branch else ""
    shown = [f"{'would remove' if dry else 'removed'} {printable(result.name)}: {printable(result.path)}{branch}"]
    if result.lost:
        shown.append(f"  with {printable(', '.join(result.lost))}")
    if result.left is not None:
        shown.append(f"  not all of its folder: {printable(result.left)}")
    if result.recover:
        shown.append("  to restore it:")
        shown += [f"    {printable(command)}" for command in result.recover]
    return shown


def _result_document(result: Removed) -> dict[str, object]:
    return {
        "name": result.name,
        "path": result.path,
        "branch": result.branch,
        "kept": result.kept,
        "with": list(result.lost),
        "recover": list(result.recover),
    }
