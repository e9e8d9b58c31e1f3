"""From what Claude Code's hooks say to events of a turn. Pure.

Everything is read defensively: a field that is missing or of another type is as if it were empty, and a hook that is
not known says nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from agentd.model.states import Activity
from agentd.turns.adapter import Answer, Hook, TurnsError
from agentd.turns.conversation import Conversation
from agentd.turns.events import (
    Decision,
    Ended,
    Failure,
    Outcome,
    PermissionAsked,
    QuestionAsked,
    Started,
    Text,
    TextDelta,
    ToolCompleted,
    ToolStarted,
    TurnEvent,
)
from agentd.turns.fields import mapping, objects, text

ASK = "AskUserQuestion"
"""The tool by which Claude Code asks the user something."""

FAILURES = {"rate_limit": Failure.USAGE_LIMIT, "authentication_failed": Failure.AUTH_ERROR}
"""By Claude Code's name for what went wrong."""

_SHOWN_OF_INPUT = ("command", "file_path", "path", "url", "pattern", "query", "prompt", "description")
"""What of a tool's input tells a person most, best first."""

_ACTIVITY = {
    "UserPromptSubmit": Activity.WORKING,
    "Stop": Activity.IDLE,
    "StopFailure": Activity.IDLE,
}
"""What the agent does once a hook was run; others come late, or say nothing of it."""


def activity_of(hook: Hook) -> Activity | None:
    """What the agent does from this hook on; ``None`` if it says nothing of that."""
    if hook.name == "PermissionRequest":
        asks = hook.body is not None and text(hook.body, "tool_name") == ASK
        return Activity.WAITING_INPUT if asks else Activity.WAITING_PERMISSION
    if hook.name == "SessionStart":
        # Another source is a conversation that is being compacted, perhaps in the middle of a turn.
        known = hook.body is not None and text(hook.body, "source") in ("startup", "resume", "clear")
        return Activity.IDLE if known else None
    return _ACTIVITY.get(hook.name)


def events_of(hook: Hook, conversation: Conversation, request: str) -> Iterator[TurnEvent]:
    """What a hook says happened.

    Parameters
    ----------
    conversation
        As it was before.
    request
        Id for the request that a hook may make.
    """
    body = hook.body
    if body is None:
        return
    prompt = text(body, "prompt_id")
    if hook.name not in _IN_TURN or (prompt and _is_over(conversation, prompt)):
        return
    if prompt and (conversation.turn is None or conversation.turn.id != prompt):
        said = body.get("prompt")
        yield Started(prompt, said if hook.name == "UserPromptSubmit" and isinstance(said, str) else None)
    for event in _IN_TURN[hook.name](body, request):
        if isinstance(event, PermissionAsked | QuestionAsked):
            yield replace(event, tool=_tool_of(body, conversation))
        else:
            yield event
    if hook.name == "MessageDisplay" and body.get("final") is True:
        turn = conversation.turn
        before = turn.text if turn is not None and turn.id == prompt and not turn.whole else ""
        yield Text(before + text(body, "delta"))


def _is_over(conversation: Conversation, prompt: str) -> bool:
    return conversation.turn is None and conversation.last is not None and conversation.last.id == prompt


def _tool_of(body: Mapping[str, object], conversation: Conversation) -> str | None:
    """The use of a tool that permission is asked for, which that hook does not name."""
    name, shown = text(body, "tool_name"), summary(mapping(body, "tool_input"))
    tools = () if conversation.turn is None else conversation.turn.tools
    return next((tool.tool for tool in reversed(tools) if (tool.name, tool.text) == (name, shown)), None)


def _nothing(_body: Mapping[str, object], _request: str) -> Iterator[TurnEvent]:
    return iter(())


def _display(body: Mapping[str, object], _request: str) -> Iterator[TurnEvent]:
    yield TextDelta(text(body, "delta"))


def _tool(body: Mapping[str, object], _request: str) -> Iterator[TurnEvent]:
    tool = text(body, "tool_use_id")
    if tool:
        yield ToolStarted(tool, text(body, "tool_name"), summary(mapping(body, "tool_input")))


