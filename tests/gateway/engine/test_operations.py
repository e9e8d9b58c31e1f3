"""What clients may do, on both databases: whole or absent, once, and with their own alone."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from agentd.gateway.engine.engine import Engine
from agentd.gateway.model.caller import NOBODY, Caller
from agentd.gateway.model.errors import (
    GatewayError,
    InvalidRequestError,
    InvalidTransitionError,
    KeyTakenError,
    NoParentError,
    NotFoundError,
    NotTheLastRunError,
    QueueFullError,
)
from agentd.gateway.model.objects import Event, EventType, RequestKind, Role, Run
from agentd.gateway.model.once import Once
from agentd.gateway.model.requests import NewChild, NewMessage, NewSession, RunQuery, SessionQuery
from agentd.gateway.model.states import RunStatus
from agentd.gateway.store.database import Writer
from agentd.model.gateway import Scope

ALICE = Caller("alice", frozenset({Scope.CHAT}), "a")
BOB = Caller("bob", frozenset({Scope.CHAT}), "b")

HELPER = NewSession(agent="helper")

IN_ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""Of a test that touches no database."""


async def queued(engine: Engine, session_id: str, text: str = "hello") -> Run:
    sent = await engine.sessions.send_message(NOBODY, session_id, NewMessage(text))
    assert sent.run is not None
    return sent.run


async def all_events(engine: Engine, session_id: str) -> list[Event]:
    return [*(await engine.happenings.page(NOBODY, session_id, 0, 1000)).events]


async def test_a_session_is_listed_shown_and_closed(engine: Engine) -> None:
    made = [await engine.sessions.create(NOBODY, NewSession(agent=name)) for name in ("helper", "other", "helper")]
    page = await engine.sessions.list(NOBODY, SessionQuery(limit=2))
    assert [each.id for each in page.sessions] == sorted((each.id for each in made), reverse=True)[:2]
    rest = await engine.sessions.list(NOBODY, SessionQuery(limit=2, cursor=page.next_cursor))
    assert len(rest.sessions) == 1
    assert rest.next_cursor is None
    assert len((await engine.sessions.list(NOBODY, SessionQuery(agent="helper"))).sessions) == 2
    run = await queued(engine, made[0].id)
    assert (await engine.sessions.get(NOBODY, made[0].id)).queued_runs == (run,)
    assert (await engine.sessions.close(NOBODY, made[0].id)).status == "closed"
    assert (await engine.sessions.close(NOBODY, made[0].id)).status == "closed"
    assert (await engine.runs.get(NOBODY, run.id)).status is RunStatus.CANCELED
    with pytest.raises(InvalidTransitionError, match="is closed"):
        await queued(engine, made[0].id)


async def test_texts_come_back_as_they_were_sent(engine: Engine) -> None:
    made = await engine.sessions.create(NOBODY, HELPER)
    text = "tab\t, \x01, \U0001f600, \u2028 and 'quotes' \"two\" \\ " + "x" * 200_000
    run = await queued(engine, made.id, text)
    assert (await engine.runs.get(NOBODY, run.id)).prompt == text
    message = next(
        event for event in await all_events(engine, made.id) if event.event_type is EventType.MESSAGE_CREATED
    )
    assert message.data["text"] == text


@IN_ONE
@pytest.mark.parametrize("text", ["", " \n", "a\0b", "half \ud800"])
async def test_what_cannot_be_said_is_refused(engine: Engine, text: str) -> None:
    made = await engine.sessions.create(NOBODY, HELPER)
    with pytest.raises(InvalidRequestError, match="text: "):
        await queued(engine, made.id, text)


async def test_the_order_of_the_queue_is_that_of_the_messages(engine: Engine) -> None:
    one, two = [await engine.sessions.create(NOBODY, HELPER) for _ in range(2)]
    runs = [await queued(engine, each.id) for each in (one, two, one, two)]
    positions = [(await engine.status.diagnose(NOBODY, run.id)).diagnostics.queue_position for run in runs]
    assert positions == [1, 2, 3, 4]


