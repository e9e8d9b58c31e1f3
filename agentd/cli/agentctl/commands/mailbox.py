"""``agentctl mailbox``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final

from agentd.cli.agentctl.actors import actor_name
from agentd.cli.agentctl.client import ApiError
from agentd.cli.agentctl.command import CommandError, Commands, Invocation, Status, add_name, whole_number
from agentd.cli.agentctl.lookup import unknown_agent
from agentd.cli.agentctl.turns_client import JsonObject, TurnsClient
from agentd.text.terminal import BOLD, GREEN, RED, Cell, lines, span

_DETAILS = """\
Lists the messages that agentd keeps for agents, the newest last: how far each has come (queued, delivering, delivered,
started, ended; or failed, expired, withdrawn), for how long, who says so, who sent it, and why it waits or was not
delivered. With MESSAGE: that one, and the answer to it; exit status 1 if it was not delivered. Messages that agentctl
typed at a terminal itself are not among them.
When not on a terminal: one line per message, with fields separated by tabs: agent, id, state, seconds since it got it,
seconds since it was sent, witness, sender, reason, beginning of the text."""

_EXAMPLES = """\
agentctl mailbox
agentctl mailbox reviewer-0 --undelivered
agentctl mailbox reviewer-0 nightly-7
agentctl mailbox reviewer-0 nightly-7 --withdraw
agentctl mailbox --json | jq '.[] | select(.status == "queued")'"""

_SHOWN: Final = 20
"""Messages that are listed."""

_SHORT: Final = 50
"""Characters of a text in the table."""

_UNDELIVERED: Final = ("failed", "expired")
_HEADING: Final = ("NAME", "MESSAGE", "STATE", "FOR", "AGE", "WITNESS", "FROM", "TEXT")
_HEADING_IN_FULL: Final = (*_HEADING[:7], "REASON", "TEXT")


def register(commands: Commands) -> None:
    """Add the command."""
    mailbox = commands.add("mailbox", _mailbox, details=_DETAILS, examples=_EXAMPLES)
    add_name(mailbox, optional=True)
    mailbox.add_argument("message", metavar="MESSAGE", nargs="?", help="id of a message")
    mailbox.add_argument("--withdraw", action="store_true", help="take the message back, if it still waits")
    mailbox.add_argument("--undelivered", action="store_true", help="only those that were not delivered")
    mailbox.add_argument(
        "-n", dest="most", metavar="N", type=whole_number, default=_SHOWN, help=f"how many at most [{_SHOWN}]"
    )


def _mailbox(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.command import UsageError

    given = invocation.arguments
    client = TurnsClient.of(invocation)
    try:
        if given.message is not None:
            return _one(invocation, client, invocation.name(), str(given.message))
        if given.withdraw:
            raise UsageError("expected the id of the message: agentctl mailbox NAME MESSAGE --withdraw")
        found = list(reversed(client.messages(given.name, given.most, undelivered=given.undelivered)))
    except ApiError as error:
        raise CommandError(str(error)) from None
    if not found and given.name is not None:
        names = [agent.name for agent in invocation.api.agents()]
        if given.name.lower() not in map(str.lower, names):
            invocation.warn(str(unknown_agent(given.name, names)))
    now, table = time.time(), invocation.display.table
    rows = [_row(each, now, table=table) for each in found]
    invocation.print_result(found, lines(_HEADING if table else _HEADING_IN_FULL, rows, invocation.display))
    return Status.DONE


def _one(invocation: Invocation, client: TurnsClient, agent: str, message: str) -> Status:
    if invocation.arguments.withdraw:
        client.withdraw(agent, message)
    document = client.message_document(agent, message)
    found = document.get("message") if isinstance(document, Mapping) else None
    if not isinstance(found, Mapping):
        raise CommandError("expected a message: agentd and agentctl are of different versions")
    invocation.print_result(dict(found), _described(found, time.time()))
    return Status.FAILED if found.get("status") in _UNDELIVERED else Status.DONE


def _described(message: JsonObject, now: float) -> Sequence[str]:
    known = [
        ("message", f"{message.get('id')} to {message.get('agent')}, from {_sender(message)}"),
        ("state", f"{message.get('status')} for {span(_since(message, 'changed', now))}{_witnessed(message)}"),
        ("sent", f"{span(_since(message, 'accepted', now))} ago"),
        ("expires", _expiry(message, now)),
        ("turn", message.get("turn")),
        ("outcome", message.get("outcome")),
        ("reason", message.get("error")),
    ]
    head = [f"{name:8} {value}" for name, value in known if value is not None]
    text, answer = str(message.get("text") or ""), message.get("final_text")
    return [*head, "", *text.split("\n"), *(["", "answer:", *str(answer).split("\n")] if answer is not None else [])]


def _expiry(message: JsonObject, now: float) -> str | None:
    expires = message.get("expires")
    if not isinstance(expires, int | float) or message.get("status") != "queued":
        return None
    return f"in {span(max(0, int(expires - now)))}"


def _witnessed(message: JsonObject) -> str:
    witness = message.get("witness")
    return f", says {witness}" if witness is not None else ""


def _row(message: JsonObject, now: float, *, table: bool) -> list[Cell]:
    status = str(message.get("status"))
    style = RED if status in _UNDELIVERED else GREEN if status == "ended" else None
    reason, text = str(message.get("error") or ""), " ".join(str(message.get("text") or "").split())
    row = [
        Cell(str(message.get("agent")), BOLD),
        Cell(str(message.get("id"))),
        Cell(status) if style is None else Cell(status, style),
        _age(message, "changed", now, table=table),
        _age(message, "accepted", now, table=table),
        Cell(str(message.get("witness") or "")),
        Cell(_sender(message)),
    ]
    if not table:
        return [*row, Cell(reason), Cell(text)]
    short = text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"
    return [*row, Cell(f"{short}: {reason}" if reason else short)]


def _age(message: JsonObject, name: str, now: float, *, table: bool) -> Cell:
    seconds = _since(message, name, now)
    return Cell(span(seconds) if table else str(seconds))


def _since(message: JsonObject, name: str, now: float) -> int:
    at = message.get(name)
    return max(0, int(now - at)) if isinstance(at, int | float) else 0


def _sender(message: JsonObject) -> str:
    sender = message.get("sender")
    return actor_name(sender) if isinstance(sender, str) else "unknown"
