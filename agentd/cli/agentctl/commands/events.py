"""``agentctl events``."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from difflib import get_close_matches

from agentd.cli.agentctl.client import Json
from agentd.cli.agentctl.command import (
    Commands,
    Invocation,
    Status,
    UsageError,
    add_fleet,
    add_gateway_options,
    not_empty,
    whole_number,
)
from agentd.cli.agentctl.lookup import unknown_agent
from agentd.model.events import EventKind
from agentd.text.quoting import printable, quote
from agentd.text.terminal import BOLD, CYAN, DIM, GREEN, NOTHING, RED, YELLOW, Display
from agentd.text.timestamps import rfc3339_milliseconds

_DETAILS = """\
Prints all events that are kept, or those selected, oldest first. -f starts with the last 10 events and prints new ones
until C-c; it survives restarts of the daemon, and no event is missed or repeated.
When not on a terminal: one line per event, with fields separated by tabs: number, time, agent, kind, reason, and other
values as name=value. --json prints one array; with -f one object per line.
The kinds are: {kinds}.

list and tail print events of a session of agentd-gateway, as JSON: list a page of them, tail the last 10 (or -n), one
per line, with -f the new ones too. A field of each with --field."""

_EXAMPLES = """\
agentctl events
agentctl events -f
agentctl events --agent reviewer-0 --since 12h
agentctl events --kind failed --kind timed_out -n 20
agentctl events -f --json --kind exited | jq --unbuffered -r '.agent'
agentctl --field event_type events tail --session-id ses_01ABC -f"""

_FOLLOWED = 10
"""Past events that ``--follow`` starts with."""

_STYLES: Mapping[str, str] = {
    EventKind.STARTED: GREEN,
    EventKind.ADOPTED: GREEN,
    EventKind.LAUNCHED: CYAN,
    EventKind.RESTARTING: YELLOW,
    EventKind.STOPPING: YELLOW,
    EventKind.SESSION_LOST: YELLOW,
    EventKind.CONFIG_WARNING: YELLOW,
    EventKind.SECRET_SKIPPED: YELLOW,
    EventKind.FAILED: RED,
    EventKind.TIMED_OUT: RED,
    EventKind.KILLED: RED,
    EventKind.LAUNCH_FAILED: RED,
    EventKind.CONFIG_REJECTED: RED,
    EventKind.TMUX_SERVER_DIED: RED,
    EventKind.PROCESSES_SURVIVE_SIGKILL: RED,
    EventKind.EVENTS_LOST: RED,
    EventKind.EVENTS_EXPIRED: RED,
}

_IMPLIED = frozenset({"state", "was", "run"})
"""Values that the kind implies, left out on a terminal."""

_AGENT_WIDTH, _KIND_WIDTH = 16, 14


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "events",
        _events,
        details=_DETAILS.format(kinds=_wrapped(", ".join(EventKind))),
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "action", metavar="list|tail", nargs="?", choices=("list", "tail"), help="of a session of agentd-gateway"
    )
    parser.add_argument("--session-id", metavar="ID", type=not_empty, help="list, tail: the session")
    parser.add_argument("--cursor", metavar="N", type=whole_number, help="list: after this cursor [0]")
    parser.add_argument("--limit", metavar="N", type=whole_number, help="list: at most so many [100]")
    add_gateway_options(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="print new events as they happen")
    parser.add_argument("--agent", metavar="NAME", action="append", default=[], help="only of this agent; repeatable")
    parser.add_argument("--kind", metavar="KIND", action="append", default=[], help="only of this kind; repeatable")
    parser.add_argument(
        "--since",
        metavar="SEQ|DURATION",
        type=_since,
        help="only events after this number, or within this time (90s, 12h)",
    )
    parser.add_argument("-n", "--lines", metavar="N", type=whole_number, help="only the last N events")
    add_fleet(parser)


def _wrapped(text: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, 118, subsequent_indent="  "))


def _since(text: str) -> str:
    """Convert to what the API takes: the number of an event, or a time."""
    if text.isascii() and text.isdecimal():
        return str(whole_number(text))
    from agentd.text.durations import DurationError, parse_duration

    try:
        ago = parse_duration(text)
    except DurationError as error:
        raise argparse.ArgumentTypeError(f"expected the number of an event or a duration: {error}") from None
    return rfc3339_milliseconds(time.time() - ago)


def _events(invocation: Invocation) -> Status:
    arguments = invocation.arguments
    if arguments.session_id is not None or arguments.action is not None:
        return _of_session(invocation)
    if arguments.since is not None and arguments.lines is not None:
        raise UsageError("--since and -n both say where to start; leave one of them out")
    for kind in arguments.kind:
        if kind not in list(EventKind):
            close = get_close_matches(kind, list(EventKind), n=1)
            meant = f"did you mean {close[0]}?" if close else "see agentctl events --help"
            invocation.warn(f"this version knows no kind {quote(kind)}; {meant}")
    query = _query(arguments)
    if arguments.follow:
        _warn_of_strangers(invocation)
        return _follow(invocation, query)
    document = invocation.api.get(f"/v1/events?{query.removeprefix('&')}")
    if not document:
        _warn_of_strangers(invocation)
    if invocation.as_json:
        invocation.print_document(document)
    else:
        events = document if isinstance(document, list) else []
        invocation.print(_line(event, invocation.display) for event in events if isinstance(event, dict))
    return Status.DONE


def _warn_of_strangers(invocation: Invocation) -> None:
    """Say which agents are not there, of whom events may be kept all the same."""
    asked = invocation.arguments.agent
    names = [agent.name for agent in invocation.api.agents()] if asked else []
    for name in asked:
        if name not in names:
            invocation.warn(str(unknown_agent(name, names)))


def _of_session(invocation: Invocation) -> Status:
    from urllib.parse import quote as quoted

    from agentd.cli.agentctl.gateway.client import Gateway
    from agentd.cli.agentctl.gateway.events import last_events

    arguments = invocation.arguments
    if arguments.session_id is None:
        raise UsageError(f"events {arguments.action} needs --session-id; events alone are those of agentd")
    if arguments.agent or arguments.kind or arguments.since is not None:
        raise UsageError("--agent, --kind and --since choose events of agentd, not of a session")
    gateway, session = Gateway.of(invocation), str(arguments.session_id)
    if arguments.action != "tail" and not arguments.follow:
        query = {"cursor": arguments.cursor, "limit": arguments.limit}
        invocation.print_document(gateway.get(f"/sessions/{quoted(session, safe='')}/events", query))
        return Status.DONE
    count = _FOLLOWED if arguments.lines is None else arguments.lines
    cursor, events = last_events(gateway, session, count)
    for event in events:
        invocation.print_document(event, line=True)
    if arguments.follow:
        for event in gateway.events(session, cursor):
            invocation.print_document(event, line=True)
    return Status.DONE


def _query(arguments: argparse.Namespace) -> str:
    from urllib.parse import urlencode

    pairs = [("agent", name) for name in arguments.agent] + [("kind", kind) for kind in arguments.kind]
    tail = arguments.lines
    if arguments.since is not None:
        pairs.append(("since", arguments.since))
    elif tail is not None or arguments.follow:
        pairs.append(("tail", str(_FOLLOWED if tail is None else tail)))
    return "&" + urlencode(pairs)


def _follow(invocation: Invocation, query: str) -> Status:
    from agentd.cli.agentctl.follow_events import follow

    for event in follow(invocation.api, query, warn=lambda text: invocation.warn(printable(text))):
        if event is not None:
            line = json.dumps(event, separators=(",", ":")) if invocation.as_json else _line(event, invocation.display)
            print(line, flush=True)
    return Status.DONE


def _line(event: Mapping[str, Json], display: Display) -> str:
    texts = {name: _text(event.get(name)) for name in ("seq", "time", "agent", "kind", "reason")}
    found = event.get("data")
    data = found if isinstance(found, dict) else {}
    if "host" in event:
        # Of a fleet.
        data = {"host": event["host"], **data}
    if not display.table:
        values = " ".join(f"{name}={_value(value)}" for name, value in data.items())
        return "\t".join(printable(text) or NOTHING for text in (*texts.values(), values))
    # Later lines are not known yet, so columns have a fixed width.
    values = " ".join(f"{name}={_value(value)}" for name, value in data.items() if name not in _IMPLIED)
    kind = printable(texts["kind"])
    return "  ".join(
        (
            display.paint(_local(texts["time"]), DIM),
            display.paint(f"{printable(texts['agent']) or NOTHING:{_AGENT_WIDTH}}", BOLD),
            display.paint(f"{kind:{_KIND_WIDTH}}", _STYLES.get(kind, "")),
            "  ".join(printable(part) for part in (texts["reason"], values) if part),
        )
    ).rstrip()


def _text(value: Json) -> str:
    return "" if value is None else str(value)


def _value(value: Json) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else _text(value)
    return json.dumps(text, ensure_ascii=False) if " " in text else text


def _local(moment: str) -> str:
    """Format a time in the local time zone."""
    from agentd.text.iso8601 import seconds_of

    at = seconds_of(moment)
    return printable(moment) if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