def _ran(body: Mapping[str, object], _request: str) -> Iterator[TurnEvent]:
    tool = text(body, "tool_use_id")
    if tool:
        yield ToolCompleted(tool)


def _failed(body: Mapping[str, object], _request: str) -> Iterator[TurnEvent]:
    tool = text(body, "tool_use_id")
    if tool:
        yield ToolCompleted(tool, ok=False)


def _asked(body: Mapping[str, object], request: str) -> Iterator[TurnEvent]:
    name, given = text(body, "tool_name"), mapping(body, "tool_input")
    if name == ASK:
        asked = questions(given)
        choices = [text(each, "label") for each in objects(asked[0], "options")] if len(asked) == 1 else []
        yield QuestionAsked(request, question_of(given), tuple(filter(None, choices)))
    else:
        yield PermissionAsked(request, name, summary(given), arguments=given)


def _stopped(body: Mapping[str, object], _request: str) -> Iterator[TurnEvent]:
    answer = body.get("last_assistant_message")
    yield Ended(Outcome.COMPLETED, answer if isinstance(answer, str) else None)


def _stopped_failing(body: Mapping[str, object], _request: str) -> Iterator[TurnEvent]:
    failure = FAILURES.get(text(body, "error"), Failure.OTHER)
    said = text(body, "last_assistant_message") or text(body, "error")
    yield Ended(Outcome.FAILED, None, failure, said or None)


_IN_TURN = {
    "UserPromptSubmit": _nothing,
    "MessageDisplay": _display,
    "PreToolUse": _tool,
    "PostToolUse": _ran,
    "PostToolUseFailure": _failed,
    "PermissionRequest": _asked,
    "Stop": _stopped,
    "StopFailure": _stopped_failing,
}
"""What is said by the hooks of a turn."""


def question_of(given: Mapping[str, object]) -> str:
    """What the input of `ASK` asks."""
    return " ".join(text(each, "question") for each in questions(given))


def questions(given: Mapping[str, object]) -> Sequence[Mapping[str, object]]:
    """The questions in the input of `ASK`; at least one, if only an empty one."""
    return objects(given, "questions") or ({},)


def summary(given: Mapping[str, object]) -> str:
    """What a tool is about to do, as a person would say it in one line."""
    for name in _SHOWN_OF_INPUT:
        value = given.get(name)
        if isinstance(value, str) and value.strip():
            return value
    return json.dumps(given)[:500] if given else ""


def reply(body: Mapping[str, object], answer: Answer) -> bytes:
    """What a held ``PermissionRequest`` hook prints for an answer.

    Raises
    ------
    TurnsError
        If the answer does not fit what was asked.
    """
    asks = text(body, "tool_name") == ASK
    decision: dict[str, object]
    if answer.decision is Decision.DENY:
        decision = {"behavior": "deny", **({"message": answer.text} if answer.text else {})}
    elif not asks and answer.decision is Decision.ALLOW:
        decision = {"behavior": "allow"}
    elif asks and answer.decision is Decision.ANSWER:
        given = mapping(body, "tool_input")
        decision = {"behavior": "allow", "updatedInput": {**given, "answers": _answers(given, answer.text)}}
    else:
        expected = "an answer in words, or deny" if asks else "allow or deny"
        raise TurnsError(f"expected {expected}; the agent asks {'a question' if asks else 'for permission'}")
    hook = {"hookEventName": "PermissionRequest", "decision": decision}
    return json.dumps({"hookSpecificOutput": hook}).encode()


def _answers(given: Mapping[str, object], said: str) -> dict[str, str]:
    """Answer each question: the only one with the whole text, several with a line each."""
    asked = [text(each, "question") for each in questions(given)]
    if len(asked) == 1:
        return {asked[0]: said}
    lines = said.splitlines()
    if len(lines) != len(asked):
        raise TurnsError(f"expected {len(asked)} lines, one for each question, found {len(lines)}")
    return dict(zip(asked, lines, strict=True))
