"""``agentctl doctor``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from agentd.cli.agentctl.command import Commands, Invocation, Status
from agentd.text.quoting import printable
from agentd.text.terminal import CYAN, GREEN, RED, YELLOW, Cell, Display, lines, plural

if TYPE_CHECKING:
    from agentd.cli.agentctl.doctor.finding import Finding

_DETAILS = """\
Checks the daemon, tmux, the jcard, the secrets, the sockets, each harness' program and whether it has credentials
(never which), worktrees left behind, and the limits of the system. Every warning and error says what to do. Problems of
what no agent uses are only notes. Works without a daemon, which is then an error.
Exit status 1 if there is an error. When not on a terminal: one line per finding, with fields separated by tabs: level
(ok, note, warning, error), topic, finding, advice."""

_EXAMPLES = """\
agentctl doctor
agentctl doctor | grep -v ^ok
agentctl doctor --json | jq '.findings[] | select(.level == "error")'"""

_LOOKS = {"ok": Cell("ok", GREEN, "✓"), "note": Cell("note", CYAN, "·")}
_LOOKS |= {"warning": Cell("warning", YELLOW, "!"), "error": Cell("error", RED, "✗")}


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("doctor", _doctor, details=_DETAILS, examples=_EXAMPLES)
    parser.add_argument("--privacy", action="store_true", help="say instead what is read and stored of workers")


def _doctor(invocation: Invocation) -> Status:
    if invocation.arguments.privacy:
        return _privacy(invocation)
    from agentd.cli.agentctl.doctor.examine import examine

    findings = list(examine(invocation.settings, os.environ))
    document = {"findings": [asdict(each) for each in findings]}
    invocation.print_result(document, finding_lines(findings, invocation.display))
    return Status.FAILED if any(each.level == "error" for each in findings) else Status.DONE


def _privacy(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.pooled import print_pooled
    from agentd.pool.teaching import privacy

    found = privacy(invocation.settings)
    rows = [
        [Cell("stored" if each.stored else "read"), Cell(each.what), Cell(printable(each.where)), Cell(each.why)]
        for each in found.entries
    ]
    print_pooled(invocation, found, lines(("", "WHAT", "WHERE", "WHY"), rows, invocation.display))
    return Status.DONE


def finding_lines(findings: Sequence[Finding], display: Display) -> list[str]:
    """Format findings; on a terminal with the advice below each, and totals at the end."""
    if not display.table:
        rows = [[_LOOKS[each.level], Cell(each.topic), Cell(each.text), Cell(each.advice or "")] for each in findings]
        return lines((), rows, display)
    shown = []
    for each in findings:
        look = _LOOKS[each.level]
        mark = look.symbol if display.symbols else f"{look.text:7}"
        shown.append(f"{display.paint(mark, look.style)} {each.topic:9} {printable(each.text)}")
        if each.advice is not None:
            shown.append(f"{' ' * len(mark)} {'':9} → {printable(each.advice)}")
    totals = [
        plural(number, level)
        for level in ("error", "warning", "note")
        if (number := sum(each.level == level for each in findings))
    ]
    return [*shown, "", ", ".join(totals) if totals else "no problems found"]
