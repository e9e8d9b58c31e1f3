"""What those who talk to agents are shown of a conversation."""

from __future__ import annotations

from dataclasses import asdict

from agentd.turns.approvals.matching import Verdict
from agentd.turns.conversation import Request, Turn
from agentd.turns.run_watch import RunWatch

JsonObject = dict[str, object]


def conversation_view(watch: RunWatch, waiting: int) -> JsonObject:
    """Show a conversation, whole.

    Parameters
    ----------
    waiting
        Messages to the agent whose turns have not ended.
    """
    conversation, current = watch.conversation, watch.current
    return {
        "agent": watch.agent,
        "conversation": watch.session,
        "activity": None if current is None else current.doing.activity.value,
        "activity_source": None if current is None else current.doing.source,
        "activity_text": None if current is None else current.doing.text,
        "granularity": watch.granularity.value,
        "turn": None if conversation.turn is None else _turn(conversation.turn),
        "last": None if conversation.last is None else _turn(conversation.last),
        "requests": [_request(each) for each in conversation.requests],
        "usage": conversation.usage.view(),
        "waiting": waiting,
    }


def verdict_view(agent: str, verdict: Verdict) -> JsonObject:
    """Show what the rules say, and why."""
    rules: list[JsonObject] = [
        {
            "name": each.rule.name,
            "decision": each.rule.action.value,
            "match": each.match.name.lower(),
            "why": each.why,
        }
        for each in verdict.considered
    ]
    return {
        "agent": agent,
        "decision": None if verdict.action is None else verdict.action.value,
        "rule": None if verdict.rule is None else verdict.rule.name,
        "why": verdict.why,
        "rules": rules,
    }


def _turn(turn: Turn) -> JsonObject:
    end = turn.end
    return {
        "id": turn.id,
        "prompt": turn.prompt,
        "started": turn.started,
        "ended": turn.ended,
        "text": turn.text if end is None else end.final_text,
        "outcome": None if end is None else end.outcome.value,
        "failure": None if end is None or end.failure is None else end.failure.value,
        "error": None if end is None else end.error,
        "tools": [asdict(tool) for tool in turn.tools],
        "usage": turn.usage.view(),
    }


def _request(request: Request) -> JsonObject:
    return asdict(request)
