"""``agentctl send``, ``agentctl keys`` and ``agentctl interrupt``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from agentd.cli.agentctl.command import (
    CommandError,
    Commands,
    Invocation,
    Status,
    UsageError,
    add_fleet,
    add_name,
    add_timeout,
    duration_argument,
    not_empty,
)
from agentd.cli.agentctl.lookup import find_agent, harness_facts
from agentd.files.regular import without_mark
from agentd.model.states import AgentState
from agentd.model.status import AgentStatus

if TYPE_CHECKING:
    from agentd.cli.agentctl.terminals import Terminal
    from agentd.text.messages import Message

_SEND_DETAILS = """\
Sends TEXT, a file, or else standard input, by agentd where it sees the agent at its turns; else pastes it into the
agent's terminal in one piece and presses Enter. Control characters other than line breaks and tabs are left out, with a
warning. Exit status 0 means that the agent took the message: it stands in the record of its program (recorded); or its
input box, empty before, is empty again; any other program has read its input. While the agent is at work, agentd keeps
the message and delivers it after that (queued). If none of that happens in time, the exit status is 1, and the error
says what became of the message.
The agent must be running; with --expires it need only be declared: agentd keeps the message for it, and agentctl
mailbox says what became of it. With --fleet a message is delivered by the agentd of the agent's host, or not at all:
nothing is typed over the network. With --id a message that is sent again is the same message, and is delivered once.
Concurrent sends to an agent take turns."""

_SEND_EXAMPLES = """\
agentctl send reviewer-0 "look at the failing test first"
git diff | agentctl send reviewer-0
agentctl send reviewer-0 --file notes.md
agentctl send reviewer-0 --id nightly-7 --expires 8h "merge what is green"
agentctl send reviewer-0 --no-enter "a draft to finish by hand"
agentctl send reviewer-0 -- "- a message that begins with a dash\""""

_KEYS_DETAILS = """\
Keys have tmux's names: one character, or Enter, Escape, Tab, BTab, Space, BSpace, Up, Down, Left, Right, Home, End,
PageUp, PageDown, Insert, Delete, F1 to F12, KP0 to KP9, KPEnter, optionally prefixed with C- (control), M- (alt) or S-
(shift). Exit status 0 means that the keys were pressed; agentctl screen shows the effect."""

_KEYS_EXAMPLES = """\
agentctl keys reviewer-0 Down Enter
agentctl keys reviewer-0 y Enter
agentctl keys reviewer-0 C-l"""

_INTERRUPT_DETAILS = """\
Interrupts by the agent's program itself where that can be asked. Else presses the keys that do: Escape in Claude Code,
Codex and Gemini CLI, Escape twice in OpenCode, and C-c in others, which ends most of them. An agent of which it is
known that no turn is under way is left alone. Exit status 0 means that the program was asked, the keys were pressed, or
there was nothing to interrupt, which is said."""

_INTERRUPT_EXAMPLES = """\
agentctl interrupt reviewer-0
agentctl interrupt reviewer-0 && agentctl send reviewer-0 "stop there; do this instead: ..." """

_TIMEOUT = 10.0
_LOCK_LIMIT = 10.0
_INTERRUPT_LOCK_LIMIT = 1.0
"""Seconds; an interrupt does not wait long for a message that is not taken."""


def register(commands: Commands) -> None:
    """Add the commands."""
    send = commands.add("send", _send, details=_SEND_DETAILS, examples=_SEND_EXAMPLES)
    add_name(send)
    send.add_argument("text", metavar="TEXT", nargs="?", help="the message; - or none: standard input")
    send.add_argument("--file", metavar="FILE", help="send the content of a file")
    send.add_argument("--no-enter", action="store_true", help="paste it without pressing Enter")
    send.add_argument("--force", action="store_true", help="send even if the agent's input box is not seen")
    send.add_argument("--id", metavar="ID", type=not_empty, help="its id: sent again with it, it is the same message")
    send.add_argument(
        "--expires",
        metavar="DURATION",
        type=duration_argument,
        help="leave it to agentd for this long at most, also while the agent does not run",
    )
    add_timeout(send, "how long to wait for the input box, and again for the agent to take it", _TIMEOUT)
    add_fleet(send)
    keys = commands.add("keys", _keys, details=_KEYS_DETAILS, examples=_KEYS_EXAMPLES)
    add_name(keys)
    keys.add_argument("keys", metavar="KEY", nargs="+", help="name of a key")
    add_name(commands.add("interrupt", _interrupt, details=_INTERRUPT_DETAILS, examples=_INTERRUPT_EXAMPLES))


