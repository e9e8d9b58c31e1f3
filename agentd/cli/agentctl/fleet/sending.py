"""Send a message to an agent on another host: by its queue alone, since nothing is typed over the network."""

from __future__ import annotations

from agentd.cli.agentctl.command import CommandError, Invocation
from agentd.cli.agentctl.queued import NoQueueError, QueuedMessage, Receipt, has_queue
from agentd.cli.agentctl.talking import Sent, conversation_of, keep_message
from agentd.model.states import AgentState
from agentd.model.status import AgentStatus


def send_in_fleet(invocation: Invocation, agent: AgentStatus, text: str, receipt: Receipt, timeout: float) -> Sent:
    """Put a message into the agent's queue.

    Raises
    ------
    CommandError
        If its agentd does not deliver messages to it.
    """
    if agent.state != AgentState.RUNNING:
        return keep_message(invocation, agent, text, receipt)
    if not has_queue(conversation_of(invocation, agent.name), text):
        raise CommandError(_typed_alone(agent))
    try:
        queued = QueuedMessage.send(invocation, agent.name, text, receipt)
    except NoQueueError as error:
        raise CommandError(f"{error}; {_typed_alone(agent)}") from None
    return Sent(queued.until_taken(timeout), queued.id)


def _typed_alone(agent: AgentStatus) -> str:
    return (
        f"{agent.name} takes messages at its terminal alone, and nothing is typed over the network: "
        f"agentctl attach --fleet {agent.name}"
    )
