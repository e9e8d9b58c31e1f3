"""Messages by brokers, without a broker."""

from __future__ import annotations

import json

import pytest

from agentd.gateway.model.channels import Bad, Decided, Origin, Read, Said, Skipped, answer_of, buried, read
from agentd.gateway.model.objects import Event, EventType, JsonObject

NO_TEXT = "found NUL or half of a surrogate pair, which no terminal takes"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"type":"user","content":"hi"}', Said("hi")),
        (
            b'{"type":"user","content":"hi","channel_id":7,"metadata":{"a":[1]},"id":"x"}',
            Said("hi", 7, {"a": [1]}, "x"),
        ),
        (b'"hi\\nyou"', Said("hi\nyou")),
        (b"hi", Said("hi")),
        (b"42", Said("42")),
        (b"\xef\xbb\xbfhi", Said("hi")),
        (b'\xef\xbb\xbf{"type":"user","content":"hi"}', Said("hi")),
        (b"null", Said("null")),
        (b"{curly} text", Said("{curly} text")),
        (b"[WARN] disk full", Said("[WARN] disk full")),
        (b"[1] see there", Said("[1] see there")),
        (b'"why" he said', Said('"why" he said')),
        (b"n", Said("n")),
        ("grüße".encode(), Said("grüße")),
        (b'{"type":"tool_confirmation_response","request_id":"r","confirmed":true}', Decided("r", confirmed=True)),
        (
            b'{"type":"tool_confirmation_response","request_id":"r","confirmed":false,"text":"no"}',
            Decided("r", confirmed=False, text="no"),
        ),
        (b'{"type":"assistant","content":"hi"}', Skipped(own=True)),
        (b'{"type":"tool_confirmation_request"}', Skipped(own=True)),
        (
            b'{"type":"tool_confirmation_response","request_id":"r","confirmed":true,"decided_by":"user"}',
            Skipped(own=True),
        ),
        (b'{"type":"other"}', Skipped(own=False)),
        (b'{"type":["user"]}', Skipped(own=False)),
        (b"{}", Skipped(own=False)),
        (b"[1]", Skipped(own=False)),
        (b"", Bad("expected a text, found none")),
        (b'" "', Bad("expected a text, found none")),
        (b'{"type":"user"}', Bad("content: expected a text")),
        (b'{"type":"user","content":"hi","channel_id":{}}', Bad("channel_id: expected a text or a number")),
        (
            b'{"type":"user","content":"a\\u0000"}',
            Bad("found NUL or half of a surrogate pair, which no terminal takes"),
        ),
        (b'{"type":"tool_confirmation_response","request_id":"r"}', Bad("confirmed: expected true or false")),
        (b'{"type":"tool_confirmation_response","confirmed":true}', Bad("request_id: expected the request's")),
        (b"ab\xff", Bad("expected UTF-8, found something else at byte 2")),
    ],
)
def test_what_is_read(data: bytes, expected: Read) -> None:
    assert read(data) == expected


@pytest.mark.parametrize(
    "data",
    [
        b'{"type":"user","content":"hi"',
        b'{ "type": "user", "content": "hi',
        b'\n{\n  "type": "user",\n  "content',
        b'{"type":"user"}}',
        b"{",
        b'["hi", ',
        b'"half of a text',
        b'{"type":"user","content":NaN}',
        b'{"type":"user","content":"\\ud800"}',
        b'{"a":' * 70 + b"1" + b"}" * 70,
        b'{"a":' * 5000,
        b"x" * (9 << 20),
        b'{"type":"user","content":"hi","metadata":[1e400]}',
        b'{"type":"user","content":"hi","channel_id":-1e400}',
        b'{"type":"user","content":"hi","metadata":' + b"9" * 5000 + b"}",
        b'{"type":"user","content":"hi","channel_id":"a\\u0000"}',
        b'{"type":"user","content":"hi","id":"a\\u0000"}',
        b'{"type":"user","content":"hi","channel_id":"' + b"a" * 1001 + b'"}',
        b'{"type":"user","content":"hi","id":"' + b"a" * 1001 + b'"}',
    ],
)
def test_what_is_bad(data: bytes) -> None:
    assert isinstance(read(data), Bad)


