"""``agentctl session``, ``message``, ``run``, ``tool`` and ``daemon``: what agentd-gateway's API offers."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from agentd.cli.agentctl.command import (
    Commands,
    Invocation,
    Parser,
    Status,
    UsageError,
    add_gateway_options,
    not_empty,
    whole_number,
)

if TYPE_CHECKING:
    from agentd.cli.agentctl.client import Json
    from agentd.cli.agentctl.gateway.client import Gateway

_SESSION_DETAILS = """\
A session is one conversation with one agent, kept by agentd-gateway. create begins one: with --agent by that agent's
definition, in a terminal of its own; with --main too it is the conversation that the agent has already; with --harness
and --workdir for this once. close ends it. Prints JSON."""

_SESSION_EXAMPLES = """\
agentctl session create --agent reviewer --title "look at 42"
agentctl --field session.id session create --agent reviewer
agentctl session list --status open
agentctl session show ses_01ABC
agentctl session close --session-id ses_01ABC"""

_MESSAGE_DETAILS = """\
Sends a message to a session. It becomes a run, which begins as soon as the agent is free; agentctl run wait waits for
its end. With an --idempotency-key a repeated call has no second effect. With --channel agentd-gateway writes it to the
channel's broker, Kafka or Redis, as others do who talk to the agent so; it is answered there. Prints JSON."""

_MESSAGE_EXAMPLES = """\
agentctl message send --session-id ses_01ABC --text "which tests fail?"
agentctl --field run.id message send --session-id ses_01ABC - <question.md
agentctl message send --channel reviews --channel-id room-7 --text hello"""

_RUN_DETAILS = """\
A run is one message and all that the agent does about it. wait waits for its end, with --timeout-s for so many seconds,
and then ends with exit status 1. cancel interrupts it and the runs that it spawned. answer decides what the agent asks
in it. diagnose says what it waits for. transition moves it into another status, where that is allowed. Prints JSON."""

_RUN_EXAMPLES = """\
agentctl run get run_01ABC
agentctl --field run.status run wait --run-id run_01ABC --timeout-s 300
agentctl run answer run_01ABC --request-id REQUEST --decision allow
agentctl --field diagnostics.likely_issue run diagnose --run-id run_01ABC
agentctl run cancel --run-id run_01ABC
agentctl run transition --run-id run_01ABC --to-status canceled"""

_TOOL_DETAILS = """\
For agents that work with other agents: session-spawn begins a child's session with a task, session-send sends it a
message, session-wait waits for a run, and session-reply-parent asks the parent something. Prints JSON."""

_TOOL_EXAMPLES = """\
agentctl tool session-spawn --parent-run-id run_01ABC --agent tester --task "run the tests"
agentctl tool session-wait --run-id run_01DEF
agentctl tool session-send --session-id ses_01DEF --text "approved"
agentctl tool session-reply-parent --run-id run_01DEF --request-kind question --text "which branch?" """

_DAEMON_DETAILS = "Shows how agentd-gateway is doing: its health, the runs under way and the queue. Prints JSON."

_DAEMON_EXAMPLES = """\
agentctl daemon status
agentctl --field queue_counts.queued_count daemon status"""

_WAIT_STEP = 30
"""Seconds that one request waits for the end of a run."""


def register(commands: Commands) -> None:
    """Add the commands."""
    _register_session(commands)
    message = _group(commands, "message", _MESSAGE, _MESSAGE_DETAILS, _MESSAGE_EXAMPLES)
    message.add_argument("words", metavar="TEXT", nargs="?", help="the message; - for standard input")
    message.add_argument("--session-id", metavar="ID", type=not_empty, help="the session")
    message.add_argument("--channel", metavar="NAME", type=not_empty, help="the channel, by whose broker it goes")
    message.add_argument(
        "--agent", metavar="NAME", type=not_empty, help="with --channel: whose, if several agents have one of that name"
    )
    message.add_argument("--channel-id", metavar="ID", help="with --channel: which conversation it belongs to")
    message.add_argument("--metadata", metavar="JSON", type=_object, help="with --channel: is given back with answers")
    message.add_argument("--text", metavar="TEXT", help="the message, if it is not given as a word")
    message.add_argument("--role", metavar="ROLE", help="whose message it is; only that of a user begins a run [user]")
    _add_key(message)
    _register_run(commands)
    _register_tool(commands)
    _group(commands, "daemon", _DAEMON, _DAEMON_DETAILS, _DAEMON_EXAMPLES)


