"""What managed agents ask to be confirmed, on each kind of database, without agents."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from agentd.api.client.socket import RefusedError
from agentd.api.client.turns import Turns
from agentd.gateway.engine.confirmations import Ask, ask
from agentd.gateway.engine.engine import Engine
from agentd.gateway.model.caller import Caller
from agentd.gateway.model.errors import AgentdUnreachableError, DecidedError, NotFoundError
from agentd.gateway.model.managed import Confirmation, ManagedAgent, ManagedState, SoughtTool, Tools
from agentd.gateway.model.objects import EventType
from agentd.gateway.model.requests import NewSession
from agentd.gateway.store import confirmations, managed
from agentd.gateway.store.database import Writer
from agentd.model.gateway import Scope

ALICE = Caller("alice", frozenset({Scope.AGENTS}), "a")
BOB = Caller("bob", frozenset({Scope.AGENTS}), "b")

DEFINITION: dict[str, Any] = {
    "json_config": {
        "mcp": {
            "servers": {"files": {"tool_calls": [{"name": "delete", "seek_confirm": True, "time_to_confirm": 500}]}}
        },
        "pubsub_enabled": True,
        "pubsub_config": {"backend": "redis", "channel_name": "chat"},
    }
}


class Agentd:
    """Takes answers, or does not."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, str, str]] = []
        self.refuses: Exception | None = None
        self.shown: dict[str, Any] | None = None

    async def answer(self, _turns: Turns, agent: str, request: str, decision: str, _text: str) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.answers.append((agent, request, decision))

    async def show(self, _turns: Turns, _agent: str) -> dict[str, Any] | None:
        return self.shown


@pytest.fixture
def agentd(monkeypatch: pytest.MonkeyPatch) -> Agentd:
    """Stand in for agentd's socket."""
    agentd = Agentd()

    async def answer(turns: Turns, *arguments: str) -> None:
        await agentd.answer(turns, *arguments)

    async def show(turns: Turns, agent: str) -> dict[str, Any] | None:
        return await agentd.show(turns, agent)

    monkeypatch.setattr(Turns, "answer", answer)
    monkeypatch.setattr(Turns, "conversation", show)
    return agentd


async def made(engine: Engine) -> ManagedAgent:
    session = await engine.sessions.create(ALICE, NewSession(agent="helper"))
    agent = ManagedAgent("alice", "Files", "codex", session.id, DEFINITION, enabled=True, state=ManagedState.READY)
    await engine.database.write(lambda writer: managed.add(writer.connection, agent))
    async with engine.database.read() as connection:
        found = await managed.find(connection, "ALICE--files")
        assert [each.name for each in await managed.every(connection, "alice")] == ["Files"]
        assert await managed.every(connection, "bob") == []
    assert found == agent
    assert found.pubsub_config == {"backend": "redis", "channel_name": "chat"}
    return found


async def asked(engine: Engine, agent: ManagedAgent, sought: SoughtTool | None = None) -> Confirmation:
    tool = sought or Tools.of(agent).find("files", "delete")
    assert tool is not None
    wanted = Ask(agent.agent, "7", "use-1", {"path": "/x"})

    async def work(writer: Writer) -> Confirmation:
        return await ask(writer, agent, tool, wanted, engine._core.wall())

    return await engine.database.write(work)


async def said(engine: Engine, agent: ManagedAgent) -> list[tuple[str, Any]]:
    page = await engine.happenings.page(ALICE, agent.session_id)
    return [(event.event_type.value, event.data) for event in page.events if event.event_type.startswith("tool_")]


async def test_the_first_answer_counts(engine: Engine, agentd: Agentd) -> None:
    agent = await made(engine)
    waiting = await asked(engine, agent)
    assert await engine.confirmations.pending(agent.agent) == (waiting,)
    with pytest.raises(NotFoundError):
        await engine.confirmations.confirm(BOB, waiting.id, True)
    with pytest.raises(NotFoundError):
        await engine.confirmations.confirm(ALICE, waiting.id, True, agent="alice--other")
    answers = await asyncio.gather(
        *(engine.confirmations.confirm(ALICE, waiting.id, bool(number % 2)) for number in range(8)),
        return_exceptions=True,
    )
    won = [each for each in answers if isinstance(each, Confirmation)]
    assert len(won) == 1
    assert all(isinstance(each, DecidedError | Confirmation) for each in answers)
    assert agentd.answers == [("alice--Files", "7", "allow" if won[0].confirmed else "deny")]
    (first, request), (second, response) = await said(engine, agent)
    assert (first, second) == ("tool_confirmation_request", "tool_confirmation_response")
    assert request == {
        "request_id": waiting.id,
        "server_name": "files",
        "tool_name": "delete",
        "arguments": {"path": "/x"},
        "timestamp": request["timestamp"],
        "timeout_ms": 500,
        "agent_name": "alice--Files",
    }
    assert response["request_id"] == waiting.id
    assert response["confirmed"] is won[0].confirmed
    assert response["decided_by"] == "user"
    assert await engine.confirmations.pending(agent.agent) == ()


@pytest.mark.parametrize("default", [True, False])
async def test_the_default_counts_once_the_time_is_over(engine: Engine, agentd: Agentd, default: bool) -> None:
    agent = await made(engine)
    await asked(engine, agent, SoughtTool("files", "delete", 0, default))
    running = asyncio.create_task(engine.confirmations.run())
    try:
        async with asyncio.timeout(20):
            async for event in engine.happenings.follow(ALICE, agent.session_id, 0):
                if event.event_type is EventType.TOOL_CONFIRMATION_RESPONSE:
                    break
    finally:
        running.cancel()
    told = await said(engine, agent)
    assert agentd.answers == [("alice--Files", "7", "allow" if default else "deny")]
    assert told[1][1]["confirmed"] is default
    assert told[1][1]["decided_by"] == "default"


async def test_an_answer_that_cannot_be_passed_on_is_passed_on_later(engine: Engine, agentd: Agentd) -> None:
    agent = await made(engine)
    waiting = await asked(engine, agent)
    agentd.refuses = AgentdUnreachableError("it is away")
    taken = await engine.confirmations.confirm(ALICE, waiting.id, True)
    assert (taken.answer, taken.confirmed) == (True, None)
    with pytest.raises(DecidedError):
        await engine.confirmations.confirm(ALICE, waiting.id, False)
    agentd.refuses = None
    await engine.confirmations._step()
    assert agentd.answers == [("alice--Files", "7", "allow")]
    assert (await said(engine, agent))[1][1]["confirmed"] is True


async def test_a_person_at_the_terminal_may_be_the_first(engine: Engine, agentd: Agentd) -> None:
    agent = await made(engine)
    waiting = await asked(engine, agent)
    agentd.refuses = RefusedError(409, "the request is decided already")
    agentd.shown = {"turn": {"id": "t"}, "activity": "working", "requests": []}
    with pytest.raises(DecidedError):
        await engine.confirmations.confirm(ALICE, waiting.id, True)
    async with engine.database.read() as connection:
        found = await confirmations.find(connection, waiting.id)
    assert found == replace(waiting, gone=True)
    assert await engine.confirmations.pending(agent.agent) == ()
    agentd.shown = {"turn": None, "activity": "idle", "requests": []}
    core = engine.confirmations._core
    later = core.wall() + 60
    engine.confirmations._core = replace(core, wall=lambda: later)
    await engine.confirmations._step()
    assert (await said(engine, agent))[1][1]["decided_by"] == "nobody"
