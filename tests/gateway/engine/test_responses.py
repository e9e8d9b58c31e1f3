"""Responses and conversations of OpenAI's interface, on each kind of database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer

from agentd.gateway.engine.engine import Engine
from agentd.gateway.http.app import build_app
from agentd.gateway.http.errors import ApiError
from agentd.gateway.http.guard import Access
from agentd.gateway.ids import new_id
from agentd.gateway.model.caller import NOBODY, Caller
from agentd.gateway.model.errors import DatabaseUnavailableError, KeyTakenError
from agentd.gateway.model.once import Once
from agentd.gateway.model.requests import NewSession, SessionQuery
from agentd.gateway.model.states import RunStatus, SessionStatus
from agentd.gateway.openai import turn
from agentd.gateway.openai.objects import JsonObject
from agentd.gateway.openai.responses import Responses
from agentd.gateway.openai.routes import ROUTES
from agentd.gateway.openai.said import items_of
from agentd.gateway.openai.wanted import Wanted
from agentd.gateway.store import events, idempotency, removing, runs
from agentd.gateway.store.database import Writer
from agentd.model.gateway import Scope

BOB = Caller("bob", frozenset({Scope.CHAT}), "bobs")


@pytest.fixture
async def responses(engine: Engine) -> AsyncIterator[Responses]:
    responses = Responses(engine)
    async with responses.running():
        yield responses


def wanted(text: str, **more: object) -> Wanted:
    return replace(Wanted("helper", items(text)), **more)  # type: ignore[arg-type] # fields of it


def items(text: str) -> list[JsonObject]:
    return items_of(text, new_id)


async def test_a_response_is_its_run_and_its_owners(engine: Engine, responses: Responses) -> None:
    made = await responses.create(NOBODY, wanted("hello \U0001f600", instructions="Be brief."))
    assert made.id == made.run_id.replace("run_", "resp_")
    assert (await engine.runs.get(NOBODY, made.run_id)).prompt == "Be brief.\n\nhello \U0001f600"
    assert await responses.find(NOBODY, made.id) == made
    with pytest.raises(ApiError) as hidden:
        await responses.find(BOB, made.id)
    assert hidden.value.status == 404
    await responses.cancel(NOBODY, made)
    assert (await responses.show(made)).response["status"] == "cancelled"
    await responses.remove(NOBODY, made)
    with pytest.raises(ApiError):
        await responses.find(NOBODY, made.id)


async def test_of_two_that_go_on_from_one_response_one_does(engine: Engine, responses: Responses) -> None:
    first = await responses.create(NOBODY, wanted("hello"))
    two = [responses.create(NOBODY, wanted(text, previous=first.id)) for text in ("one", "two")]
    made = await asyncio.gather(*two, return_exceptions=True)
    [refused] = [each for each in made if isinstance(each, BaseException)]
    assert isinstance(refused, ApiError)
    assert (refused.status, refused.code) == (400, "previous_response_not_forkable")
    [session] = (await engine.sessions.list(NOBODY, SessionQuery())).sessions
    assert session.id == first.session_id


async def test_a_refused_response_leaves_no_session(engine: Engine, responses: Responses) -> None:
    once = Once("token", "POST /v1/responses", "key", "fingerprint")
    made = await responses.create(NOBODY, wanted("hello"), once)
    with pytest.raises(KeyTakenError):
        await responses.create(NOBODY, wanted("hello"), once)
    found = (await engine.sessions.list(NOBODY, SessionQuery())).sessions
    assert {session.id: session.status for session in found} == {
        made.session_id: SessionStatus.OPEN,
        found[0].id: SessionStatus.CLOSED,
    }


async def test_a_conversation_is_told_once_and_whole_to_another(engine: Engine, responses: Responses) -> None:
    conversations = responses.conversations
    one = await conversations.create(NOBODY, {"a": "b"}, items("I am Eve"))
    first = await responses.create(NOBODY, wanted("hello", conversation=one.id))
    await conversations.add_items(NOBODY, one.id, items("I am forty"))
    second = await responses.create(NOBODY, wanted("and?", conversation=one.id))
    assert second.session_id == first.session_id
    prompts = [(await engine.runs.get(NOBODY, each.run_id)).prompt for each in (first, second)]
    assert prompts == ["I am Eve\n\nhello", "I am forty\n\nand?"]
    await engine.sessions.close(NOBODY, first.session_id)
    third = await responses.create(NOBODY, wanted("still there?", conversation=one.id, model=None))
    prompt = (await engine.runs.get(NOBODY, third.run_id)).prompt
    assert prompt == "I am Eve\n\nhello\n\nI am forty\n\nand?\n\nstill there?"
    listed = await conversations.items(NOBODY, one.id)
    assert len(listed) == 5
    await conversations.remove_item(NOBODY, one.id, str(listed[1]["id"]))
    await conversations.remove_item(NOBODY, one.id, str(listed[0]["id"]))
    assert await conversations.items(NOBODY, one.id) == listed[2:]
    with pytest.raises(ApiError):
        await conversations.find(BOB, one.id)
    await conversations.remove(NOBODY, one.id)
    with pytest.raises(ApiError):
        await conversations.find(NOBODY, one.id)


async def test_a_repeated_request_finds_its_response_until_it_has_it(responses: Responses) -> None:
    made = await responses.create(NOBODY, wanted("hello", request="r1"))
    assert await responses.repeated("r2") is None
    found = await responses.repeated("r1")
    assert found is not None
    assert found.id == made.id
    await responses.answered(made)
    assert await responses.repeated("r1") is None


async def test_a_client_that_comes_back_keeps_its_turn(engine: Engine, responses: Responses) -> None:
    made = await responses.create(NOBODY, wanted("hello", request="r1"))
    responses.leave(NOBODY, made, 60.0)
    [leaving] = responses._leaving.values()
    assert await responses.repeated("r1") is not None
    await asyncio.wait([leaving])
    assert (await engine.runs.get(NOBODY, made.run_id)).status is RunStatus.QUEUED
    with responses.attending(made):
        responses.leave(NOBODY, made)
        await asyncio.wait([*responses._leaving.values()])
    assert (await engine.runs.get(NOBODY, made.run_id)).status is RunStatus.QUEUED, "another client waits for it"
    responses.leave(NOBODY, made)
    assert not (await engine.runs.wait(NOBODY, made.run_id, 10.0)).timed_out


async def test_what_nothing_can_follow_is_closed_when_it_is_over(engine: Engine) -> None:
    first = Responses(engine)
    async with first.running():
        made = await first.create(NOBODY, wanted("hello", stored=False))
    # The next gateway takes it up.
    async with Responses(engine).running():
        await engine.runs.cancel(NOBODY, made.run_id)
        async with asyncio.timeout(30):
            async for event in engine.happenings.follow(NOBODY, made.session_id, 0):
                if event.event_type.value == "session.closed":
                    break


async def test_a_response_older_than_its_events_is_shown_from_its_run(engine: Engine, responses: Responses) -> None:
    made = await responses.create(NOBODY, wanted("hello"))
    now = made.created_at + 5

    async def age(writer: Writer) -> None:
        connection = writer.connection
        await events.remove_before(connection, now, 100, [])
        await runs.change(connection, made.run_id, status="succeeded", result_text="long ago", ended_at=now)

    await engine.database.write(age)
    shown = (await responses.show(made)).response
    assert (shown["status"], shown["completed_at"]) == ("completed", int(now))
    assert (await responses.show(made)).text == "long ago"
    told = [event async for _, told in responses.follow(NOBODY, made) for event in told]
    assert told[-1]["response"] == shown


async def test_a_removed_session_takes_its_responses_along(engine: Engine, responses: Responses) -> None:
    made = await responses.create(NOBODY, wanted("hello"))
    await engine.database.write(lambda writer: removing.remove_sessions(writer.connection, [made.session_id]))
    with pytest.raises(ApiError):
        await responses.find(NOBODY, made.id)


async def test_who_is_not_known_makes_nothing(engine: Engine, responses: Responses) -> None:
    with pytest.raises(ApiError) as unknown:
        await responses.create(NOBODY, wanted("hello", model="nobody"))
    assert (unknown.value.status, unknown.value.param) == (404, "model")
    with pytest.raises(ApiError) as missing:
        await responses.create(NOBODY, wanted("hello", model=None))
    assert missing.value.param == "model"
    assert (await engine.sessions.list(NOBODY, SessionQuery())).sessions == ()
    main = await engine.sessions.create(NOBODY, NewSession(agent="helper", main=True))
    made = await responses.create(NOBODY, wanted("hello", model="helper:main"))
    assert (await engine.sessions.get(NOBODY, made.session_id)).session.tmux_session == main.tmux_session == "helper"


async def test_a_stream_in_which_nothing_comes_shows_that_it_lives(
    engine: Engine, responses: Responses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "ALIVE_SECONDS", 0.05)
    app = build_app(Access(), engine, ROUTES)
    app[turn.RESPONSES] = responses
    async with TestClient(TestServer(app)) as client:
        asked = await client.post("/v1/responses", json={"model": "helper", "input": "hello", "stream": True})
        assert asked.headers["content-type"].startswith("text/event-stream")
        lines = [(await asked.content.readline()).decode() for _ in range(7)]
        asked.close()
    assert lines[0] == "event: response.created\n"
    assert lines[3::2] == [": alive\n", ": alive\n"]


async def test_what_a_key_puts_into_a_conversation_is_kept_with_its_answer_or_not_at_all(
    engine: Engine, responses: Responses, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = build_app(Access(), engine, ROUTES)
    app[turn.RESPONSES] = responses

    async def killed(*_: object) -> None:
        raise DatabaseUnavailableError("as if the gateway were killed before it kept the answer")

    async with TestClient(TestServer(app)) as client:
        made = (await (await client.post("/v1/conversations", json={})).json())["id"]
        path, body = f"/v1/conversations/{made}/items", {"items": [{"role": "user", "content": "hello"}]}
        with monkeypatch.context() as patched:
            patched.setattr(idempotency, "remember", killed)
            assert (await client.post(path, json=body, headers={"Idempotency-Key": "k"})).status == 503
        assert await responses.conversations.items(NOBODY, made) == []
        first, again = [await client.post(path, json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
        assert (first.status, again.status) == (200, 200)
        assert await first.read() == await again.read()
        assert len(await responses.conversations.items(NOBODY, made)) == 1