def _register_session(commands: Commands) -> None:
    session = _group(commands, "session", _SESSION, _SESSION_DETAILS, _SESSION_EXAMPLES)
    session.add_argument("id", metavar="ID", nargs="?", help="show, close: the session")
    session.add_argument("--session-id", metavar="ID", type=not_empty, help="the same as ID")
    session.add_argument("--agent", metavar="NAME", help="create: the agent; list: only its sessions")
    session.add_argument("--main", action="store_true", help="create: the conversation that the agent has already")
    session.add_argument("--harness", metavar="HARNESS", help="create: a coding agent for this once")
    session.add_argument("--workdir", metavar="DIR", help="create: the folder where it works")
    session.add_argument("--title", metavar="TEXT", help="create: a title")
    session.add_argument("--metadata", metavar="JSON", type=_object, help="create: an object that is kept with it")
    session.add_argument(
        "--status", metavar="STATUS", choices=("open", "closed"), help="list: only open or closed ones"
    )
    _add_page(session)


def _register_run(commands: Commands) -> None:
    run = _group(commands, "run", _RUN, _RUN_DETAILS, _RUN_EXAMPLES)
    run.add_argument("id", metavar="ID", nargs="?", help="the run")
    run.add_argument("--run-id", metavar="ID", type=not_empty, help="the same as ID")
    run.add_argument("--session-id", metavar="ID", help="list: only runs of this session")
    run.add_argument("--status", metavar="STATUS", help="list: only runs in this status")
    run.add_argument("--timeout-s", metavar="SECONDS", type=whole_number, help="wait: time limit [none]")
    run.add_argument("--to-status", metavar="STATUS", help="transition: the new status")
    run.add_argument("--reason", metavar="TEXT", help="transition: why")
    run.add_argument("--request-id", metavar="ID", help="answer: what the agent asked")
    run.add_argument("--decision", choices=("allow", "deny", "allow_always"), help="answer: the decision")
    run.add_argument("--text", metavar="TEXT", help="answer: the answer to a question, or why it is denied")
    _add_page(run)


def _register_tool(commands: Commands) -> None:
    tool = _group(commands, "tool", _TOOL, _TOOL_DETAILS, _TOOL_EXAMPLES)
    tool.add_argument("--run-id", metavar="ID", type=not_empty, help="the run, of a child or to wait for")
    tool.add_argument("--parent-run-id", metavar="ID", type=not_empty, help="session-spawn: the parent's run")
    tool.add_argument("--parent-session-id", metavar="ID", type=not_empty, help="session-spawn: the parent's session")
    tool.add_argument("--session-id", metavar="ID", type=not_empty, help="session-send: the session")
    tool.add_argument("--from-run-id", metavar="ID", help="session-send: the run that sends")
    tool.add_argument("--task", metavar="TEXT", help="session-spawn: the child's first message")
    tool.add_argument("--agent", metavar="NAME", help="session-spawn: the agent [that of the parent]")
    tool.add_argument("--harness", metavar="HARNESS", help="session-spawn: a coding agent for this once")
    tool.add_argument("--workdir", metavar="DIR", help="session-spawn: the folder where it works")
    tool.add_argument("--text", metavar="TEXT", help="the message")
    tool.add_argument("--request-kind", metavar="KIND", help="approval_request, permission_request, question or info")
    tool.add_argument("--timeout-s", metavar="SECONDS", type=whole_number, help="session-wait: time limit [none]")
    _add_key(tool)


