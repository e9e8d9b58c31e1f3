"""``agentctl snapshot`` and ``restore``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentd.cli.agentctl.command import Commands, Invocation, Status, UsageError, add_name, not_empty
from agentd.text.quoting import printable
from agentd.text.terminal import BOLD, Cell, lines

if TYPE_CHECKING:
    from agentd.worktrees.snapshots import Snapshot

_DETAILS = """\
Saves what an agent holds, while it runs or not, and changes nothing of it: its git worktree in the repository, on refs
under refs/agentd/snapshots (branch, staged, uncommitted and untracked files, not those that git ignores), and the id of
its conversation. With --output also into a new folder that can be carried to another host, with the agent's definition
and all commits. --list shows the snapshots, also those that agentd took before it removed a worktree with work.
When not on a terminal: one line per snapshot, with tabs between name, time, branch, conversation, why."""

_EXAMPLES = """\
agentctl snapshot fixer-0
agentctl snapshot fixer-0 --output /mnt/backup/fixer-0
agentctl snapshot --list"""

_RESTORE_DETAILS = """\
Brings an agent that does not run back as a snapshot has it, the newest unless --at names another: its worktree, and the
conversation that its next run goes on with if its resume allows that. A worktree that is there is saved by a snapshot
first. With --from DIR, made by agentctl snapshot --output, the commits are fetched into the repository, and the agent
is declared in the jcard as it was if nothing declares it. agentctl worktrees restore restores the worktree alone."""

_RESTORE_EXAMPLES = """\
agentctl restore fixer-0
agentctl restore fixer-0 --at 20261130T091500.000000Z
agentctl restore fixer-0 --from /mnt/backup/fixer-0 --repo ~/src/shop
agentctl stop fixer-0 --wait && agentctl restore fixer-0 && agentctl start fixer-0"""

_HEADING: Final = ("NAME", "TIME", "BRANCH", "CONVERSATION", "WHY")


def register(commands: Commands) -> None:
    """Add the commands."""
    parser = commands.add("snapshot", _snapshot, details=_DETAILS, examples=_EXAMPLES)
    parser.add_argument("name", metavar="NAME", nargs="?", help="name of the agent; case is ignored")
    parser.add_argument("--output", metavar="DIR", type=not_empty, help="folder to create, to be carried elsewhere")
    parser.add_argument("--list", action="store_true", help="list the snapshots, of NAME or of all")
    parser = commands.add("restore", _restore, details=_RESTORE_DETAILS, examples=_RESTORE_EXAMPLES)
    add_name(parser)
    parser.add_argument("--at", metavar="TIME", type=not_empty, help="the snapshot of that time, as --list shows it")
    parser.add_argument("--ignored", action="store_true", help="delete files of the present worktree that git ignores")
    parser.add_argument("--from", dest="folder", metavar="DIR", type=not_empty, help="folder that has the snapshot")
    parser.add_argument("--repo", metavar="PATH", type=not_empty, help="where the repository is now")


def _snapshot(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.snapshots import kept_snapshots, take_snapshot

    if invocation.arguments.list:
        return _list(invocation, kept_snapshots(invocation, invocation.arguments.name))
    if invocation.arguments.name is None:
        raise UsageError("expected the NAME of an agent, or --list")
    taken, folder = take_snapshot(invocation, invocation.arguments.output)
    shown = [f"saved {taken.name} as of {taken.stamp}", *_held(taken)]
    invocation.print_result(
        _document(taken) | {"folder": None if folder is None else str(folder)},
        shown if folder is None else [*shown, f"  in {printable(str(folder))}"],
    )
    return Status.DONE


def _list(invocation: Invocation, found: list[Snapshot]) -> Status:
    if invocation.arguments.output is not None:
        raise UsageError("--list writes nothing to --output; leave one of them out")
    rows = [
        [
            Cell(each.name, BOLD),
            Cell(each.stamp),
            Cell(_branch(each) or ""),
            Cell(each.conversation or ""),
            Cell(each.why),
        ]
        for each in found
    ]
    table = rows or not invocation.display.table
    shown = lines(_HEADING, rows, invocation.display) if table else ["no snapshots"]
    invocation.print_result([_document(each) for each in found], shown)
    return Status.DONE


def _restore(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.restoring import restore

    done = restore(invocation)
    shown = [f"restored {done.snapshot.name} as of {done.snapshot.stamp}", *_held(done.snapshot)]
    if done.declared_in is not None:
        shown.append(f"  declared in {printable(str(done.declared_in))}")
    document = _document(done.snapshot)
    document["declared_in"] = None if done.declared_in is None else str(done.declared_in)
    document["conversation_lost"] = done.conversation_lost
    invocation.print_result(document, shown)
    if done.conversation_lost is None:
        return Status.DONE
    invocation.warn(
        f"the conversation {done.snapshot.conversation} is not gone on with: {done.conversation_lost}; "
        "all else is restored: run it again once agentd answers"
    )
    return Status.FAILED


def _branch(snapshot: Snapshot) -> str | None:
    return None if snapshot.worktree is None else snapshot.worktree.record.branch


def _held(snapshot: Snapshot) -> list[str]:
    """What a snapshot holds, a line each."""
    held, worktree = [], snapshot.worktree
    if worktree is not None:
        if worktree.branch is not None:
            held.append(f"  branch {worktree.record.branch} at {worktree.branch.commit}")
        if worktree.head is not None:
            held.append(f"  HEAD at {worktree.head.commit}")
        if worktree.work is not None:
            held.append(f"  uncommitted work: {worktree.work.ref}")
    if snapshot.conversation is not None:
        held.append(f"  conversation {snapshot.conversation}")
    return [printable(line) for line in held]


def _document(snapshot: Snapshot) -> dict[str, object]:
    worktree = snapshot.worktree
    return {
        "name": snapshot.name,
        "stamp": snapshot.stamp,
        "why": snapshot.why,
        "harness": snapshot.harness,
        "workdir": snapshot.workdir,
        "conversation": snapshot.conversation,
        "repo": None if worktree is None else worktree.record.repo,
        "branch": _branch(snapshot),
        "refs": [] if worktree is None else worktree.refs,
    }
