"""Responses that are gone on from where their conversation has gone on already, on each kind of database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from agentd.gateway.engine.engine import Engine
from agentd.gateway.engine.forks import point_of
from agentd.gateway.http.errors import ApiError
from agentd.gateway.ids import new_id
from agentd.gateway.model.caller import NOBODY, Caller
from agentd.gateway.model.once import Once
from agentd.gateway.model.requests import NewSession, SessionQuery
from agentd.gateway.openai.responses import Responses
from agentd.gateway.openai.said import items_of
from agentd.gateway.openai.wanted import Wanted
from agentd.gateway.store import runs, sessions
from agentd.gateway.store.responses import StoredResponse
from agentd.gateway.store.runs import Stage
from agentd.gateway.store.sessions import StoredSession
from agentd.model.gateway import Scope

BOB = Caller("bob", frozenset({Scope.CHAT}), "bobs")


@pytest.fixture
async def responses(engine: Engine) -> AsyncIterator[Responses]:
    responses = Responses(engine)
    async with responses.running():
        yield responses


def wanted(text: str, model: str | None = "helper", **more: object) -> Wanted:
    return replace(Wanted(model, items_of(text, new_id)), **more)  # type: ignore[arg-type] # fields of it


async def answered(engine: Engine, response: StoredResponse, point: str | None, status: str = "succeeded") -> None:
    """End a response's run, as if its agent had."""
    values = {"status": status, "stage": Stage.RESTING.value, "fork_point": point}
    await engine.database.write(lambda writer: runs.change(writer.connection, response.run_id, **values))


async def stored(engine: Engine, response: StoredResponse) -> StoredSession:
    async with engine.database.read() as connection:
        found = await sessions.find(connection, response.session_id)
    assert found is not None
    return found


async def begins_with(engine: Engine, response: StoredResponse) -> str | None:
    return (await stored(engine, response)).fork_from


def declare(tmp_path: Path, *tables: str) -> None:
    (tmp_path / "jcard.toml").write_text("".join(f"[[agents]]\n{table}\n" for table in tables))


async def refused(responses: Responses, previous: StoredResponse, model: str = "helper") -> str:
    with pytest.raises(ApiError) as caught:
        await responses.create(NOBODY, wanted("on", model, previous=previous.id))
    assert (caught.value.status, caught.value.param) == (400, "previous_response_id")
    assert caught.value.code == "previous_response_not_forkable"
    return str(caught.value)


async def test_the_last_response_is_gone_on_from_and_another_is_forked(engine: Engine, responses: Responses) -> None:
    first = await responses.create(NOBODY, wanted("one"))
    await answered(engine, first, "c@1")
    second = await responses.create(NOBODY, wanted("two", previous=first.id))
    assert second.session_id == first.session_id
    third = await responses.create(NOBODY, wanted("three", previous=first.id, model=None))
    assert third.session_id != first.session_id
    assert (third.model, third.harness) == ("helper", "codex")
    assert await begins_with(engine, third) == "c@1"
    assert (await stored(engine, third)).session.agent == "helper"
    await answered(engine, third, "d@2")
    fourth = await responses.create(NOBODY, wanted("four", previous=third.id))
    assert fourth.session_id == third.session_id
    assert await begins_with(engine, await responses.create(NOBODY, wanted("five", previous=third.id))) == "d@2"


async def test_of_two_at_once_one_goes_on_and_the_other_forks(engine: Engine, responses: Responses) -> None:
    first = await responses.create(NOBODY, wanted("one"))
    await answered(engine, first, "c@1")
    two = await asyncio.gather(*(responses.create(NOBODY, wanted(each, previous=first.id)) for each in "ab"))
    assert sorted([await begins_with(engine, each) or "" for each in two]) == ["", "c@1"]


async def test_a_closed_conversation_is_forked(engine: Engine, responses: Responses) -> None:
    first = await responses.create(NOBODY, wanted("one"))
    await answered(engine, first, "c@1")
    await engine.sessions.close(NOBODY, first.session_id)
    assert await begins_with(engine, await responses.create(NOBODY, wanted("two", previous=first.id))) == "c@1"


async def test_what_the_agent_never_had_is_in_no_fork(engine: Engine, responses: Responses) -> None:
    first = await responses.create(NOBODY, wanted("one"))
    await answered(engine, first, "c@1")
    second = await responses.create(NOBODY, wanted("two", previous=first.id))
    await answered(engine, second, None, "canceled")
    await responses.create(NOBODY, wanted("three", previous=second.id))
    fork = await responses.create(NOBODY, wanted("four", previous=second.id))
    assert await begins_with(engine, fork) == "c@1"
    await answered(engine, fork, None, "failed")
    await responses.create(NOBODY, wanted("five", previous=fork.id))
    assert await begins_with(engine, await responses.create(NOBODY, wanted("six", previous=fork.id))) == "c@1"


