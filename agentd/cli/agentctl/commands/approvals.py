"""``agentctl approvals``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agentd.cli.agentctl.actors import actor_name
from agentd.cli.agentctl.client import ApiError, Json
from agentd.cli.agentctl.command import CommandError, Commands, Invocation, Status, UsageError, not_empty, whole_number
from agentd.cli.agentctl.kept_events import data_of, kept_events
from agentd.cli.agentctl.lookup import find_agent
from agentd.cli.agentctl.turns_client import TurnsClient
from agentd.text.terminal import BOLD, GREEN, RED, YELLOW, Cell, lines

_DETAILS = """\
list (the default) shows the permissions that agents asked for, the newest last, from the events that are kept: what was
decided, by whom (a rule of [[approve]], a user, or an agent for its worker), and why. expired: it was decided at the
agent's terminal, or its turn ended. explain says what the rules in force would decide of a command, or with --path of a
file that --tool works on, and what each rule down to that one said; nothing is asked or executed.
When not on a terminal: one line per permission, with tabs between time, agent, tool, decision, by, what."""

_EXAMPLES = """\
agentctl approvals
agentctl approvals list reviewer-0 -n 100
agentctl approvals explain reviewer-0 'git status; rm -rf /'
agentctl approvals explain reviewer-0 --tool Edit --path src/app.py
agentctl approvals --json | jq '.[] | select(.decision == "deny")'"""

_ASKED, _RESOLVED, _PUT = "turn_permission_asked", "turn_permission_resolved", "approval_asked"
_SHOWN: Final = 20
_HEADING: Final = ("TIME", "NAME", "TOOL", "DECISION", "BY", "WHAT")
_STYLES: Final[Mapping[str, str]] = {"allow": GREEN, "deny": RED, "waits": YELLOW}


def register(commands: Commands) -> None:
    """Add the command."""
    approvals = commands.add("approvals", _approvals, details=_DETAILS, examples=_EXAMPLES)
    approvals.add_argument("action", choices=("list", "explain"), nargs="?", default="list", help="default: list")
    approvals.add_argument("name", metavar="NAME", nargs="?", help="name of an agent; case is ignored")
    approvals.add_argument("line", metavar="CMD", nargs="?", help="explain: the command, as one argument")
    approvals.add_argument("--tool", metavar="TOOL", type=not_empty, help="explain: the tool [Bash, with CMD]")
    approvals.add_argument("--path", metavar="PATH", type=not_empty, help="explain: the file that it works on")
    approvals.add_argument(
        "-n", dest="most", metavar="N", type=whole_number, default=_SHOWN, help=f"list: how many at most [{_SHOWN}]"
    )


def _approvals(invocation: Invocation) -> Status:
    given = invocation.arguments
    if given.action == "explain":
        return _explain(invocation)
    if given.line is not None or given.tool is not None or given.path is not None:
        raise UsageError("CMD, --tool and --path are for agentctl approvals explain")
    return _list(invocation)


def _explain(invocation: Invocation) -> Status:
    given = invocation.arguments
    if given.name is None or (given.line is None) == (given.path is None):
        raise UsageError("expected NAME and either CMD or --path: agentctl approvals explain NAME 'CMD'")
    asked = {"tool": given.tool or ("Bash" if given.line is not None else "")}
    asked |= {"command": given.line} if given.line is not None else {"path": given.path}
    try:
        found = TurnsClient.of(invocation).explain(given.name, asked)
    except ApiError as error:
        raise CommandError(str(error)) from None
    invocation.print_result(dict(found), _explained(found))
    return Status.DONE


def _explained(found: Mapping[str, Json]) -> list[str]:
    rules = found.get("rules")
    shown = [each for each in rules if isinstance(each, Mapping)] if isinstance(rules, list) else []
    return [
        f"{found.get('decision') or 'ask'}: {found.get('why')}",
        *(f"  {each.get('name')} ({each.get('decision')}): {each.get('match')}, {each.get('why')}" for each in shown),
    ]


def _list(invocation: Invocation) -> Status:
    given = invocation.arguments
    name = None if given.name is None else find_agent(invocation.api, str(given.name)).name
    waiting: dict[tuple[str, str], dict[str, Json]] = {}
    found: list[dict[str, Json]] = []
    for event in kept_events(invocation.api, [_ASKED, _RESOLVED, _PUT], name):
        data = data_of(event)
        key = str(event.get("agent")), str(data.get("request"))
        if event.get("kind") == _ASKED:
            waiting[key] = _asked(event, data)
            found.append(waiting[key])
        elif key in waiting and event.get("kind") == _PUT:
            waiting[key] |= {"rule": data.get("rule"), "why": data.get("why"), "whom": data.get("whom")}
        elif key in waiting:
            waiting.pop(key).update(decision=data.get("decision"), by=data.get("by"), decided_at=event.get("time"))
    shown = found[-given.most :] if given.most else []
    invocation.print_result(shown, lines(_HEADING, [_row(each) for each in shown], invocation.display))
    return Status.DONE


def _asked(event: Mapping[str, Json], data: Mapping[str, Json]) -> dict[str, Json]:
    return {
        "name": event.get("agent"),
        "asked_at": event.get("time"),
        "request": data.get("request"),
        "tool": data.get("name"),
        "what": event.get("reason"),
        "decision": None,
        "by": None,
        "decided_at": None,
        "rule": None,
        "why": None,
        "whom": None,
    }


def _row(asked: Mapping[str, Json]) -> list[Cell]:
    decision = str(asked["decision"] or "waits")
    by = asked["by"]
    put = f"asked by rule {asked['rule']}" if asked["rule"] is not None and by is None else ""
    return [
        Cell(str(asked["asked_at"])),
        Cell(str(asked["name"]), BOLD),
        Cell(str(asked["tool"] or "")),
        Cell(decision, _STYLES.get(decision, "")),
        Cell(actor_name(by) if isinstance(by, str) else put),
        Cell(str(asked["what"] or "")),
    ]
