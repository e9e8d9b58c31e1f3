"""From the events of a run to the events of a response. Pure.

The same events of a run always give the same events of the response, byte for byte: that is how a stream is replayed,
and how a response is shown whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agentd.gateway.openai.objects import (
    OWN_LABEL,
    Facts,
    JsonObject,
    State,
    mcp_call,
    message,
    output_text,
    response,
    response_error,
    tool_error,
    usage,
)

ENDS: Final = {
    "run.succeeded": "completed",
    "run.failed": "failed",
    "run.timed_out": "failed",
    "run.canceled": "cancelled",
}
"""Status of a response after the last event of its run."""


@dataclass(frozen=True, slots=True)
class RunEvent:
    """What happened in a run, as far as a response shows it."""

    id: str
    kind: str
    data: Mapping[str, object]
    at: float
    """Seconds since the epoch."""


class ResponseStream:
    """A response as it comes about.

    Parameters
    ----------
    facts
        Of the response.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._state = State("queued" if facts.background else "in_progress")
        self._items: list[JsonObject] = []
        self._pieces: list[str] = []
        """Of the message under way."""
        self._message: int | None = None
        """Index of the message under way."""
        self._number: object = None
        """By which the run tells this message from the next."""
        self._calls: dict[str, int] = {}
        """Indexes of the uses of tools under way, by the run's id of each."""
        self._asks: dict[str, int] = {}
        """Indexes of what the agent asks and nobody has answered."""
        self._began = False
        self._sequence = 0

    def over(self) -> bool:
        """Whether the last event was given."""
        return self._state.status in ENDS.values()

    @property
    def response(self) -> JsonObject:
        """The response as it is now."""
        items = [dict(item) for item in self._items]
        if self._message is not None:
            items[self._message]["content"] = [output_text("".join(self._pieces))]
        state = self._state
        return response(self._facts, State(state.status, items, state.completed_at, state.error, state.usage))

    @property
    def text(self) -> str:
        """What the agent said, its messages apart by an empty line."""
        said = [_text(item) for item in _outputs(self.response) if item["type"] == "message"]
        return "\n\n".join(text for text in said if text)

    def begin(self) -> list[JsonObject]:
        """Tell that the response exists: the first events of every stream."""
        events = [self._event("response.created", response=self.response)]
        if self._facts.background:
            events.append(self._event("response.queued", response=self.response))
        return events

    def take(self, event: RunEvent) -> list[JsonObject]:
        """Tell what an event of the run means."""
        if self.over():
            return []
        return list(self._events(event))

    def _events(self, event: RunEvent) -> Iterator[JsonObject]:
        match event.kind:
            case "run.started" if not self._began:
                self._began, self._state = True, State("in_progress")
                yield self._event("response.in_progress", response=self.response)
            case "run.output":
                yield from self._say(event)
            case "run.tool_started":
                yield from self._end_message()
                name, shown = _string(event.data, "name") or "tool", {"text": _string(event.data, "text")}
                call = mcp_call(_item_id("mcp", event), self._facts.harness, name, shown)
                yield from self._begin_call(self._calls, _string(event.data, "tool"), call)
            case "run.tool_completed":
                status = "failed" if event.data.get("ok") is False else "completed"
                yield from self._end_call(self._calls, _string(event.data, "tool"), status)
            case "run.awaiting_input":
                yield from self._ask(event)
            case "backend.event" if event.data.get("kind") == "permission_resolved":
                request, decision = _string(event.data, "request_id"), _string(event.data, "decision")
                yield from self._end_call(self._asks, request, "completed", decision or None)
            case kind if kind in ENDS:
                yield from self._end(event)
            case _:
                pass

    def _ask(self, event: RunEvent) -> Iterator[JsonObject]:
        request = _string(event.data, "request_id")
        if request in self._asks:
            return
        yield from self._end_message()
        kind = "ask_question" if event.data.get("kind") == "question" else "ask_permission"
        shown = {name: event.data.get(name) for name in ("request_id", "kind", "name", "text", "choices")}
        call = mcp_call(_item_id("mcp", event), OWN_LABEL, kind, shown, request)
        yield from self._begin_call(self._asks, request, call)

    def _say(self, event: RunEvent) -> Iterator[JsonObject]:
        text, number = _string(event.data, "text"), event.data.get("message")
        if self._message is not None and number != self._number:
            yield from self._end_message()
        if not text:
            return
        if self._message is None:
            self._number = number
            yield from self._begin_message(_item_id("msg", event))
        yield self._delta(text)

    def _begin_message(self, item: str) -> Iterator[JsonObject]:
        self._message, self._pieces = len(self._items), []
        shown = message(item, "assistant", "", "in_progress")
        self._items.append(shown)
        yield self._event("response.output_item.added", output_index=self._message, item={**shown, "content": []})
        yield self._of_content("response.content_part.added", part=output_text(""))

    def _delta(self, text: str) -> JsonObject:
        self._pieces.append(text)
        return self._of_content("response.output_text.delta", delta=text, logprobs=[])

    def _end_message(self, text: str | None = None, status: str = "completed") -> Iterator[JsonObject]:
        if self._message is None:
            return
        said = "".join(self._pieces) if text is None else text
        shown: JsonObject = {**self._items[self._message], "status": status, "content": [output_text(said)]}
        self._items[self._message] = shown
        yield self._of_content("response.output_text.done", text=said, logprobs=[])
        yield self._of_content("response.content_part.done", part=output_text(said))
        yield self._event("response.output_item.done", output_index=self._message, item=shown)
        self._message = None

    def _of_content(self, kind: str, **fields: object) -> JsonObject:
        assert self._message is not None
        item = self._items[self._message]["id"]
        return self._event(kind, item_id=item, output_index=self._message, content_index=0, **fields)

    def _begin_call(self, under_way: dict[str, int], key: str, call: JsonObject) -> Iterator[JsonObject]:
        index = under_way[key] = len(self._items)
        self._items.append(call)
        where: JsonObject = {"item_id": call["id"], "output_index": index}
        yield self._event("response.output_item.added", output_index=index, item=call)
        yield self._event("response.mcp_call.in_progress", **where)
        yield self._event("response.mcp_call_arguments.done", **where, arguments=call["arguments"])

    def _end_call(
        self, under_way: dict[str, int], key: str, status: str, output: str | None = None
    ) -> Iterator[JsonObject]:
        index = under_way.pop(key, None)
        if index is None:
            return
        error = tool_error("the agent reports that this tool failed") if status == "failed" else None
        call: JsonObject = {**self._items[index], "status": status, "output": output, "error": error}
        self._items[index] = call
        if status != "incomplete":
            yield self._event(f"response.mcp_call.{status}", item_id=call["id"], output_index=index)
        yield self._event("response.output_item.done", output_index=index, item=call)

    def _end(self, event: RunEvent) -> Iterator[JsonObject]:
        status, data = ENDS[event.kind], event.data
        whole = "completed" if status == "completed" else "incomplete"
        result = data.get("result_text")
        yield from self._answer(result if isinstance(result, str) else "", whole, event)
        for under_way in (self._calls, self._asks):
            for key in tuple(under_way):
                yield from self._end_call(under_way, key, whole)
        reported = data.get("usage")
        self._state = State(
            status,
            completed_at=int(event.at) if status == "completed" else None,
            error=response_error(data.get("error")) if status == "failed" else None,
            usage=usage(reported if isinstance(reported, Mapping) else None),
        )
        kind = "response.completed" if status == "completed" else "response.failed"
        yield self._event(kind, response=self.response)

    def _answer(self, result: str, status: str, event: RunEvent) -> Iterator[JsonObject]:
        """Complete what was said by the answer that the run has in the end."""
        if self._message is not None:
            said = "".join(self._pieces)
            if result.startswith(said) and result != said:
                yield self._delta(result[len(said) :])
                said = result
            yield from self._end_message(result if said.strip() == result.strip() else None, status)
        last = next((_text(item) for item in reversed(self._items) if item["type"] == "message"), "")
        if not last.strip().endswith(result.strip()):
            yield from self._begin_message(_item_id("msg", event))
            yield self._delta(result)
            yield from self._end_message(status=status)

    def _event(self, kind: str, **fields: object) -> JsonObject:
        number, self._sequence = self._sequence, self._sequence + 1
        return {"type": kind, "sequence_number": number, **fields}


def replay(facts: Facts, events: Sequence[RunEvent]) -> ResponseStream:
    """Reduce all events of a run so far."""
    stream = ResponseStream(facts)
    stream.begin()
    for event in events:
        stream.take(event)
    return stream


def _item_id(prefix: str, event: RunEvent) -> str:
    """Name the item that an event begins: the same at every replay."""
    return f"{prefix}_{event.id.partition('_')[2]}"


def _string(data: Mapping[str, object], name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) else ""


def _outputs(shown: JsonObject) -> list[JsonObject]:
    output = shown["output"]
    assert isinstance(output, list)
    return output


def _text(item: JsonObject) -> str:
    content = item["content"]
    assert isinstance(content, list)
    return "".join(part["text"] for part in content)