async def test_a_full_queue_takes_no_more(engine: Engine) -> None:
    made = await engine.sessions.create(NOBODY, HELPER)
    first, *_ = [await queued(engine, made.id) for _ in range(50)]
    with pytest.raises(QueueFullError, match="50 runs wait already"):
        await queued(engine, made.id)
    await engine.runs.cancel(NOBODY, first.id)
    await queued(engine, made.id)


async def test_twenty_requests_with_one_key_have_one_effect(engine: Engine) -> None:
    made = await engine.sessions.create(NOBODY, HELPER)
    once = Once("token", "POST /x", "key", "f")
    message = NewMessage("hello")
    results = await asyncio.gather(
        *(engine.sessions.send_message(NOBODY, made.id, message, once) for _ in range(20)), return_exceptions=True
    )
    (sent,) = [each for each in results if not isinstance(each, KeyTakenError)]
    assert not isinstance(sent, BaseException)
    assert [run.id for run in (await engine.runs.list(NOBODY, RunQuery())).runs] == [sent.run and sent.run.id]
    recorded = await engine.answers.recall(once)
    assert recorded is not None
    assert (recorded.status, json.loads(recorded.body)) == (201, sent.json())
    assert await engine.answers.recall(Once("token", "POST /x", "other", "f")) is None
    with pytest.raises(KeyTakenError):
        await engine.answers.remember(once, 200, b"{}")


async def test_what_fails_leaves_nothing_behind(engine: Engine) -> None:
    made = await engine.sessions.create(NOBODY, HELPER)
    before = await all_events(engine, made.id)

    async def also(_writer: Writer, _run: Run) -> None:
        raise QueueFullError("not this one", 1)

    with pytest.raises(QueueFullError):
        await engine.sessions.send_message(NOBODY, made.id, NewMessage("hello"), Once("t", "r", "k", "f"), also)
    assert await all_events(engine, made.id) == before
    assert await engine.answers.recall(Once("t", "r", "k", "f")) is None


async def test_a_message_can_insist_on_the_last_run(engine: Engine) -> None:
    made = await engine.sessions.create(NOBODY, HELPER)
    first, second = await queued(engine, made.id), await queued(engine, made.id)
    with pytest.raises(NotTheLastRunError) as caught:
        await engine.sessions.send_message(NOBODY, made.id, NewMessage("x", expect_last_run=first.id))
    assert caught.value.newest == second.id
    await engine.sessions.send_message(NOBODY, made.id, NewMessage("x", expect_last_run=second.id))


async def test_only_a_users_message_makes_a_run(engine: Engine) -> None:
    made = await engine.sessions.create(NOBODY, HELPER)
    for role in (Role.ASSISTANT, Role.SYSTEM, Role.PARENT, Role.CHILD):
        assert (await engine.sessions.send_message(NOBODY, made.id, NewMessage("x", role))).run is None


async def test_somebody_elses_object_does_not_exist(engine: Engine) -> None:
    made = await engine.sessions.create(ALICE, HELPER)
    run = (await engine.sessions.send_message(ALICE, made.id, NewMessage("hello"))).run
    assert run is not None
    assert made.owner == "alice"
    tries = [
        engine.sessions.get(BOB, made.id),
        engine.sessions.close(BOB, made.id),
        engine.sessions.send_message(BOB, made.id, NewMessage("x")),
        engine.sessions.send(BOB, made.id, "x"),
        engine.sessions.create_run(BOB, made.id, "x"),
        engine.runs.get(BOB, run.id),
        engine.runs.list(BOB, RunQuery(session_id=made.id)),
        engine.runs.wait(BOB, run.id, 0),
        engine.runs.transition(BOB, run.id, RunStatus.CANCELED),
        engine.runs.cancel(BOB, run.id),
        engine.runs.answer(BOB, run.id, "x", "allow"),
        engine.family.spawn_from_run(BOB, run.id, NewChild("x")),
        engine.family.spawn_from_session(BOB, made.id, NewChild("x")),
        engine.family.reply_parent(BOB, run.id, "x", RequestKind.INFO),
        engine.happenings.page(BOB, made.id),
        anext(engine.happenings.follow(BOB, made.id, 0)),
        engine.status.diagnose(BOB, run.id),
    ]
    for each in tries:
        with pytest.raises(NotFoundError):
            await each
    own = await engine.sessions.create(BOB, HELPER)
    with pytest.raises(NotFoundError):
        await engine.sessions.send(BOB, own.id, "x", from_run_id=run.id)
    assert [each.id for each in (await engine.sessions.list(BOB, SessionQuery())).sessions] == [own.id]
    assert not (await engine.runs.list(BOB, RunQuery())).runs
    assert (await anext(engine.happenings.follow(BOB, None, 0))).session_id == own.id
    assert (await engine.runs.get(NOBODY, run.id)).status is RunStatus.QUEUED


