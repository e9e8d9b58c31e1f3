"""``agentctl validate``."""

from __future__ import annotations

import os

from agentd.cli.agentctl.command import Commands, Invocation, Status, add_jcard

_DETAILS = """\
Reads the file, the drop-ins in the folder beside it, and their prompt files as the daemon would; needs no daemon. Exit
status 1 if there are errors or warnings. FILE is by default the daemon's jcard (--config, AGENTD_CONFIG); it may be a
folder of drop-ins, a pipe, or - for standard input, and relative paths are then relative to the current folder.
Each line is an agent (name, harness, session, workdir) or a problem with its file:line:column; the last line is the
verdict."""

_EXAMPLES = """\
agentctl validate
agentctl validate ./jcard.toml
agentctl validate - < ./jcard.toml
agentctl validate --json ./jcard.toml | jq '.errors[].message'"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("validate", _validate, details=_DETAILS, examples=_EXAMPLES)
    add_jcard(parser, "the jcard, or a folder of drop-ins, to check")


def _validate(invocation: Invocation) -> Status:
    from agentd.jcard.given_file import given_file
    from agentd.supervise.check import check, check_lines

    given: str | None = invocation.arguments.file
    result = check(invocation.settings, os.environ, None if given is None else given_file(given))
    invocation.print_result(result.document(), check_lines(result, invocation.display))
    return Status.FAILED if result.problems else Status.DONE
