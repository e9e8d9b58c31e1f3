"""``agentctl ps``."""

from __future__ import annotations

from collections.abc import Mapping

from agentd.cli.agentctl.client import views
from agentd.cli.agentctl.command import Commands, Invocation, Status, add_name
from agentd.cli.agentctl.lookup import find_agent
from agentd.text.terminal import BOLD, YELLOW, Cell, lines

_DETAILS = """\
Lists what an agent has running now, by command, those with the most memory first. KIND is agent for its own process,
server for what it talks to by pipes, such as an MCP server, tool for anything else below it, and orphan for what it has
started and whose parents are gone: reap = "idle:30m" in the jcard ends those of an idle agent. Of a command line only
the program and the script are shown, since arguments may hold secrets. Memory is resident memory; shared pages count in
each process.
When not on a terminal: one line per command, with fields separated by tabs: command, kind, processes, bytes, pids."""

_EXAMPLES = """\
agentctl ps reviewer-0
agentctl ps reviewer-0 --json | jq '.commands[] | select(.kind == "orphan")'"""

_HEADING = ("COMMAND", "KIND", "PROCESSES", "MEMORY", "PIDS")


def register(commands: Commands) -> None:
    """Add the command."""
    add_name(commands.add("ps", _ps, details=_DETAILS, examples=_EXAMPLES))


def _ps(invocation: Invocation) -> Status:
    from agentd.model.processes import CommandProcesses, ProcessKind
    from agentd.text.sizes import about

    name = find_agent(invocation.api, invocation.name()).name
    document = invocation.api.get(f"/v1/agents/{name}/processes")
    commands = views(CommandProcesses, document.get("commands") if isinstance(document, Mapping) else None)
    table = invocation.display.table
    rows = [
        [
            Cell(each.command, BOLD),
            Cell(each.kind, YELLOW if each.kind == ProcessKind.ORPHAN else ""),
            Cell(str(each.processes)),
            Cell(about(each.memory_bytes) if table else str(each.memory_bytes)),
            Cell(" ".join(map(str, each.pids))),
        ]
        for each in commands
    ]
    invocation.print_result(document, lines(_HEADING, rows, invocation.display))
    return Status.DONE
