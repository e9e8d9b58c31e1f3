"""``agentctl collect``."""

from __future__ import annotations

from agentd.cli.agentctl.command import Commands, Invocation, Status, add_name, not_empty, whole_number

_TRANSCRIPT_LINES = 1000

_DETAILS = """\
Writes what an agent did into a new folder: changes.patch (all against where its worktree started, for git apply),
commits.bundle (its commits, for git fetch), files/ (the changed files as they are now), transcript.txt (the end of what
it printed) and manifest.json, which says what is there, and how the agent and its last run are. What an agent does not
have (a worktree, a transcript) is left out, and null in the manifest."""

_EXAMPLES = """\
agentctl collect engineer_alice
agentctl collect engineer_alice --output ~/results/alice
git -C ~/shop fetch ~/results/alice/commits.bundle HEAD"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "collect",
        _collect,
        details=_DETAILS,
        examples=_EXAMPLES,
    )
    add_name(parser)
    parser.add_argument("--output", metavar="DIR", type=not_empty, help="the folder to make [./NAME-collected-TIME]")
    parser.add_argument(
        "--lines",
        metavar="N",
        type=whole_number,
        default=_TRANSCRIPT_LINES,
        help=f"lines of the transcript [{_TRANSCRIPT_LINES}]",
    )


def _collect(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.collection import collect
    from agentd.text.quoting import printable

    manifest, folder = collect(invocation, invocation.arguments.output, max(0, int(invocation.arguments.lines)))
    if invocation.as_json:
        invocation.print_document({"folder": str(folder), **manifest})
    else:
        invocation.print([printable(str(folder))])
    return Status.DONE
