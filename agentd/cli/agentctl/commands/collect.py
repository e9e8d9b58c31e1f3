"""``agentctl collect``."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from agentd.cli.agentctl.command import (
    CommandError,
    Commands,
    Invocation,
    Status,
    add_fleet,
    add_name,
    not_empty,
    whole_number,
)
from agentd.text.timestamps import compact

if TYPE_CHECKING:
    from agentd.pool.output_folder import OutputError

_TRANSCRIPT_LINES = 1000

_DETAILS = """\
Writes an agent's work into a new folder: changes.patch (all changes since its worktree was created, for git apply),
commits.bundle (its commits, for git fetch), files/ (the changed files as they are now), transcript.txt (the end of its
output) and manifest.json (the list of these, and the state of the agent and its last run). What an agent does not have
(a worktree, a transcript) is left out, and is null in the manifest. Of a worker, summary.txt sums it up.
With --fleet, the agent's host collects it, and it is brought here by ssh, as agentctl attach --help says."""

_EXAMPLES = """\
agentctl collect engineer_alice
agentctl collect engineer_alice --output ~/results/alice
git -C ~/shop fetch ~/results/alice/commits.bundle HEAD"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("collect", _collect, details=_DETAILS, examples=_EXAMPLES)
    add_name(parser)
    parser.add_argument("--output", metavar="DIR", type=not_empty, help="folder to create [./NAME-collected-TIME]")
    parser.add_argument(
        "--lines",
        metavar="N",
        type=whole_number,
        default=_TRANSCRIPT_LINES,
        help=f"most lines of the transcript [{_TRANSCRIPT_LINES}]",
    )
    add_fleet(parser)


def _collect(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.collection import collect
    from agentd.pool.output_folder import OutputError
    from agentd.text.quoting import printable

    if invocation.fleet:
        return _collect_there(invocation)
    if _is_worker(invocation):
        return _collect_worker(invocation)
    try:
        manifest, folder = collect(invocation, invocation.arguments.output, max(0, int(invocation.arguments.lines)))
    except OutputError as error:
        raise _not_written(invocation, error) from None
    invocation.print_result({"folder": str(folder), **manifest}, [printable(str(folder))])
    return Status.DONE


def _is_worker(invocation: Invocation) -> bool:
    """Whether the name is a worker's, also of one that was terminated."""
    from agentd.cli.agentctl.client import ApiError, UnreachableError
    from agentd.cli.agentctl.lookup import agent_path
    from agentd.model.pool import OWNER, WORKER_NAME

    try:
        shown = invocation.api.get(agent_path(invocation.name()))
    except ApiError:
        return re.fullmatch(WORKER_NAME, invocation.name()) is not None
    except UnreachableError:
        return False
    return isinstance(shown, dict) and shown.get("owner") == OWNER


def _collect_worker(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.pooled import print_pooled, run_pool
    from agentd.pool.collecting import collect
    from agentd.settings.folders import absolute

    name = invocation.name()
    output = absolute(invocation.arguments.output or _folder(name))
    done = run_pool(invocation, lambda pool: collect(pool, name, output))
    print_pooled(invocation, done, [done.folder, *done.summary.splitlines()])
    for path in done.outside_allowed_paths:
        invocation.warn(f"changed although it was not to: {path}")
    return Status.DONE


def _not_written(invocation: Invocation, error: OutputError) -> CommandError:
    return CommandError(str(error), "conflict", f"agentctl collect {invocation.name()} --output NEW_FOLDER")


def _folder(name: str) -> str:
    return f"{name}-collected-{compact(time.time())}"


def _collect_there(invocation: Invocation) -> Status:
    import os

    from agentd.cli.agentctl.fleet.client import FleetClient
    from agentd.cli.agentctl.fleet.overview import address_of
    from agentd.cli.agentctl.fleet.remote import collect_from
    from agentd.pool.output_folder import OutputError
    from agentd.settings.folders import absolute
    from agentd.text.quoting import printable

    found = address_of(FleetClient(invocation.api), invocation.name())
    folder = absolute(invocation.arguments.output or _folder(found.agent))
    try:
        collect_from(found.address, found.agent, max(0, int(invocation.arguments.lines)), folder, os.environ)
    except OutputError as error:
        raise _not_written(invocation, error) from None
    document = {"folder": str(folder), "name": found.agent, "host": found.host}
    invocation.print_result(document, [printable(str(folder))])
    return Status.DONE
