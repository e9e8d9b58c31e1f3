"""The events of a response, from those of its run."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai._models import construct_type
from openai._types import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent

from agentd.gateway.openai.objects import Facts, JsonObject
from agentd.gateway.openai.stream import ENDS, ResponseStream, RunEvent, replay
from tests.gateway.openai.strict import check
from tests.support.effort import examples

FACTS = Facts("resp_7", 1000, "alice", "claude-code", background=False, asked={"metadata": {"a": "b"}})


Step: TypeAlias = tuple[str, Mapping[str, object]]


def run(*events: Step) -> list[RunEvent]:
    return [RunEvent(f"evt_{number}", kind, data, 1000.5 + number) for number, (kind, data) in enumerate(events)]


def told(events: Sequence[RunEvent], facts: Facts = FACTS) -> list[JsonObject]:
    stream = ResponseStream(facts)
    return [*stream.begin(), *itertools.chain.from_iterable(map(stream.take, events))]


def kinds(events: Sequence[JsonObject]) -> list[str]:
    return [str(event["type"]).removeprefix("response.") for event in events]


def output(*texts: str, message: int = 0) -> list[Step]:
    return [("run.output", {"text": text, "message": message}) for text in texts]


STARTED: Step = ("run.started", {})


def succeeded(text: str, usage: Mapping[str, object] | None = None) -> Step:
    return ("run.succeeded", {"result_text": text, "error": None, "usage": usage})


MESSAGE = [
    "output_item.added", "content_part.added", "output_text.delta", "output_text.delta", "output_text.done",
    "content_part.done", "output_item.done",
]  # fmt: skip
CALL = [
    "output_item.added", "mcp_call.in_progress", "mcp_call_arguments.done", "mcp_call.completed", "output_item.done"
]  # fmt: skip


def test_an_answer_comes_in_the_order_that_the_client_expects() -> None:
    events = told(run(("run.queued", {}), STARTED, *output("Hel", "lo"), succeeded("Hello")))
    assert kinds(events) == ["created", "in_progress", *MESSAGE, "completed"]
    assert [event["sequence_number"] for event in events] == list(range(10))
    assert [event["delta"] for event in events if "delta" in event] == ["Hel", "lo"]
    last = events[-1]["response"]
    assert isinstance(last, dict)
    assert (last["status"], last["completed_at"], last["output"][0]["content"][0]["text"]) == (
        "completed",
        1004,
        "Hello",
    )


def test_in_the_background_it_is_queued_first() -> None:
    facts = Facts("resp_7", 1000, "alice", "codex", background=True, asked={})
    events = told(run(("run.queued", {}), STARTED, succeeded("")), facts)
    assert kinds(events) == ["created", "queued", "in_progress", "completed"]
    assert [event["response"]["status"] for event in events] == [  # type: ignore[index] # JSON
        "queued", "queued", "in_progress", "completed"
    ]  # fmt: skip


def test_tools_are_calls_between_messages() -> None:
    events = told(
        run(
            STARTED,
            *output("I", " look"),
            ("run.tool_started", {"tool": "t1", "name": "Bash", "text": "ls -la"}),
            ("run.tool_completed", {"tool": "t1", "ok": True}),
            *output("Do", "ne", message=1),
            succeeded("Done"),
        )
    )
    assert kinds(events) == ["created", "in_progress", *MESSAGE, *CALL, *MESSAGE, "completed"]
    last = events[-1]["response"]
    assert isinstance(last, dict)
    call = last["output"][1]
    assert (call["server_label"], call["name"], json.loads(call["arguments"])) == (
        "claude-code",
        "Bash",
        {"text": "ls -la"},
    )
    assert [item["type"] for item in last["output"]] == ["message", "mcp_call", "message"]


def test_messages_without_a_tool_between_them_stay_apart() -> None:
    stream = replay(FACTS, run(STARTED, *output("a", "b"), *output("c", message=1), succeeded("c")))
    assert stream.text == "ab\n\nc"


@pytest.mark.parametrize(
    ("pieces", "result", "messages"),
    [
        ([], "all at once", ["all at once"]),
        (["a", "b"], "ab", ["ab"]),
        (["a"], "abc", ["abc"]),
        (["ab\n"], "ab", ["ab"]),
        (["something else"], "ab", ["something else", "ab"]),
        (["ab"], "", ["ab"]),
    ],
)
def test_the_answer_is_what_the_run_has_in_the_end(pieces: list[str], result: str, messages: list[str]) -> None:
    events = told(run(STARTED, *output(*pieces), succeeded(result)))
    assert [event["text"] for event in events if event["type"] == "response.output_text.done"] == messages


def test_an_answer_before_the_last_tool_is_not_repeated() -> None:
    tool: Step = ("run.tool_started", {"tool": "t1", "name": "Bash", "text": ""})
    stream = replay(FACTS, run(STARTED, *output("Hello"), tool, succeeded("Hello")))
    assert stream.text == "Hello"


def test_a_request_of_the_agent_is_a_call_with_the_id_to_answer() -> None:
    ask: JsonObject = {"request_id": "r1", "kind": "permission", "name": "Bash", "text": "rm x", "choices": []}
    events = run(STARTED, ("run.awaiting_input", ask))
    asking = told(events)
    assert kinds(asking)[-3:] == CALL[:3]
    item = asking[-3]["item"]
    assert isinstance(item, dict)
    assert (item["server_label"], item["name"], item["approval_request_id"]) == ("agentd", "ask_permission", "r1")
    assert json.loads(item["arguments"]) == ask
    assert replay(FACTS, events).response["status"] == "in_progress"
    answered = run(
        STARTED,
        ("run.awaiting_input", ask),
        ("backend.event", {"kind": "permission_resolved", "request_id": "r1", "decision": "allow"}),
    )
    done = told(answered)[-1]["item"]
    assert isinstance(done, dict)
    assert (done["status"], done["output"]) == ("completed", "allow")


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("run.failed", "failed", "server_error"),
        ("run.timed_out", "failed", "server_error"),
        ("run.canceled", "cancelled", None),
    ],
)
def test_what_is_open_at_a_bad_end_is_incomplete(kind: str, status: str, code: str | None) -> None:
    tool: Step = ("run.tool_started", {"tool": "t1", "name": "Bash", "text": ""})
    end: Step = (kind, {"result_text": None, "error": {"code": "harness_failed", "message": "it broke"}, "usage": None})
    events = told(run(STARTED, tool, *output("Hel"), end))
    last = events[-1]
    response = last["response"]
    assert isinstance(response, dict)
    assert (last["type"], response["status"], (response["error"] or {}).get("code")) == (
        "response.failed",
        status,
        code,
    )
    assert [item["status"] for item in response["output"]] == ["incomplete", "incomplete"]
    assert response["completed_at"] is None


def test_a_usage_limit_has_its_own_code() -> None:
    end: Step = ("run.failed", {"error": {"code": "usage_limit", "message": "wait until 5 pm"}})
    response = replay(FACTS, run(STARTED, end)).response
    assert response["error"] == {"code": "rate_limit_exceeded", "message": "wait until 5 pm"}


def test_usage_counts_the_cache_to_the_input_and_is_null_where_nothing_is_told() -> None:
    reported: JsonObject = {"input_tokens": 5, "output_tokens": 7, "cache_read_tokens": 20, "cache_write_tokens": 3}
    used = replay(FACTS, run(STARTED, succeeded("a", reported))).response["usage"]
    assert isinstance(used, dict)
    assert (used["input_tokens"], used["output_tokens"], used["total_tokens"]) == (28, 7, 35)
    assert used["input_tokens_details"] == {"cached_tokens": 20, "cache_write_tokens": 3}
    for nothing in (None, dict.fromkeys(reported, 0)):
        assert replay(FACTS, run(STARTED, succeeded("a", nothing))).response["usage"] is None


def test_nothing_comes_after_the_end() -> None:
    stream = replay(FACTS, run(STARTED, succeeded("a")))
    assert stream.take(RunEvent("evt_9", "run.output", {"text": "late"}, 1.0)) == []


SHORT = st.text(max_size=4)
TOOLS, REQUESTS = st.sampled_from("abc"), st.sampled_from("xy")


def step(kind: str, /, **data: st.SearchStrategy[object]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(kind), st.fixed_dictionaries(data))


STEPS = st.one_of(
    step("run.started"),
    step("run.output", text=SHORT, message=st.integers(0, 3)),
    step("run.tool_started", tool=TOOLS, name=SHORT, text=SHORT),
    step("run.tool_completed", tool=TOOLS, ok=st.booleans()),
    step("run.awaiting_input", request_id=REQUESTS, kind=st.sampled_from(["permission", "question"])),
    step("backend.event", kind=st.just("permission_resolved"), request_id=REQUESTS),
    step("run.awaiting_parent"),
    step("made.up"),
)
ENDING = st.sampled_from(sorted(ENDS)).flatmap(
    lambda kind: step(kind, result_text=st.none() | st.text(max_size=6), error=st.none() | st.just({"code": "timeout"}))
)


@examples(30)
@given(st.lists(STEPS, max_size=14), ENDING, st.booleans())
def test_whatever_happens_the_clients_own_stream_takes_it(steps: list[Step], end: Step, background: bool) -> None:
    facts = Facts("resp_7", 1000, "alice", "opencode", background=background, asked={})
    events = run(*steps, end)
    all_told = told(events, facts)
    assert [event["sequence_number"] for event in all_told] == list(range(len(all_told)))
    assert json.dumps(all_told) == json.dumps(told(events, facts)), "a replay is the same, byte for byte"
    reading: ResponseStreamState[None] = ResponseStreamState(input_tools=omit, text_format=omit)
    for event in all_told:
        check(ResponseStreamEvent, event)
        assert "error" not in event
        reading.handle_event(cast("ResponseStreamEvent", construct_type(type_=ResponseStreamEvent, value=event)))
    check(Response, replay(facts, events).response)
    assert all_told[-1]["response"] == replay(facts, events).response
    deltas: dict[object, str] = {}
    for event in all_told:
        if event["type"] == "response.output_text.delta":
            deltas[event["item_id"]] = deltas.get(event["item_id"], "") + str(event["delta"])
        if event["type"] == "response.output_text.done":
            assert str(event["text"]).strip() == deltas[event["item_id"]].strip()


@examples(30)
@given(st.lists(STEPS, max_size=14))
def test_a_response_under_way_is_shown_whole(steps: list[Step]) -> None:
    stream = replay(FACTS, run(*steps))
    check(Response, stream.response)
    before = json.dumps(stream.response)
    assert before == json.dumps(stream.response)
