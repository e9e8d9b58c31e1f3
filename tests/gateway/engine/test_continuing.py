"""What a parent says to a run that its agent is still at, on both databases: kept, in order, and told once."""

from __future__ import annotations

from agentd.gateway.engine.engine import Engine
from agentd.gateway.engine.steps import End
from agentd.gateway.engine.taking import Taken, progress_of, take
from agentd.gateway.model.caller import NOBODY
from agentd.gateway.model.follow import Asked, Began, Change, Progress, Told
from agentd.gateway.model.objects import EventType, RequestKind
from agentd.gateway.model.requests import NewChild, NewSession
from agentd.gateway.model.states import RunStatus
from agentd.gateway.store import requests, runs
from agentd.gateway.store.runs import Stage, StoredRun


def delivery(stored: StoredRun) -> tuple[object, ...]:
    return stored.delivery_id, stored.delivery_text, stored.turn_id, stored.stage, stored.status


class Child:
    """A child's run, at work, and what agentd tells of it."""

    def __init__(self, engine: Engine, run_id: str, session_id: str) -> None:
        self.engine, self.run_id, self.session_id = engine, run_id, session_id

    @classmethod
    async def spawn(cls, engine: Engine) -> Child:
        parent = await engine.sessions.create(NOBODY, NewSession(agent="helper"))
        spawned = await engine.family.spawn_from_session(NOBODY, parent.id, NewChild("do it"))
        await engine._scheduler._start()
        return cls(engine, spawned.run.id, spawned.session.id)

    async def stored(self) -> StoredRun:
        async with self.engine.database.read() as connection:
            found = await runs.find(connection, self.run_id)
        assert found is not None
        return found

    async def ask(self) -> None:
        await self.engine.family.reply_parent(NOBODY, self.run_id, "may I?", RequestKind.QUESTION)

    async def hear(self, text: str) -> str:
        sent = await self.engine.sessions.send(NOBODY, self.session_id, text, None)
        assert sent.run is not None
        assert sent.run.id == self.run_id
        return sent.message.id

    async def told(self, *changes: Change, end: End | None = None) -> StoredRun:
        taken = Taken(changes, 1, (await self.stored()).delivery_id, end)
        after = await self.engine.database.write(lambda writer: take(writer, self.run_id, taken, 0.0))
        stored = await self.stored()
        assert after is not None
        assert delivery(after) == delivery(stored)
        return stored

    async def ends(self, answer: str) -> StoredRun:
        return await self.told(end=End(RunStatus.SUCCEEDED, result_text=answer))


async def test_an_answer_waits_for_the_turn_before_it(engine: Engine) -> None:
    child = await Child.spawn(engine)
    await child.ask()
    first = await child.hear("you may")
    await child.ask()
    second = await child.hear("you must")
    assert delivery(await child.stored()) == (child.run_id, "do it", None, Stage.WORKING, RunStatus.RUNNING)
    # Only now agentd tells that the agent has its task.
    assert (await child.told(Began("t1"))).turn_id == "t1"
    assert delivery(await child.ends("1")) == (first, "you may", None, Stage.WORKING, RunStatus.RUNNING)
    await child.told(Began("t2"))
    await child.ask()
    assert delivery(await child.ends("2")) == (second, "you must", None, Stage.WORKING, RunStatus.AWAITING_PARENT)
    assert delivery(await child.ends("3")) == (None, None, None, Stage.RESTING, RunStatus.AWAITING_PARENT)
    third = await child.hear("once more")
    assert delivery(await child.stored()) == (third, "once more", None, Stage.WAITING, RunStatus.RUNNING)
    await engine._scheduler._start()
    ended = await child.ends("4")
    assert (ended.status, ended.run.result_text, ended.stage) == (RunStatus.SUCCEEDED, "4", Stage.RESTING)


async def test_an_answer_to_the_harness_is_not_said_to_the_agent(engine: Engine) -> None:
    child = await Child.spawn(engine)
    await child.told(Began("t1"), Asked("r1", question=True, name="", text="Which?", choices=()))
    await child.hear("Blue")
    ended = await child.ends("Blue, then")
    assert (ended.status, ended.run.result_text) == (RunStatus.SUCCEEDED, "Blue, then")


async def test_what_was_asked_in_a_turn_that_is_over_is_not_answered_by_what_is_said_later(engine: Engine) -> None:
    child = await Child.spawn(engine)
    await child.ask()
    said = await child.hear("you may")
    await child.told(Began("t1"), Asked("r1", question=False, name="Bash", text="ls", choices=()))
    assert delivery(await child.ends("1")) == (said, "you may", None, Stage.WORKING, RunStatus.RUNNING)
    async with engine.database.read() as connection:
        assert await requests.waiting(connection, child.run_id) == []


async def test_each_turn_of_a_run_has_an_answer_of_its_own(engine: Engine) -> None:
    child = await Child.spawn(engine)
    progress = Progress(0, "first").next_turn()
    assert (progress, progress.result) == (Progress(1), None)
    assert Progress(1, "", "first").next_turn() == Progress(1)
    await child.told(*(Told(EventType.RUN_OUTPUT, {"text": text, "message": of}) for text, of in (("a", 0), ("b", 1))))
    async with engine.database.read() as connection:
        assert await progress_of(connection, child.run_id) == Progress(1, "b")