@IN_ONE
@pytest.mark.parametrize(
    ("wanted", "error", "words"),
    [
        (NewSession(agent="nobody"), NotFoundError, "there is no agent nobody"),
        (NewSession(), InvalidRequestError, "agent: missing, expected one of helper, other"),
        (NewSession(harness="codex"), InvalidRequestError, "workdir: missing"),
        (NewSession(harness="cobol", workdir="/"), InvalidRequestError, "harness: found cobol, expected one of"),
        (NewSession(harness="custom", workdir="/"), InvalidRequestError, "harness: found custom"),
        (NewSession(harness="codex", workdir="/"), InvalidRequestError, "workdir: / is in none of the folders"),
        (NewSession(harness="codex", workdir="x"), InvalidRequestError, "workdir: x: expected an absolute path"),
        (NewSession(agent="helper", harness="codex"), InvalidRequestError, "expected agent or harness"),
        (NewSession(agent="helper", main=True, workdir="/"), InvalidRequestError, "workdir"),
        (NewSession(harness="codex", main=True, workdir="/"), InvalidRequestError, "main"),
    ],
)
async def test_a_session_that_cannot_be_is_refused(
    engine: Engine, wanted: NewSession, error: type[GatewayError], words: str
) -> None:
    with pytest.raises(error, match=words):
        await engine.sessions.create(NOBODY, wanted)


async def test_an_ad_hoc_session_stays_in_the_folders_that_are_allowed(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "out").symlink_to("/usr")
    made = await engine.sessions.create(NOBODY, NewSession(harness="codex", workdir=str(tmp_path / "inside")))
    assert (made.agent, made.workdir) == (None, str((tmp_path / "inside").resolve()))
    for path, words in (("out", "is in none"), ("missing", "there is no such folder"), ("inside/../..", "is in none")):
        with pytest.raises(InvalidRequestError, match=words):
            await engine.sessions.create(NOBODY, NewSession(harness="codex", workdir=str(tmp_path / path)))


async def test_transitions_are_those_of_the_contract(engine: Engine) -> None:
    made = await engine.sessions.create(NOBODY, HELPER)
    run = await queued(engine, made.id)
    for to in set(RunStatus) - {RunStatus.CANCELED}:
        with pytest.raises(InvalidTransitionError):
            await engine.runs.transition(NOBODY, run.id, to)
    canceled = await engine.runs.transition(NOBODY, run.id, RunStatus.CANCELED, "not needed")
    assert canceled.error is not None
    assert (canceled.status, canceled.error.message) == (RunStatus.CANCELED, "not needed")
    for to in RunStatus:
        with pytest.raises(InvalidTransitionError):
            await engine.runs.transition(NOBODY, run.id, to)
    assert (await engine.runs.cancel(NOBODY, run.id)).run == canceled
    waited = await engine.runs.wait(NOBODY, run.id, 10)
    assert (waited.run, waited.timed_out) == (canceled, False)


async def test_a_wait_ends_with_the_run(engine: Engine) -> None:
    made = await engine.sessions.create(NOBODY, HELPER)
    run = await queued(engine, made.id)
    waiting = asyncio.create_task(engine.runs.wait(NOBODY, run.id, 30))
    await asyncio.sleep(0)
    await engine.runs.cancel(NOBODY, run.id)
    assert (await waiting).run.status is RunStatus.CANCELED
    assert (await engine.runs.wait(NOBODY, (await queued(engine, made.id)).id, 0)).timed_out


