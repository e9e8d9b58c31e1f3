"""Hand a message to an agent, and know that it has it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from agentd.cli.agentctl.client import ApiError, UnreachableError
from agentd.cli.agentctl.command import Invocation
from agentd.cli.agentctl.lookup import find_agent, harness_facts
from agentd.cli.agentctl.queued import NoQueueError, QueuedMessage, Receipt, has_queue
from agentd.cli.agentctl.sender import Sender
from agentd.cli.agentctl.terminals import terminal_of
from agentd.cli.agentctl.turns_client import ConversationView, TurnsClient
from agentd.model.spec import SandboxKind
from agentd.model.status import AgentStatus
from agentd.turns.sending import GoneError, Outcome

_LOOK_AFTER: Final = 0.05
"""Seconds between two looks at the record."""

_RECORD_LIMIT: Final = 3.0
"""Seconds for a message that was taken to stand in the record; it takes 0.1 s, or the end of the turn before."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a text."""

    outcome: Outcome
    message: str | None = None
    """Its id in the agent's queue; ``None`` of one that was typed."""


def keep_message(invocation: Invocation, agent: AgentStatus, text: str, receipt: Receipt) -> Sent:
    """Leave a message with agentd, for an agent that need not run now.

    Raises
    ------
    CommandError
        If agentd does not keep it.
    """
    queued = QueuedMessage.send(invocation, agent.name, text, receipt)
    status = queued.look().status
    return Sent(Outcome.RECORDED if status in ("started", "ended") else Outcome.QUEUED, queued.id)


def send_message(
    invocation: Invocation,
    agent: AgentStatus,
    text: str,
    *,
    enter: bool,
    force: bool,
    timeout: float,
    receipt: Receipt,
) -> Sent:
    """Send a message by the agent's queue, or by typing it, and look for it in the record of the agent's program.

    Parameters
    ----------
    enter
        Whether to press Enter behind it.
    force
        Whether to send it even if the input box is not seen.
    timeout
        Seconds to wait for the input box, and again for the agent to take it.
    receipt
        What needs a queue, if it says anything.

    Raises
    ------
    CommandError
        If it was not sent, or not taken.
    """

    def still_running() -> None:
        now = find_agent(invocation.api, agent.name)
        if (now.state, now.pid, now.pane_pid) != (agent.state, agent.pid, agent.pane_pid):
            raise GoneError(
                f"{agent.name} ended or was restarted meanwhile, it is {now.state}: nothing was entered; send it again"
            )

    facts = harness_facts(agent.harness)
    sender = Sender(
        terminal=terminal_of(invocation, agent),
        empty_box=None if force else facts.empty_box,
        unfinished=facts.unfinished,
        timeout=timeout,
        # In gVisor's sandbox a kernel of its own does all reading.
        pid=None if agent.sandbox is not None and agent.sandbox.kind is SandboxKind.GVISOR else agent.pid,
        still_running=still_running,
    )
    before = conversation_of(invocation, agent.name)
    if enter and not force and (receipt.given or has_queue(before, text)):
        try:
            queued = QueuedMessage.send(invocation, agent.name, text, receipt)
        except NoQueueError:
            if receipt.given:
                raise
        else:
            return Sent(queued.until_taken(timeout), queued.id)
    outcome = sender.send(text, enter=enter)
    if outcome is Outcome.TAKEN and before is not None and before.watched and before.turn is None:
        recorded = _becomes_recorded(invocation, agent.name, before, text, min(timeout, _RECORD_LIMIT))
        return Sent(Outcome.RECORDED if recorded else outcome)
    return Sent(outcome)


def _becomes_recorded(invocation: Invocation, agent: str, before: ConversationView, text: str, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if is_recorded(conversation_of(invocation, agent), before, text):
            return True
        time.sleep(_LOOK_AFTER)  # noqa: TID251 (a person waits, and the record is asked for)
    return False


def conversation_of(invocation: Invocation, agent: str) -> ConversationView | None:
    """Read a conversation; ``None`` where the daemon knows of none."""
    try:
        return TurnsClient.of(invocation).conversation(agent)
    except (ApiError, UnreachableError):
        return None


def is_recorded(now: ConversationView | None, before: ConversationView, text: str) -> bool:
    """Whether a turn began with this message since."""
    if now is None:
        return False
    known = {turn.id for turn in (before.turn, before.last) if turn is not None}
    new = (turn for turn in (now.turn, now.last) if turn is not None and turn.id not in known)
    return any(turn.prompt is None or turn.prompt.strip() == text.strip() for turn in new)
