"""The four model APIs that the agent CLIs speak, as far as one turn with a tool call needs them.

Each dialect reads a request into a `Turn` and writes a `Reply` either as one JSON document or as server-sent events.
Each reply has ids of its own, since the CLIs tell replies and calls apart by them; its token counts are constants.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

JsonValue: TypeAlias = "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
Json: TypeAlias = Mapping[str, JsonValue]

INPUT_TOKENS = 10
OUTPUT_TOKENS = 5
"""What each reply says that it took."""

_NUMBERS = itertools.count(1)

SHELL_TOOLS = ("Bash", "exec_command", "shell_command", "shell", "bash", "run_shell_command")
"""What the CLIs call the tool that runs a command."""

CONTEXT = (
    "<system-reminder>",
    "<environment_context>",
    "<session_context>",
    "<local-command-caveat>",
    "<command-name>",
)
"""How texts begin that a CLI puts beside the user's."""


@dataclass(frozen=True, slots=True)
class ShellCall:
    """A tool call that runs a command."""

    tool: str
    arguments: Json


@dataclass(frozen=True, slots=True)
class Turn:
    """What a request asks, whatever the dialect."""

    texts: tuple[str, ...]
    """Every text in the user's messages, untouched."""
    tool_answered: bool
    """Whether a tool's result follows the last text."""
    tools: Mapping[str, Json]
    """JSON schema of the arguments, by tool."""
    result: str = ""
    """What the tools that were called last gave."""

    def tool_named(self, name: str) -> str | None:
        """Find a tool; ``*NAME`` is the one whose name ends so, if any: hosts put an MCP server's before its tools'."""
        if not name.startswith("*"):
            return name
        return next((known for known in self.tools if known.endswith(name[1:])), None)

    @property
    def prompt(self) -> str:
        """The user's last text, without what the CLI put beside it."""
        own = [text for text in self.texts if text.strip() and not text.lstrip().startswith(CONTEXT)]
        return re.sub(r"<system-reminder>.*?</system-reminder>", "", own[-1], flags=re.DOTALL) if own else ""

    def shell_call(self, command: str) -> ShellCall | None:
        """Fill in the arguments of the CLI's shell tool, if it offers one."""
        name = next((name for name in SHELL_TOOLS if name in self.tools), None)
        if name is None:
            return None
        properties = mapping(self.tools[name].get("properties"))
        key = "cmd" if "cmd" in properties else "command"
        is_list = str(mapping(properties.get(key)).get("type")).lower() == "array"
        arguments: dict[str, JsonValue] = {key: ["bash", "-lc", command] if is_list else command}
        if "description" in properties:
            arguments["description"] = "a command"
        return ShellCall(name, arguments)


def fresh(prefix: str) -> str:
    """Make an id."""
    return f"{prefix}_{next(_NUMBERS)}"


Reply: TypeAlias = str | ShellCall
Event: TypeAlias = tuple[str | None, Json | str]
"""A server-sent event: its type if it has one, and its data."""


class Dialect(Protocol):
    """One model API."""

    def read(self, body: Json) -> Turn:
        """Find the user's texts and the tools in a request."""
        ...

    def document(self, reply: Reply) -> Json:
        """Write a reply that is not streamed."""
        ...

    def events(self, reply: Reply) -> Iterator[Event]:
        """Write a streamed reply."""
        ...


def mapping(value: JsonValue) -> Json:
    """Take an object, or nothing for what is none."""
    return value if isinstance(value, Mapping) else {}


def items(value: JsonValue) -> list[Json]:
    """Take the objects of a list, a text standing for an object that has it."""
    if isinstance(value, str):
        return [{"text": value}]
    return [mapping(item) for item in value] if isinstance(value, Sequence) else []


def texts_of(content: JsonValue) -> list[str]:
    """Take the texts of a message's content."""
    return [text for part in items(content) if isinstance(text := part.get("text"), str)]