async def test_a_child_is_its_parents(engine: Engine) -> None:
    parent = await engine.sessions.create(ALICE, HELPER)
    spawned = await engine.family.spawn_from_session(ALICE, parent.id, NewChild("do it", agent="other"))
    child = spawned.session
    assert (child.agent, child.parent_session_id, child.owner) == ("other", parent.id, "alice")
    assert (spawned.message.role, spawned.message.text) == (Role.PARENT, "do it")
    reply = await engine.family.reply_parent(ALICE, spawned.run.id, "fyi", RequestKind.INFO)
    assert reply.message.session_id == parent.id
    assert [each.event_type for each in await all_events(engine, parent.id)] == [
        EventType.SESSION_CREATED,
        EventType.CHILD_SPAWNED,
        EventType.MESSAGE_CREATED,
        EventType.PARENT_REQUEST,
    ]
    with pytest.raises(InvalidTransitionError):
        await engine.family.reply_parent(ALICE, spawned.run.id, "may I?", RequestKind.QUESTION)
    await engine.runs.cancel(ALICE, spawned.run.id)
    late = await engine.family.reply_parent(ALICE, spawned.run.id, "might I have?", RequestKind.QUESTION)
    assert (late.message.session_id, late.message.text) == (parent.id, "might I have?")
    assert (await engine.runs.get(ALICE, spawned.run.id)).status is RunStatus.CANCELED
    run = await queued(engine, parent.id)
    with pytest.raises(NoParentError):
        await engine.family.reply_parent(ALICE, run.id, "x", RequestKind.INFO)


async def test_followers_see_every_event_once_and_in_order(engine: Engine) -> None:
    sessions = [await engine.sessions.create(caller, HELPER) for caller in (ALICE, BOB)]
    seen: dict[str, list[Event]] = {}

    async def follow(name: str, caller: Caller, session_id: str | None, pause: int) -> None:
        seen[name] = []
        async for event in engine.happenings.follow(caller, session_id, 0):
            seen[name].append(event)
            for _ in range(pause):
                await asyncio.sleep(0)
            if event.data.get("text") == f"last of {event.session_id}" and (session_id or caller is not NOBODY):
                return
            if name == "all" and len([each for each in seen[name] if "last" in str(each.data.get("text"))]) == 2:
                return

    async def talk(caller: Caller, session_id: str) -> None:
        for number in range(40):
            await engine.sessions.send_message(caller, session_id, NewMessage(f"{number}", Role.SYSTEM))
        await engine.sessions.send_message(caller, session_id, NewMessage(f"last of {session_id}", Role.SYSTEM))

    one, two = sessions
    async with asyncio.timeout(30):
        followers = [
            asyncio.create_task(follow("one", ALICE, one.id, 0)),
            asyncio.create_task(follow("slow", ALICE, one.id, 20)),
            asyncio.create_task(follow("alice", ALICE, None, 0)),
            asyncio.create_task(follow("all", NOBODY, None, 3)),
        ]
        await asyncio.gather(talk(ALICE, one.id), talk(BOB, two.id), *followers)
    of_one, of_two = await all_events(engine, one.id), await all_events(engine, two.id)
    assert seen["one"] == seen["slow"] == seen["alice"] == of_one
    assert seen["all"] == sorted([*of_one, *of_two], key=lambda event: event.cursor)


async def test_events_are_read_in_pages(engine: Engine) -> None:
    made = await engine.sessions.create(NOBODY, HELPER)
    for _ in range(3):
        await queued(engine, made.id)
    everything = await all_events(engine, made.id)
    found: list[Event] = []
    cursor, more = 0, True
    while more:
        page = await engine.happenings.page(NOBODY, made.id, cursor, 3)
        found += page.events
        cursor, more = page.next_cursor, page.has_more
    assert found == everything
    empty = await engine.happenings.page(NOBODY, made.id, cursor, 3)
    assert (empty.events, empty.next_cursor, empty.has_more) == ((), cursor, False)
    assert await engine.happenings.last_cursor() == cursor
