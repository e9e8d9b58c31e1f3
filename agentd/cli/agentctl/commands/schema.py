"""``agentctl schema``."""

from __future__ import annotations

from agentd.cli.agentctl.command import Commands, Invocation, Status
from agentd.text.quoting import printable

_DETAILS = """\
Editors use it to complete and check the file: for taplo, put "#:schema ./jcard.schema.json" on the first line. The
output is the same with --json."""

_EXAMPLES = """\
agentctl schema > jcard.schema.json"""


def register(commands: Commands) -> None:
    """Add the command."""
    commands.add("schema", _schema, details=_DETAILS, examples=_EXAMPLES)


def _schema(invocation: Invocation) -> Status:
    from agentd.harness.registry import load_harnesses
    from agentd.jcard.schema import jcard_schema

    registry = load_harnesses()
    for warning in registry.warnings:
        invocation.warn(printable(warning))
    invocation.print_document(jcard_schema(registry.harnesses))
    return Status.DONE