class AnthropicMessages:
    """``POST /v1/messages``."""

    def read(self, body: Json) -> Turn:
        """Tool results are user messages too."""
        texts: list[str] = []
        answered = False
        result = ""
        for message in items(body.get("messages")):
            if message.get("role") == "user":
                content = message.get("content")
                texts += texts_of(content)
                for part in items(content):
                    if part.get("type") == "tool_result":
                        answered = True
                        result = "\n".join(texts_of(part.get("content")))
                    elif not str(part.get("text")).lstrip().startswith(CONTEXT):
                        answered = False
        tools = {str(tool.get("name")): mapping(tool.get("input_schema")) for tool in items(body.get("tools"))}
        return Turn(tuple(texts), answered, tools, result)

    def document(self, reply: Reply) -> Json:
        """Write one message with one block."""
        block: Json
        if isinstance(reply, ShellCall):
            block = {"type": "tool_use", "id": fresh("toolu"), "name": reply.tool, "input": reply.arguments}
        else:
            block = {"type": "text", "text": reply}
        return {
            "id": fresh("msg"),
            "type": "message",
            "role": "assistant",
            "model": "stub-model",
            "content": [block],
            "stop_reason": "tool_use" if isinstance(reply, ShellCall) else "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS},
        }

    def events(self, reply: Reply) -> Iterator[Event]:
        """Write the message's start, its block, its end."""
        message = self.document(reply)
        (block,) = items(message["content"])
        delta: Json
        if isinstance(reply, ShellCall):
            block = {**block, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(reply.arguments)}
        else:
            block = {**block, "text": ""}
            delta = {"type": "text_delta", "text": reply}
        stop: Json = {"stop_reason": message["stop_reason"], "stop_sequence": None}
        data: list[dict[str, JsonValue]] = [
            {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": stop, "usage": message["usage"]},
            {"type": "message_stop"},
        ]
        yield from ((str(event["type"]), event) for event in data)


class OpenAIResponses:
    """``POST /v1/responses``."""

    def read(self, body: Json) -> Turn:
        """The input is one flat list of messages, calls and their outputs."""
        texts: list[str] = []
        answered = False
        result = ""
        for item in items(body.get("input")):
            if item.get("role") == "user":
                texts += texts_of(item.get("content"))
                answered = False
            elif str(item.get("type")).endswith("_output"):
                answered = True
                result = "\n".join(texts_of(item.get("output")))
        tools: dict[str, Json] = {}
        for tool in items(body.get("tools")):
            if tool.get("type") == "namespace":
                inner = items(tool.get("tools"))
                tools |= {f"{tool['name']}__{each['name']}": mapping(each.get("parameters")) for each in inner}
            else:
                tools[str(tool.get("name"))] = mapping(tool.get("parameters"))
        return Turn(tuple(texts), answered, tools, result)

    def document(self, reply: Reply) -> Json:
        """Write a response with one item."""
        usage: Json = {
            "input_tokens": INPUT_TOKENS,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": OUTPUT_TOKENS,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        }
        return {
            "id": fresh("resp"),
            "object": "response",
            "created_at": 0,
            "status": "completed",
            "model": "stub-model",
            "output": [self._item(reply)],
            "usage": usage,
        }

    def events(self, reply: Reply) -> Iterator[Event]:
        """Write the response's start, its item, its end; a text also by a delta, which is what screens show."""
        done = self.document(reply)
        (item,) = items(done["output"])
        created = {**done, "status": "in_progress", "output": [], "usage": None}
        data: list[dict[str, JsonValue]] = [{"type": "response.created", "response": created}]
        if isinstance(reply, str):
            place: Json = {"item_id": item["id"], "output_index": 0, "content_index": 0}
            started = {**item, "status": "in_progress", "content": []}
            data += [
                {"type": "response.output_item.added", "output_index": 0, "item": started},
                {"type": "response.output_text.delta", **place, "delta": reply},
            ]
        data += [
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": done},
        ]
        yield from ((str(event["type"]), {**event, "sequence_number": n}) for n, event in enumerate(data))

    @staticmethod
    def _item(reply: Reply) -> Json:
        if isinstance(reply, ShellCall):
            # Codex has the tools of each MCP server in a namespace.
            prefix, server, tool = ([*reply.tool.split("__", 2), "", ""])[:3]
            named = {"namespace": f"mcp__{server}", "name": tool} if prefix == "mcp" else {"name": reply.tool}
            return {
                "id": fresh("fc"),
                "type": "function_call",
                "status": "completed",
                "call_id": fresh("call"),
                **named,
                "arguments": json.dumps(reply.arguments),
            }
        return {
            "id": fresh("msg"),
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": reply, "annotations": []}],
        }


class ChatCompletions:
    """``POST /v1/chat/completions``."""

    def read(self, body: Json) -> Turn:
        """A tool's result has a role of its own."""
        texts: list[str] = []
        answered = False
        result = ""
        for message in items(body.get("messages")):
            if message.get("role") == "user":
                texts += texts_of(message.get("content"))
            answered = message.get("role") == "tool"
            if answered:
                result = "\n".join(texts_of(message.get("content")))
        functions = [mapping(tool.get("function")) for tool in items(body.get("tools"))]
        tools = {str(function.get("name")): mapping(function.get("parameters")) for function in functions}
        return Turn(tuple(texts), answered, tools, result)

    def document(self, reply: Reply) -> Json:
        """Write one choice."""
        return self._choice("chat.completion", "message", self._message(reply), self._finish(reply))

    def events(self, reply: Reply) -> Iterator[Event]:
        """Write the message, then why it ended."""
        yield None, self._choice("chat.completion.chunk", "delta", self._message(reply), None)
        yield None, self._choice("chat.completion.chunk", "delta", {}, self._finish(reply))
        yield None, "[DONE]"

    @staticmethod
    def _finish(reply: Reply) -> str:
        return "tool_calls" if isinstance(reply, ShellCall) else "stop"

    @staticmethod
    def _message(reply: Reply) -> Json:
        if isinstance(reply, str):
            return {"role": "assistant", "content": reply}
        function: Json = {"name": reply.tool, "arguments": json.dumps(reply.arguments)}
        call: Json = {"index": 0, "id": fresh("call"), "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}

    @staticmethod
    def _choice(kind: str, key: str, message: Json, finish: str | None) -> Json:
        return {
            "id": fresh("chatcmpl"),
            "object": kind,
            "created": 0,
            "model": "stub-model",
            "choices": [{"index": 0, key: message, "finish_reason": finish}],
            "usage": {
                "prompt_tokens": INPUT_TOKENS,
                "completion_tokens": OUTPUT_TOKENS,
                "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
            },
        }


class Gemini:
    """``POST …:generateContent`` and ``…:streamGenerateContent``."""

    def read(self, body: Json) -> Turn:
        """A tool's result is a part of a user's message."""
        texts: list[str] = []
        answered = False
        result = ""
        for content in items(body.get("contents")):
            if content.get("role") != "model":
                parts = content.get("parts")
                texts += texts_of(parts)
                responses = [mapping(part["functionResponse"]) for part in items(parts) if "functionResponse" in part]
                answered = bool(responses)
                if answered:
                    result = json.dumps(mapping(responses[-1]).get("response"), ensure_ascii=False)
        functions = [f for tool in items(body.get("tools")) for f in items(tool.get("functionDeclarations"))]
        tools = {
            str(function.get("name")): mapping(function.get("parameters") or function.get("parametersJsonSchema"))
            for function in functions
        }
        return Turn(tuple(texts), answered, tools, result)

    def document(self, reply: Reply) -> Json:
        """Write one candidate."""
        part: Json
        if isinstance(reply, ShellCall):
            part = {"functionCall": {"name": reply.tool, "args": reply.arguments}}
        else:
            part = {"text": reply}
        return {
            "candidates": [{"content": {"role": "model", "parts": [part]}, "index": 0, "finishReason": "STOP"}],
            "usageMetadata": {
                "promptTokenCount": INPUT_TOKENS,
                "candidatesTokenCount": OUTPUT_TOKENS,
                "totalTokenCount": INPUT_TOKENS + OUTPUT_TOKENS,
            },
            "modelVersion": "stub-model",
        }

    def events(self, reply: Reply) -> Iterator[Event]:
        """Write the same as one chunk."""
        yield None, self.document(reply)