def _send(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.queued import Receipt
    from agentd.cli.agentctl.talking import keep_message, send_message

    arguments = invocation.arguments
    receipt = Receipt(arguments.id, arguments.expires)
    if (receipt.given or invocation.fleet) and (arguments.no_enter or arguments.force):
        given = "--fleet is" if invocation.fleet else "--id and --expires are"
        raise UsageError(f"{given} for messages that agentd delivers, not for --no-enter and --force")
    message = _message(arguments)
    agent = find_agent(invocation.api, invocation.name())
    if invocation.fleet:
        from agentd.cli.agentctl.fleet.sending import send_in_fleet

        if arguments.expires is None:
            agent = _running(invocation, AgentState.RUNNING)
        sent = send_in_fleet(invocation, agent, message.text, receipt, arguments.timeout)
    elif arguments.expires is not None:
        sent = keep_message(invocation, agent, message.text, receipt)
    else:
        sent = send_message(
            invocation,
            _running(invocation, AgentState.RUNNING),
            message.text,
            enter=not arguments.no_enter,
            force=arguments.force,
            timeout=arguments.timeout,
            receipt=receipt,
        )
    if message.note is not None:
        invocation.warn(message.note)
    document = {
        "name": agent.name,
        "session": agent.session,
        "outcome": str(sent.outcome),
        "message": sent.message,
        "characters": len(message.text),
        "left_out": len(message.left_out),
    }
    invocation.print_result(document, [f"{len(message.text)} characters to {agent.name}: {sent.outcome}"])
    return Status.DONE


def _message(arguments: argparse.Namespace) -> Message:
    from agentd.text.messages import MessageError, message_of

    text, file = arguments.text, arguments.file
    if file is not None and text is not None:
        raise UsageError("--file and TEXT are two messages; leave one of them out")
    try:
        return message_of(_read(text, file))
    except MessageError as error:
        raise CommandError(str(error)) from None
    except UnicodeDecodeError as error:
        where = file or "standard input"
        raise CommandError(f"{where}: expected UTF-8, byte {error.start + 1} is not; convert it") from None


def _read(text: str | None, file: str | None) -> str:
    if file is not None and file != "-":
        try:
            return without_mark(Path(file).read_bytes()).decode()
        except OSError as error:
            raise CommandError(f"{file}: cannot be read: {error.strerror}; name another file") from None
    if text is not None and text != "-":
        return text
    if sys.stdin.isatty():
        raise UsageError("there is no message: give TEXT, --file, or standard input")
    return without_mark(sys.stdin.buffer.read()).decode()


def _running(invocation: Invocation, *states: AgentState) -> AgentStatus:
    agent = find_agent(invocation.api, invocation.name())
    if agent.state in states:
        return agent
    reason = f" ({agent.error})" if agent.error else ""
    wait, look = f"agentctl wait {agent.name} --for running", f"agentctl status {agent.name}"
    will_run = agent.state in (AgentState.PENDING, AgentState.QUEUED, AgentState.STARTING, AgentState.BACKOFF)
    example, hint = (wait, f"try again after {wait}") if will_run else (look, f"{look} says why")
    raise CommandError(f"{agent.name} is not running, it is {agent.state}{reason}: {hint}", "not_running", example)


def _keys(invocation: Invocation) -> Status:
    from agentd.tmux.key_names import KeyNameError, key_name

    try:
        keys = [key_name(text) for text in invocation.arguments.keys]
    except KeyNameError as error:
        raise UsageError(str(error)) from None
    agent = _running(invocation, AgentState.RUNNING, AgentState.STOPPING)
    _require_keys_allowed(invocation, agent)
    _press(invocation, agent, [(key, 0.0) for key in keys])
    return Status.DONE


def _require_keys_allowed(invocation: Invocation, agent: AgentStatus) -> None:
    from agentd.model.pool import OWNER

    if agent.owner != OWNER:
        return
    from agentd.cli.agentctl.pooled import run_pool
    from agentd.pool.talking import require_keys_allowed

    run_pool(invocation, lambda pool: require_keys_allowed(pool, agent.name))


def _interrupt(invocation: Invocation) -> Status:
    agent = _running(invocation, AgentState.RUNNING, AgentState.STOPPING)
    if _interrupt_by_program(invocation, agent):
        return Status.DONE
    keys = harness_facts(agent.harness).interrupt_keys
    _press(invocation, agent, [(key.key, key.after) for key in keys], urgent=True)
    return Status.DONE


def _interrupt_by_program(invocation: Invocation, agent: AgentStatus) -> bool:
    from agentd.cli.agentctl.client import ApiError, UnreachableError
    from agentd.cli.agentctl.turns_client import TurnsClient

    try:
        interrupted = TurnsClient.of(invocation).interrupt(agent.name)
    except (ApiError, UnreachableError):
        return False
    document = {"name": agent.name, "session": agent.session, "keys": [], "interrupted": interrupted}
    said = "interrupted" if interrupted else "no turn is under way, nothing was interrupted"
    invocation.print_result(document, [f"{agent.name}: {said}"])
    return True


def _press(invocation: Invocation, agent: AgentStatus, keys: list[tuple[str, float]], *, urgent: bool = False) -> None:
    """Press each key, its number of seconds after the first."""
    import contextlib

    from agentd.cli.agentctl.agent_input import BusyError, only_sender, open_input
    from agentd.cli.agentctl.terminals import terminal_of

    terminal = terminal_of(invocation, agent)
    with contextlib.ExitStack() as stack:
        own = stack.enter_context(open_input(str(terminal.pane.pane_tty)))
        try:
            stack.enter_context(
                only_sender(terminal.server.socket, own, _INTERRUPT_LOCK_LIMIT if urgent else _LOCK_LIMIT)
            )
        except BusyError:
            if not urgent:
                raise
            invocation.warn("another agentctl is sending to this agent; interrupting all the same")
        _press_in(terminal, keys)
    pressed = [key for key, _ in keys]
    document = {"name": agent.name, "session": agent.session, "keys": pressed}
    invocation.print_result(document, [f"{agent.name}: pressed {' '.join(pressed)}"])


def _press_in(terminal: Terminal, keys: list[tuple[str, float]]) -> None:
    from agentd.cli.agentctl.terminals import LEAVE_COPY_MODE

    began = time.monotonic()
    for key, after in keys:
        pause = began + after - time.monotonic()
        if after and pause > 0:
            time.sleep(pause)  # noqa: TID251 (a program needs time between two keys)
        terminal.type(LEAVE_COPY_MODE, ("send-keys", "--", key))