async def test_a_conversation_object_is_left_alone(engine: Engine, responses: Responses) -> None:
    made = await responses.conversations.create(NOBODY, {}, [])
    first = await responses.create(NOBODY, wanted("one", conversation=made.id))
    await answered(engine, first, "c@1")
    fork = await responses.create(NOBODY, wanted("aside", previous=first.id))
    assert await begins_with(engine, fork) == "c@1"
    second = await responses.create(NOBODY, wanted("two", conversation=made.id))
    assert second.session_id == first.session_id


async def test_a_fork_is_its_makers_and_made_once(engine: Engine, responses: Responses) -> None:
    first = await responses.create(BOB, wanted("one"))
    await answered(engine, first, "c@1")
    await responses.create(BOB, wanted("two", previous=first.id))
    once = Once("bobs", "POST /v1/responses", "key", "fingerprint")
    fork = await responses.create(BOB, wanted("three", previous=first.id), once)
    assert (await stored(engine, fork)).session.owner == "bob"
    recorded = await engine.answers.recall(once)
    assert recorded is not None
    assert fork.run_id in recorded.body.decode()


async def test_a_fork_that_nothing_can_follow_is_closed_when_it_is_over(engine: Engine, responses: Responses) -> None:
    first = await responses.create(NOBODY, wanted("one"))
    await answered(engine, first, "c@1")
    for text, alone in (("two", False), ("three", True)):
        made = await responses.create(NOBODY, wanted(text, previous=first.id, stored=False))
        assert made.alone is alone, "what goes on in a conversation leaves that open"


async def test_what_cannot_be_forked_says_why(engine: Engine, responses: Responses, tmp_path: Path) -> None:
    first = await responses.create(NOBODY, wanted("one"))
    second = await responses.create(NOBODY, wanted("two", previous=first.id))
    assert "under way" in await refused(responses, first)
    await answered(engine, first, None)
    assert "not known where" in await refused(responses, first)
    await answered(engine, first, "c@1")
    assert "the model asked for is another" in await refused(responses, first, model="other")
    with pytest.raises(ApiError) as hidden:
        await responses.create(BOB, wanted("on", previous=first.id))
    assert hidden.value.code == "previous_response_not_found"
    declare(tmp_path, 'name = "helper"\nharness = "claude-code"')
    assert "runs claude-code now" in await refused(responses, first)
    declare(tmp_path, 'name = "other"\nharness = "codex"')
    assert "no agent helper" in await refused(responses, first)
    assert second.session_id == first.session_id
    assert len((await engine.sessions.list(NOBODY, SessionQuery())).sessions) == 1


async def test_the_own_conversation_of_an_agent_is_not_forked(engine: Engine, responses: Responses) -> None:
    first = await responses.create(NOBODY, wanted("one", model="helper:main"))
    await answered(engine, first, "c@1")
    await responses.create(NOBODY, wanted("two", model="helper:main", previous=first.id))
    assert "own conversation of helper" in await refused(responses, first, model="helper:main")


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ('harness = "gemini-cli"', "gemini-cli cannot fork"),
        ('harness = "custom"\ncommand = ["agent"]', "custom cannot fork"),
        ('harness = "opencode"\nrepo = "/some/repo"\nisolation = "worktree"', "forks only in the same folder"),
        ('harness = "opencode"', None),
        ('harness = "codex"\nrepo = "/some/repo"\nisolation = "worktree"', None),
    ],
)
async def test_a_harness_forks_as_far_as_it_can(
    engine: Engine, responses: Responses, tmp_path: Path, table: str, reason: str | None
) -> None:
    declare(tmp_path, f'name = "it"\n{table}')
    first = await responses.create(NOBODY, wanted("one", "it"))
    await answered(engine, first, "c@1")
    await responses.create(NOBODY, wanted("two", "it", previous=first.id))
    if reason is None:
        fork = await responses.create(NOBODY, wanted("three", "it", previous=first.id))
        assert await begins_with(engine, fork) == "c@1"
    else:
        assert reason in await refused(responses, first, model="it")


async def test_the_point_of_a_fork_is_what_a_jcard_can_say(engine: Engine, responses: Responses) -> None:
    made = await responses.create(NOBODY, wanted("one"))
    session = await stored(engine, made)
    async with engine.database.read() as connection:
        run = await runs.find(connection, made.run_id)
    assert run is not None
    begun = replace(run, turn_id="t-1")
    assert point_of(session, run, "c") is None
    assert point_of(session, begun, "c") == "c@t-1"
    assert point_of(session, begun, "no id") is None
    main = await engine.sessions.create(NOBODY, NewSession(agent="helper", main=True))
    assert point_of(replace(session, session=main, own=False), begun, "c") is None
