"""What a client says: items of OpenAI's interface, and the one message to the agent that they make. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from agentd.gateway.openai.objects import JsonObject, message
from agentd.gateway.openai.refusal import refuse

_ROLES: Final = ("user", "assistant", "system", "developer")
_TEXT_PARTS: Final = ("input_text", "output_text", "text")
_INSTRUCTIONS: Final = ("system", "developer")

_PASSED_OVER: Final = ("reasoning", "mcp_list_tools")
"""What clients send back of earlier answers, and tells an agent nothing."""

_EARLIER: Final = "The conversation so far:"
_NOW: Final = "Go on from here:"


def items_of(given: str | Sequence[object], new_id: Callable[[str], str], param: str = "input") -> list[JsonObject]:
    """Understand what a client says.

    Parameters
    ----------
    given
        A text, or a list of items.
    new_id
        Makes an id from its prefix.
    param
        Where it stands in the request.

    Raises
    ------
    ApiError
        If an item is none, or one that an agent cannot be told.
    """
    if isinstance(given, str):
        return [message(new_id("msg"), "user", given)]
    items = []
    for number, item in enumerate(given):
        where = f"{param}[{number}]"
        if not isinstance(item, Mapping):
            raise refuse(where, f"Invalid '{where}': expected an object.", "invalid_type")
        kind = item.get("type", "message")
        if kind in _PASSED_OVER:
            continue
        if kind == "message":
            items.append(_message(item, new_id("msg"), where))
        elif kind == "mcp_call":
            items.append(_call(item, new_id("mcp"), where))
        else:
            raise refuse(
                f"{where}.type", f"An agent cannot be told an item of type {kind!r}: use messages.", "unsupported_value"
            )
    return items


def _message(item: Mapping[str, object], identity: str, where: str) -> JsonObject:
    role = item.get("role")
    if role not in _ROLES:
        raise refuse(f"{where}.role", f"Invalid '{where}.role': expected one of {', '.join(_ROLES)}.", "invalid_value")
    return message(identity, str(role), text_of(item.get("content"), f"{where}.content"))


def text_of(content: object, where: str) -> str:
    """Read the text of a message.

    Raises
    ------
    ApiError
        If it has parts that are no text.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise refuse(where, f"Invalid '{where}': expected a string or a list of parts.", "invalid_type")
    texts = []
    for number, part in enumerate(content):
        place = f"{where}[{number}]"
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "refusal":
            texts.append(str(part["refusal"]) if isinstance(part.get("refusal"), str) else "")
        elif kind not in _TEXT_PARTS:
            raise refuse(
                f"{place}.type", f"An agent reads text only, and '{place}' is of type {kind!r}.", "unsupported_value"
            )
        elif not isinstance(part.get("text"), str):
            raise refuse(f"{place}.text", f"Invalid '{place}.text': expected a string.", "invalid_type")
        else:
            texts.append(part["text"])
    return "\n".join(texts)


def _call(item: Mapping[str, object], identity: str, where: str) -> JsonObject:
    names = ("server_label", "name", "arguments")
    for name in names:
        if not isinstance(item.get(name), str):
            raise refuse(f"{where}.{name}", f"Invalid '{where}.{name}': expected a string.", "invalid_type")
    output = item.get("output")
    return {
        "id": identity,
        "type": "mcp_call",
        **{name: item[name] for name in names},
        "approval_request_id": None,
        "status": "completed",
        "error": None,
        "output": output if isinstance(output, str) else None,
    }


def message_to_agent(instructions: str | None, items: Sequence[JsonObject]) -> str:
    """Make one message of all that is said: what it should follow first, then the conversation, the last words last.

    An agent has one conversation with one user; so what others said before is told as a transcript.
    """
    followed = [instructions or "", *(_text(item) for item in items if item.get("role") in _INSTRUCTIONS)]
    rest = [item for item in items if item.get("role") not in _INSTRUCTIONS]
    parts = [text for text in followed if text.strip()]
    if all(item.get("role") == "user" for item in rest):
        parts += [_text(item) for item in rest]
    else:
        last = len(rest) - next((n for n, item in enumerate(reversed(rest)) if item.get("role") != "user"), 0)
        parts += [_EARLIER, *(_line(item) for item in rest[:last])]
        parts += [_NOW, *(_text(item) for item in rest[last:])] if last < len(rest) else []
    return "\n\n".join(text for text in parts if text.strip())


def _line(item: JsonObject) -> str:
    if item["type"] == "mcp_call":
        output = item["output"]
        return f"(used {item['name']}: {item['arguments']}{f' -> {output}' if output else ''})"
    return f"{str(item['role']).capitalize()}: {_text(item)}"


def _text(item: JsonObject) -> str:
    content = item.get("content")
    return "".join(part["text"] for part in content) if isinstance(content, list) else ""