def _group(commands: Commands, name: str, actions: Mapping[str, object], details: str, examples: str) -> Parser:
    parser = commands.add(name, _run, details=details, examples=examples)
    parser.set_defaults(actions=actions)
    parser.add_argument("action", metavar="|".join(actions), choices=tuple(actions), help="what to do")
    add_gateway_options(parser)
    return parser


def _add_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--idempotency-key", metavar="KEY", type=not_empty, help="makes a repeated call harmless")


def _add_page(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", metavar="N", type=whole_number, help="list: at most so many [100]")
    parser.add_argument("--cursor", metavar="CURSOR", help="list: go on after this next_cursor")


def _object(text: str) -> Mapping[str, object]:
    try:
        found: object = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a JSON object: {error}") from None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"expected a JSON object, found {text!r}")
    return found


def _run(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.gateway.client import Gateway

    act = invocation.arguments.actions[invocation.arguments.action]
    document = act(invocation, Gateway.of(invocation))
    invocation.print_document(document)
    if document.get("timed_out") is True:
        invocation.warn("the time is over, and the run has not ended")
        return Status.FAILED
    return Status.DONE


def _needed(invocation: Invocation, *names: str) -> str:
    """Give the first of some options that is given.

    Raises
    ------
    UsageError
        If none is.
    """
    for name in names:
        value = getattr(invocation.arguments, name)
        if value:
            return str(value)
    flags = " or ".join("ID" if name == "id" else f"--{name.replace('_', '-')}" for name in names)
    raise UsageError(f"{invocation.arguments.action} needs {flags}")


def _session_id(invocation: Invocation) -> str:
    return _needed(invocation, "session_id", "id")


def _run_id(invocation: Invocation) -> str:
    return _needed(invocation, "run_id", "id")


def _create_session(invocation: Invocation, gateway: Gateway) -> Mapping[str, Json]:
    given = invocation.arguments
    body = {name: getattr(given, name) for name in ("agent", "harness", "workdir", "title", "metadata")}
    return gateway.post("/sessions", {**body, "main": True if given.main else None})


def _list_sessions(invocation: Invocation, gateway: Gateway) -> Mapping[str, Json]:
    return gateway.get("/sessions", {name: getattr(invocation.arguments, name) for name in _SESSION_QUERY})


_SESSION_QUERY = ("limit", "cursor", "status", "agent")


def _show_session(invocation: Invocation, gateway: Gateway) -> Mapping[str, Json]:
    return gateway.get(f"/sessions/{_quoted(_session_id(invocation))}")


def _close_session(invocation: Invocation, gateway: Gateway) -> Mapping[str, Json]:
    return gateway.delete(f"/sessions/{_quoted(_session_id(invocation))}")


_OF_A_CHANNEL: Mapping[str, str] = {"--agent": "agent", "--channel-id": "channel_id", "--metadata": "metadata"}


def _send_message(invocation: Invocation, gateway: Gateway) -> Mapping[str, Json]:
    given = invocation.arguments
    text = given.words if given.text is None else given.text
    if text is None:
        raise UsageError("there is no message: give TEXT, --text TEXT, or - for standard input")
    if given.channel is not None and given.session_id is not None:
        raise UsageError("--channel and --session-id both say where it goes; leave one of them out")
    alone = [
        flag for flag, value in _OF_A_CHANNEL.items() if given.channel is None and getattr(given, value) is not None
    ]
    if alone:
        raise UsageError(f"{alone[0]} is for --channel, which is missing")
    text = sys.stdin.read() if text == "-" else text
    if given.channel is not None:
        said = {"content": text, "agent": given.agent, "channel_id": given.channel_id, "metadata": given.metadata}
        return gateway.post(f"/channels/{_quoted(given.channel)}/messages", {**said, "id": given.idempotency_key})
    path = f"/sessions/{_quoted(_needed(invocation, 'session_id', 'channel'))}/messages"
    return gateway.post(path, {"text": text, "role": given.role}, key=given.idempotency_key)


def _get_run(invocation: Invocation, gateway: Gateway) -> Mapping[str, Json]:
    return gateway.get(_run_path(invocation))


def _list_runs(invocation: Invocation, gateway: Gateway) -> Mapping[str, Json]:
    query = {name: getattr(invocation.arguments, name) for name in ("session_id", "status", "limit", "cursor")}
    return gateway.get("/runs", query)


def _wait_run(invocation: Invocation, gateway: Gateway) -> Mapping[str, Json]:
    left: int | None = invocation.arguments.timeout_s
    path = f"/runs/{_quoted(_needed(invocation, 'run_id', *_ID_OF.get(invocation.arguments.command, ())))}/wait"
    while True:
        step = _WAIT_STEP if left is None else min(_WAIT_STEP, left)
        document = gateway.get(path, {"timeout_s": step})
        left = None if left is None else left - step
        if document.get("timed_out") is not True or left == 0:
            return document


_ID_OF: Mapping[str, tuple[str, ...]] = {"run": ("id",)}
"""Commands whose id may be given as a word."""


def _cancel_run(invocation: Invocation, gateway: Gateway) -> Mapping[str, Json]:
    return gateway.post(_run_path(invocation, "/cancel"), {})


def _answer_run(invocation: Invocation, gateway: Gateway) -> Mapping[str, Json]:
    body = {
        "request_id": _needed(invocation, "request_id"),
        "decision": _needed(invocation, "decision"),
        "text": invocation.arguments.text,
    }
    return gateway.post(_run_path(invocation, "/answer"), body)


def _diagnose_run(invocation: Invocation, gateway: Gateway) -> Mapping[str, Json]:
    return gateway.get(_run_path(invocation, "/diagnose"))


def _transition_run(invocation: Invocation, gateway: Gateway) -> Mapping[str, Json]:
    body = {"to_status": _needed(invocation, "to_status"), "reason": invocation.arguments.reason}
    return gateway.post(_run_path(invocation, "/transition"), body)


def _run_path(invocation: Invocation, below: str = "") -> str:
    return f"/runs/{_quoted(_run_id(invocation))}{below}"


def _spawn(invocation: Invocation, gateway: Gateway) -> Mapping[str, Json]:
    given = invocation.arguments
    body = {"task": _needed(invocation, "task")}
    body |= {name: getattr(given, name) for name in ("agent", "harness", "workdir")}
    if given.parent_session_id is not None:
        path = f"/sessions/{_quoted(given.parent_session_id)}/spawn"
    else:
        path = f"/runs/{_quoted(_needed(invocation, 'parent_run_id', 'run_id'))}/spawn"
    return gateway.post(path, body, key=given.idempotency_key)


def _send_to_session(invocation: Invocation, gateway: Gateway) -> Mapping[str, Json]:
    given = invocation.arguments
    body = {"text": _needed(invocation, "text"), "from_run_id": given.from_run_id}
    path = f"/sessions/{_quoted(_needed(invocation, 'session_id'))}/send"
    return gateway.post(path, body, key=given.idempotency_key)


def _reply_parent(invocation: Invocation, gateway: Gateway) -> Mapping[str, Json]:
    body = {"text": _needed(invocation, "text"), "request_kind": _needed(invocation, "request_kind")}
    path = f"/runs/{_quoted(_needed(invocation, 'run_id'))}/reply-parent"
    return gateway.post(path, body, key=invocation.arguments.idempotency_key)


def _daemon_status(_: Invocation, gateway: Gateway) -> Mapping[str, Json]:
    return gateway.get("/daemon/status")


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


_SESSION = {"create": _create_session, "list": _list_sessions, "show": _show_session, "close": _close_session}
_MESSAGE = {"send": _send_message}
_RUN = {
    "get": _get_run,
    "list": _list_runs,
    "wait": _wait_run,
    "cancel": _cancel_run,
    "answer": _answer_run,
    "diagnose": _diagnose_run,
    "transition": _transition_run,
}
_TOOL = {
    "session-spawn": _spawn,
    "session-send": _send_to_session,
    "session-wait": _wait_run,
    "session-reply-parent": _reply_parent,
}
_DAEMON = {"status": _daemon_status}