ORIGIN = Origin("run_1", "t/0/1", "room", {"n": 1})


def told(kind: EventType, data: JsonObject) -> JsonObject | None:
    answer = answer_of(Event(5, "evt_1", "ses_1", "run_1", kind, data, 0.0), ORIGIN, "helper")
    if answer is None:
        return None
    assert (answer.id, answer.key) == ("evt_1", "room")
    body: JsonObject = json.loads(answer.encoded())
    about = {"in_reply_to": "t/0/1", "channel_id": "room", "metadata": {"n": 1}, "id": "evt_1", "agent_name": "helper"}
    assert about.items() <= body.items()
    return {name: value for name, value in body.items() if name not in (*about, "session_id", "run_id", "timestamp")}


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        (EventType.MESSAGE_CREATED, {"role": "assistant", "text": "hi"}, {"type": "assistant", "content": "hi"}),
        (EventType.MESSAGE_CREATED, {"role": "user", "text": "hi"}, None),
        (EventType.RUN_STARTED, {}, {"type": "status", "status": "running"}),
        (EventType.RUN_SUCCEEDED, {"error": None}, {"type": "status", "status": "succeeded"}),
        (
            EventType.RUN_FAILED,
            {"error": {"code": "worker_lost", "message": "m"}},
            {"type": "status", "status": "failed", "error": {"code": "worker_lost", "message": "m"}},
        ),
        (
            EventType.RUN_AWAITING_INPUT,
            {"kind": "question", "request_id": "q", "text": "Which?", "choices": ["a"]},
            {"type": "status", "status": "awaiting_input", "request_id": "q", "content": "Which?", "choices": ["a"]},
        ),
        (EventType.RUN_OUTPUT, {"text": "x"}, None),
    ],
)
def test_what_is_told(kind: EventType, data: JsonObject, expected: JsonObject | None) -> None:
    assert told(kind, data) == expected


def test_half_a_surrogate_pair_in_metadata_is_given_back() -> None:
    said = read(b'{"type":"user","content":"hi","metadata":"\\ud83d\\ude00"}')
    assert said == Said("hi", metadata="\U0001f600")
    origin = Origin("run_1", "x", None, "\ud800")
    answer = answer_of(Event(1, "evt_1", "ses_1", "run_1", EventType.RUN_STARTED, {}, 0.0), origin, "helper")
    assert answer is not None
    assert json.loads(answer.encoded())["metadata"] == "\ud800"
    assert answer.key == "ses_1"


def test_an_answer_that_is_too_large_is_told_with_less() -> None:
    event = Event(
        1, "evt_1", "ses_1", "run_1", EventType.MESSAGE_CREATED, {"role": "assistant", "text": "é" * 200_000}, 0.0
    )
    answer = answer_of(event, ORIGIN, "helper")
    sizes = []
    while answer is not None:
        body = json.loads(answer.encoded())
        assert (body["type"], body["in_reply_to"], body["channel_id"], answer.key) == (
            "assistant",
            "t/0/1",
            "room",
            "room",
        )
        sizes.append((len(body["content"]), body["metadata"], body.get("truncated")))
        answer = answer.smaller()
    assert sizes == [(200_000, {"n": 1}, None), (200_000, {}, True), (100_000, {}, True), (1000, {}, True)]


def test_a_bad_message_is_put_aside_readably() -> None:
    assert json.loads(buried(b"\xff" * 5000, "why", "t", 1000))["message"] == "\\xff" * 250
    assert json.loads(buried(b"\xff{", "why", "t/0/1")) == {"reason": "why", "source": "t/0/1", "message": "\\xff{"}
