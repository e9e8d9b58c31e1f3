"""Replies to what OpenCode asks."""

from __future__ import annotations

from agentd.turns.adapter import Answer, TurnsError
from agentd.turns.conversation import Request
from agentd.turns.events import Decision
from agentd.turns.opencode.server import Server


async def reply(server: Server, request: Request, answer: Answer) -> None:
    """Reply to a permission or a question.

    Raises
    ------
    TurnsError
        If the answer does not fit, or the server does not take it.
    """
    if request.question:
        if answer.decision is Decision.DENY:
            await server.post(f"/question/{request.id}/reject", {})
        elif answer.decision is Decision.ANSWER:
            await server.post(f"/question/{request.id}/reply", {"answers": [[answer.text]]})
        else:
            raise TurnsError("expected an answer in words, or deny; the agent asks a question")
    elif answer.decision is Decision.ANSWER:
        raise TurnsError("expected allow or deny; the agent asks for permission")
    else:
        said = {"reply": "once" if answer.decision is Decision.ALLOW else "reject"}
        if answer.decision is Decision.DENY and answer.text:
            # It is told why, and goes on; without a word its turn is over.
            said["message"] = answer.text
        await server.post(f"/permission/{request.id}/reply", said)
