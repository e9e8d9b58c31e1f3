"""``agentctl plan``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from agentd.cli.agentctl.client import view
from agentd.cli.agentctl.command import Commands, Invocation, Status, add_jcard
from agentd.cli.agentctl.sandbox_view import planned_rows
from agentd.model.plan_report import PlannedOperation, PlannedResume, PlannedStart, PlanReport
from agentd.text.quoting import printable
from agentd.text.terminal import BOLD, DIM, GREEN, RED, YELLOW, Cell, Display, lines, plural

_DETAILS = """\
Without FILE: what the daemon has still to do, which is normally nothing. With FILE: what it would do if FILE replaced
its jcard now (- is standard input, and a pipe works too), with the folder of drop-ins beside FILE if there is one. FILE
may also be one of its drop-ins, or a folder in place of all. Secrets count as unchanged.
Marks: + start, - stop, ~ restart, = change in place, > told to go on after its usage limit, once it has reset. What a
restart waits for, as the agent's apply says, stands behind the reason; with FILE, as far as it is known now. Under a
sandboxed agent stands what it may read, write and reach, or what of that changes; --json has it as sandbox and
sandbox_before.
When not on a terminal: one line per operation, with fields separated by tabs: mark, action, agent, reason.
Exit status 0 whether or not there is anything to do."""

_EXAMPLES = """\
agentctl plan
agentctl plan ./jcard.new.toml
agentctl plan ./jcard.new.d
agentctl plan --json ./jcard.new.toml | jq -e '.operations == []'"""

_MARKS = {
    "start": Cell("+", GREEN),
    "stop": Cell("-", RED),
    "restart": Cell("~", YELLOW),
    "change": Cell("=", DIM),
}
_UNKNOWN = Cell("?", BOLD)
"""Of a newer daemon."""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("plan", _plan, details=_DETAILS, examples=_EXAMPLES)
    add_jcard(parser, "a jcard, or a folder of drop-ins, to plan instead of the daemon's")


def _plan(invocation: Invocation) -> Status:
    report = view(PlanReport, invocation.api.get("/v1/plan"))
    file: str | None = invocation.arguments.file
    operations = report.operations
    if file is not None:
        from agentd.cli.agentctl.preview import preview
        from agentd.jcard.given_file import given_file

        operations, remarks = preview(invocation, report, given_file(file))
        for text in remarks:
            invocation.warn(text)
    resumes = report.resumes if file is None else ()
    starts = report.starts if file is None else ()
    document: dict[str, object] = {"operations": [asdict(operation) for operation in operations]}
    if file is None:
        document["resumes"] = [asdict(resume) for resume in resumes]
        document["starts"] = [asdict(start) for start in starts]
    shown = plan_lines(operations, invocation.display)
    invocation.print_result(document, [*shown, *later_lines(resumes, starts, invocation.display)])
    return Status.DONE


def _reason(operation: PlannedOperation) -> str:
    waits = f" (waits: {'; '.join(operation.waits)})" if operation.waits else ""
    return operation.reason + waits


def later_lines(resumes: Sequence[PlannedResume], starts: Sequence[PlannedStart], display: Display) -> list[str]:
    """Show who goes on after a usage limit, and who is started by the clock, a line each."""
    rows = [[Cell(">"), Cell("resume"), Cell(each.agent, BOLD), Cell(_waits(each))] for each in resumes]
    rows += [
        [Cell(">"), Cell("start"), Cell(each.agent, BOLD), Cell(f"at {each.start_at}: {each.reason}")]
        for each in starts
    ]
    if not rows:
        return []
    return [*([""] if display.table else []), *lines(("", "LATER", "AGENT", "WHEN"), rows, display)]


def _waits(resume: PlannedResume) -> str:
    return f"at {resume.resume_at}, after its usage limit: {resume.reason}"


def plan_lines(operations: Sequence[PlannedOperation], display: Display) -> list[str]:
    """Show operations, a line each, and their totals."""
    if not operations:
        return ["nothing to do"] if display.table else []
    rows = [
        [
            _MARKS.get(operation.action, _UNKNOWN),
            Cell(operation.action),
            Cell(operation.agent, BOLD),
            Cell(_reason(operation)),
        ]
        for operation in operations
    ]
    shown = lines(("", "ACTION", "AGENT", "REASON"), rows, display)
    if not display.table:
        return shown
    heading, *table = shown
    shown = [heading]
    for line, operation in zip(table, operations, strict=True):
        shown += [
            line,
            *(f"     {display.paint(what, DIM)} {printable(text)}" for what, text in planned_rows(operation)),
        ]
    actions = [operation.action for operation in operations]
    totals = ", ".join(f"{actions.count(action)} to {action}" for action in _MARKS if action in actions)
    return [*shown, "", f"{plural(len(operations), 'operation')}: {totals}"]
