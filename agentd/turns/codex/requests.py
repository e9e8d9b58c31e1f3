"""What Codex's app server asks of its clients, and what they may answer. Pure.

Each request goes to the terminal program, too, and the first answer counts. What is not known here is answered at the
terminal alone: an error of ours would be an answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from agentd.turns.adapter import Answer, TurnsError
from agentd.turns.events import Decision, PermissionAsked, QuestionAsked
from agentd.turns.fields import mapping, objects, text


class Method(StrEnum):
    """The requests that are answered here."""

    COMMAND = "item/commandExecution/requestApproval"
    FILES = "item/fileChange/requestApproval"
    PERMISSIONS = "item/permissions/requestApproval"
    QUESTIONS = "item/tool/requestUserInput"
    MCP = "mcpServer/elicitation/request"
    """Of a server's tool, if it says so; else the server itself asks something."""


_MCP_TOOL: Final = "mcp_tool_call"
"""How Codex marks that it asks for the tool of an MCP server."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that waits."""

    identity: object
    """The server's, as it is to come back."""
    method: str
    event: PermissionAsked | QuestionAsked
    said: Mapping[str, object] = field(repr=False)


def mcp_name(server: str, tool: str) -> str:
    """Name the tool of an MCP server as other harnesses do."""
    return f"mcp__{server}__{tool}"


def read_request(
    identity: object, method: str, said: Mapping[str, object], calls: Mapping[str, str] | None = None
) -> Asked | None:
    """Understand a request; ``None`` if it is none that we answer.

    Parameters
    ----------
    calls
        Uses of MCP servers' tools that are under way, by name: the request for one does not say which it is.
    """
    name = str(identity)
    tool, reason = text(said, "itemId") or None, text(said, "reason")
    match method:
        case Method.COMMAND:
            shown = _command(said) or reason
            line = said.get("command")
            given = None if line is None else {"command": line}
            return Asked(identity, method, PermissionAsked(name, "exec_command", shown, tool, arguments=given), said)
        case Method.FILES:
            return Asked(identity, method, PermissionAsked(name, "apply_patch", reason or "change files", tool), said)
        case Method.PERMISSIONS:
            return Asked(
                identity, method, PermissionAsked(name, "permissions", reason or "more permissions", tool), said
            )
        case Method.MCP:
            return _of_mcp(identity, said, calls or {})
        case Method.QUESTIONS:
            questions = objects(said, "questions")
            shown = " ".join(text(each, "question") for each in questions)
            options = objects(questions[0], "options") if len(questions) == 1 else ()
            choices = tuple(text(each, "label") for each in options)
            return Asked(identity, method, QuestionAsked(name, shown, choices, tool), said)
        case _:
            return None


def _of_mcp(identity: object, said: Mapping[str, object], calls: Mapping[str, str]) -> Asked | None:
    meta = mapping(said, "_meta")
    if text(meta, "codex_approval_kind") != _MCP_TOOL:
        return None
    name = mcp_name(text(said, "serverName"), text(meta, "tool_name"))
    shown, given = text(said, "message") or name, mapping(meta, "tool_params")
    return Asked(
        identity, Method.MCP, PermissionAsked(str(identity), name, shown, calls.get(name), arguments=given), said
    )


def _command(said: Mapping[str, object]) -> str:
    actions = objects(said, "commandActions")
    return text(actions[0], "command") if len(actions) == 1 else text(said, "command")


def reply(asked: Asked, answer: Answer) -> Mapping[str, object]:
    """Give the result that answers a request.

    Raises
    ------
    TurnsError
        If the answer does not fit.
    """
    if asked.method == Method.QUESTIONS:
        return {"answers": _answers(objects(asked.said, "questions"), answer)}
    if answer.decision is Decision.ANSWER:
        raise TurnsError("expected allow or deny; the agent asks for permission")
    if answer.text:
        raise TurnsError("expected no text: Codex takes none with the answer to a permission; send it afterwards")
    allowed = answer.decision is Decision.ALLOW
    if asked.method == Method.MCP:
        return {"action": "accept", "content": {}} if allowed else {"action": "decline"}
    if asked.method == Method.PERMISSIONS:
        return {"permissions": mapping(asked.said, "permissions") if allowed else {}, "scope": "turn"}
    return {"decision": "accept" if allowed else "decline"}


def _answers(questions: Sequence[Mapping[str, object]], answer: Answer) -> Mapping[str, object]:
    if answer.decision is not Decision.ANSWER:
        raise TurnsError("expected an answer in words; Codex lets no question be refused: interrupt the turn instead")
    lines = answer.text.split("\n") if len(questions) > 1 else [answer.text]
    if len(lines) != len(questions):
        raise TurnsError(f"expected {len(questions)} lines, one for each question; found {len(lines)}")
    return {text(each, "id"): {"answers": [line]} for each, line in zip(questions, lines, strict=True)}
