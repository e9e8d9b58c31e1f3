"""``agentctl diff``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from agentd.cli.agentctl.command import CommandError, Commands, Invocation, Status, add_name

if TYPE_CHECKING:
    from agentd.worktrees.changes import Changes

MOST = 4 * 1024**3
"""Largest patch, in bytes."""

_DETAILS = """\
Shows the changes in the agent's worktree since it was created: committed and uncommitted changes, and new files, but
not files that git ignores, nor what was merged from the base since. When not on a terminal, the output is a patch that
git apply takes. The worktree is not touched, and its agent may be running."""

_EXAMPLES = """\
agentctl diff engineer_alice
agentctl diff engineer_alice --stat
agentctl diff engineer_alice | git -C ~/shop apply --3way
agentctl diff engineer_alice --json | jq -r '.files[].path'"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("diff", _diff, details=_DETAILS, examples=_EXAMPLES)
    add_name(parser)
    parser.add_argument("--stat", action="store_true", help="only a summary, one line per file")


def _diff(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.worktree_context import WorktreeContext, check_answering
    from agentd.worktrees.changes import read_changes
    from agentd.worktrees.git import GitError

    context = WorktreeContext.of(invocation)
    worktree = context.worktree(invocation)
    try:
        check_answering(worktree)
        changes = read_changes(context.git, worktree)
        if invocation.as_json:
            invocation.print_document(_document(worktree.name, changes))
        else:
            _print(invocation, changes)
    except GitError as error:
        raise CommandError(str(error)) from None
    return Status.DONE


def _document(name: str, changes: Changes) -> dict[str, object]:
    return {
        "name": name,
        "base_commit": changes.start,
        "head": changes.head,
        "commits": [asdict(commit) for commit in changes.commits()],
        "files": [asdict(file) for file in changes.files()],
        "patch": changes.patch().decode("utf-8", "backslashreplace"),
    }


def _print(invocation: Invocation, changes: Changes) -> None:
    from agentd.cli.agentctl.patch_view import patch_lines

    display, stat = invocation.display, bool(invocation.arguments.stat)
    if display.table:
        text = changes.stat(columns=display.columns) if stat else changes.patch()
        invocation.print(patch_lines(text.decode("utf-8", "replace").splitlines(), display))
        return
    sys.stdout.flush()
    if stat:
        sys.stdout.buffer.write(changes.stat())
    else:
        changes.patch(sys.stdout.buffer.write, MOST)
