"""``agentctl diff``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from agentd.cli.agentctl.command import CommandError, Commands, Invocation, Status, add_name

if TYPE_CHECKING:
    from agentd.workspaces.changes import Changes

_DETAILS = """\
Shows what is different in the agent's worktree from where it started: what it committed, what it did not commit yet,
and new files; not what git ignores. What came from the base since does not count. Elsewhere than on a terminal the
output is a patch that git apply takes. The worktree is not touched, and its agent may be running."""

_EXAMPLES = """\
agentctl diff engineer_alice
agentctl diff engineer_alice --stat
agentctl diff engineer_alice | git -C ~/shop apply --3way
agentctl diff engineer_alice --json | jq -r '.files[].path'"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("diff", _diff, details=_DETAILS, examples=_EXAMPLES)
    add_name(parser)
    parser.add_argument("--stat", action="store_true", help="only sum it up, a line for each file")


def _diff(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.worktree_look import look_around
    from agentd.workspaces.changes import look_at_changes
    from agentd.workspaces.git import GitError

    surroundings = look_around(invocation)
    place = surroundings.worktree(invocation)
    try:
        changes = look_at_changes(surroundings.git, place)
        if invocation.as_json:
            invocation.print_document(_document(place.name, changes))
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
    display = invocation.display
    look = changes.stat if invocation.arguments.stat else changes.patch
    text = look(colour=display.colour)
    if display.table:
        invocation.print(_harmless(line) for line in text.decode("utf-8", "replace").splitlines())
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(text)


def _harmless(line: str) -> str:
    """Keep git's colours and tabs, and nothing else that a terminal would act on."""
    import re

    from agentd.jcard.quoting import printable

    return "".join(
        part if re.fullmatch(r"\x1b\[[0-9;]*m|\t", part) else printable(part)
        for part in re.split(r"(\x1b\[[0-9;]*m|\t)", line)
    )
