"""``agentctl ask``, ``agentctl answer`` and ``agentctl last``."""

from __future__ import annotations

import sys
import time

from agentd.cli.agentctl.client import ApiError, Json, UnreachableError
from agentd.cli.agentctl.command import CommandError, Commands, Invocation, Status, UsageError, add_name, add_timeout
from agentd.cli.agentctl.kept_events import data_of, kept_events
from agentd.cli.agentctl.lookup import find_agent
from agentd.cli.agentctl.turns_client import ConversationView, TurnsClient, TurnView
from agentd.model.states import AgentState
from agentd.model.status import AgentStatus
from agentd.text.quoting import printable

_ASK_DETAILS = """\
Sends TEXT once it is the agent's turn to listen, waits for the end of the turn, and prints the answer as the agent's
program recorded it. What the agent asks meanwhile is printed on stderr; agentctl answer decides it. Exit status 1 if
the turn failed, was interrupted or lost. Works with agents whose program tells of its turns; one that has just been
started is given a minute to begin to."""

_ASK_EXAMPLES = """\
agentctl ask reviewer-0 "which tests fail?"
agentctl ask reviewer-0 --stream "explain the last commit"
agentctl ask reviewer-0 --json "how many files?" | jq .usage
agentctl ask reviewer-0 --timeout 5m - <question.md"""

_ANSWER_DETAILS = """\
Answers what the agent asks: allow or deny a permission, or TEXT for a question. The first answer counts, also that of
somebody at the agent's terminal; agentctl status shows what it asks. allow, deny and TEXT are never taken from the
agent itself."""

_ANSWER_EXAMPLES = """\
agentctl answer reviewer-0 allow
agentctl answer reviewer-0 deny
agentctl answer reviewer-0 "Blue"
agentctl answer reviewer-0 allow --request toolu_01"""

_LAST_DETAILS = """\
Prints the answer of the agent's last turn that ended, whole while the agent runs; of a run that has ended the first
4000 characters, from the events."""

_LAST_EXAMPLES = """\
agentctl last reviewer-0
agentctl last reviewer-0 --json | jq -r .outcome"""

_DECISIONS = ("allow", "deny")


def register(commands: Commands) -> None:
    """Add the commands."""
    ask = commands.add("ask", _ask, details=_ASK_DETAILS, examples=_ASK_EXAMPLES)
    add_name(ask)
    ask.add_argument("text", metavar="TEXT", nargs="?", help="the message; - or none: standard input")
    ask.add_argument("--stream", action="store_true", help="print the answer while it is written")
    add_timeout(ask, "time limit, such as 5m")
    answer = commands.add("answer", _answer, details=_ANSWER_DETAILS, examples=_ANSWER_EXAMPLES)
    add_name(answer)
    answer.add_argument("text", metavar="allow|deny|TEXT", help="the answer")
    answer.add_argument("--request", metavar="ID", help="which of several requests")
    add_name(commands.add("last", _last, details=_LAST_DETAILS, examples=_LAST_EXAMPLES))


def _ask(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.asking import Question, ready
    from agentd.text.messages import MessageError, message_of

    arguments = invocation.arguments
    if arguments.stream and invocation.as_json:
        raise UsageError("--stream prints text, and --json one document; leave one of them out")
    try:
        message = message_of(_text(arguments.text))
    except MessageError as error:
        raise CommandError(str(error)) from None
    deadline = None if arguments.timeout is None else time.monotonic() + arguments.timeout
    agent = ready(invocation, invocation.name(), deadline)
    if message.note is not None:
        invocation.warn(message.note)

    def said(text: str) -> None:
        if arguments.stream:
            print(_harmless(text), end="", flush=True)

    question = Question(
        invocation,
        agent,
        message.text,
        deadline,
        said,
        lambda text: invocation.warn(f"{agent.name} asks: {printable(text)}: agentctl answer {agent.name} allow|deny"),
    )
    turn = question.ask()
    if arguments.stream:
        print()
    elif not invocation.as_json:
        print(_harmless(turn.text))
    else:
        invocation.print_document(_document(agent.name, turn))
    return _status(invocation, agent.name, turn)


def _status(invocation: Invocation, name: str, turn: TurnView) -> Status:
    if turn.outcome == "completed":
        return Status.DONE
    invocation.warn(f"the turn of {name} was {turn.outcome}{f': {printable(turn.error)}' if turn.error else ''}")
    return Status.FAILED


def _text(text: str | None) -> str:
    if text is not None and text != "-":
        return text
    if sys.stdin.isatty():
        raise UsageError("there is no message: give TEXT, or standard input")
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise CommandError(f"standard input: expected UTF-8, byte {error.start + 1} is not; convert it") from None


def _harmless(text: str) -> str:
    from agentd.text.terminal import harmless

    return "\n".join(map(harmless, text.split("\n")))


def _document(name: str, turn: TurnView) -> Json:
    return {
        "name": name,
        "turn": turn.id,
        "outcome": turn.outcome,
        "text": turn.text,
        "error": turn.error,
        "usage": dict(turn.usage) or None,
    }


def _answer(invocation: Invocation) -> Status:
    agent = find_agent(invocation.api, invocation.name())
    text = str(invocation.arguments.text)
    decision = text if text in _DECISIONS else "answer"
    try:
        view = TurnsClient.of(invocation).answer(
            agent.name, decision, "" if text in _DECISIONS else text, invocation.arguments.request
        )
    except ApiError as error:
        raise CommandError(str(error), _why_not(invocation, agent, error), f"agentctl status {agent.name}") from None
    document: Json = {"name": agent.name, "decision": decision, "requests": len(view.requests)}
    done = {"allow": "allowed", "deny": "denied"}.get(decision, "answered")
    invocation.print_result(document, [f"{printable(agent.name)}: {done}"])
    return Status.DONE


def _why_not(invocation: Invocation, agent: AgentStatus, error: ApiError) -> str:
    """Say what kind of refusal it is to answer an agent."""
    if agent.state != AgentState.RUNNING:
        return "not_running"
    try:
        now = TurnsClient.of(invocation).conversation(agent.name)
    except (ApiError, UnreachableError):
        return error.code
    return "nothing_asked" if now is not None and now.watched and not now.requests else error.code


def _last(invocation: Invocation) -> Status:
    agent = find_agent(invocation.api, invocation.name())
    turn = _live_turn(invocation, agent) or _kept_turn(invocation, agent)
    if turn is None:
        raise CommandError(f"no turn of {agent.name} has ended that is known of: see agentctl logs {agent.name}")
    if invocation.as_json:
        invocation.print_document(_document(agent.name, turn))
    else:
        print(_harmless(turn.text))
    return _status(invocation, agent.name, turn)


def _live_turn(invocation: Invocation, agent: AgentStatus) -> TurnView | None:
    try:
        now: ConversationView | None = TurnsClient.of(invocation).conversation(agent.name)
    except (ApiError, UnreachableError):
        return None
    return None if now is None else now.last


def _kept_turn(invocation: Invocation, agent: AgentStatus) -> TurnView | None:
    events = kept_events(invocation.api, ["turn_ended"], agent.name, tail=1)
    if not events:
        return None
    data = data_of(events[-1])
    text, outcome, reason = data.get("text"), data.get("outcome"), events[-1].get("reason")
    return TurnView(
        str(data.get("turn") or ""),
        None,
        text if isinstance(text, str) else "",
        outcome if isinstance(outcome, str) else None,
        reason if isinstance(reason, str) else None,
        {},
    )
