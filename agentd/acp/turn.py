"""A turn under way: what the agent says in it, as it is shown and told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from agentd.acp.ends import Output, Reporter
from agentd.acp.reading import Tool, tool_of
from agentd.acp.screen import DIM
from agentd.turns.conversation import LONGEST_TEXT
from agentd.turns.events import Text, TextDelta, ToolCompleted, ToolStarted
from agentd.turns.fields import mapping, objects, text

_MOST_TOOLS: Final = 256
"""Tool calls that are kept in mind."""
_MOST_ENTRIES: Final = 20
"""Entries of a plan that are shown."""


@dataclass(slots=True)
class Turn:
    """A turn; without a reporter one of the past, that is only shown."""

    id: str
    output: Output
    reporter: Reporter | None
    _text: list[str] = field(default_factory=list)
    """Of the message that the agent is writing."""
    _length: int = 0
    _message: str = ""
    """Its id, if the agent gives one."""
    _before: str | None = None
    """The last message that is complete."""
    _tools: dict[str, Tool] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    """Those whose start was told."""

    @property
    def final_text(self) -> str | None:
        """The last message, byte for byte; ``None`` if it said nothing."""
        return "".join(self._text) if self._text else self._before

    def take(self, kind: str, update: Mapping[str, object]) -> str | None:
        """Take an update of the session; gives the id of a tool that has run."""
        match kind:
            case "agent_message_chunk":
                self._say(text(mapping(update, "content"), "text") or _other(update), text(update, "messageId"))
            case "agent_thought_chunk":
                self.output.say("thought", text(mapping(update, "content"), "text"), DIM)
            case "user_message_chunk" if self.reporter is None:
                self.output.say("user", text(mapping(update, "content"), "text") or _other(update))
            case "tool_call" | "tool_call_update":
                return self._use(update)
            case "plan":
                for entry in objects(update, "entries")[:_MOST_ENTRIES]:
                    mark = "\N{BALLOT BOX WITH CHECK}" if text(entry, "status") == "completed" else "\N{BALLOT BOX}"
                    self.output.row(f"{mark} {text(entry, 'content')}", DIM)
            case _:
                pass
        return None

    def _say(self, said: str, message: str) -> None:
        if not said:
            return
        if message != self._message and self._text:
            self._whole()
        self._message = message
        self.output.say(f"message {message}", said)
        if self._length < LONGEST_TEXT:
            self._text.append(said)
            self._length += len(said)
        if self.reporter is not None:
            self.reporter.event(TextDelta(said))

    def _whole(self) -> None:
        """What it was writing is complete."""
        if not self._text:
            return
        self._before = "".join(self._text)
        self._text, self._length = [], 0
        if self.reporter is not None:
            self.reporter.event(Text(self._before))

    def _use(self, update: Mapping[str, object]) -> str | None:
        name = text(update, "toolCallId")
        if not name:
            return None
        self._whole()
        before = self._tools.pop(name, None)
        tool = self._tools[name] = tool_of(update, before)
        while len(self._tools) > _MOST_TOOLS:
            self._told.discard(next(iter(self._tools)))
            del self._tools[next(iter(self._tools))]
        # Some announce a tool before they know what it is to do.
        if tool.known_input or tool.status not in ("", "pending"):
            self._start(tool)
        if tool.over and (before is None or not before.over):
            ok = tool.status == "completed"
            self.output.row(tool.title or tool.id, DIM, mark="  \x1b[32m✓\x1b[0m " if ok else "  \x1b[31m✗\x1b[0m ")
            if self.reporter is not None:
                self.reporter.event(ToolCompleted(tool.id, ok))
        return tool.id if tool.over else None

    def allowed(self, tool: Tool) -> None:
        """A tool was allowed, so it runs: not every agent says so."""
        self._tools.setdefault(tool.id, tool)
        self._start(tool)

    def began(self, tool: Tool) -> bool:
        """Whether its start was told."""
        return tool.id in self._told

    def asked(self, update: Mapping[str, object]) -> Tool:
        """Give the tool call that a permission is asked for."""
        self._whole()
        return tool_of(update, self._tools.get(text(update, "toolCallId")))

    def _start(self, tool: Tool) -> None:
        if tool.id in self._told:
            return
        self._told.add(tool.id)
        self.output.row(tool.title or tool.id, mark="\x1b[33m●\x1b[0m ")
        if self.reporter is not None:
            self.reporter.event(ToolStarted(tool.id, tool.kind or tool.title, tool.title))


def _other(update: Mapping[str, object]) -> str:
    """Stand in for what is no text."""
    kind = text(mapping(update, "content"), "type")
    return f"[{kind}]" if kind and kind != "text" else ""
