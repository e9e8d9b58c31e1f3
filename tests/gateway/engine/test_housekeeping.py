"""What is done from time to time: agents withdrawn and renewed, what is old forgotten."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from agentd.gateway.engine.engine import Engine
from agentd.gateway.engine.housekeeping import Housekeeping
from agentd.gateway.engine.manager import Manager
from agentd.gateway.model.caller import NOBODY
from agentd.gateway.model.errors import AgentNotReadyError, NotFoundError
from agentd.gateway.model.objects import Session
from agentd.gateway.model.once import Once
from agentd.gateway.model.requests import NewMessage, NewSession, RunQuery
from agentd.gateway.model.states import RunStatus
from agentd.gateway.store import schema, sessions
from agentd.gateway.store.sessions import StoredSession

DAY = 86400.0


def in_days(engine: Engine, days: float) -> Housekeeping:
    """What keeps order, so many days later."""
    core, now = engine._core, engine._core.wall()
    later = replace(core, wall=lambda: now + days * DAY)
    return Housekeeping(later, engine._agents, Manager(later))


async def make(engine: Engine, text: str = "hello") -> tuple[Session, str]:
    made = await engine.sessions.create(NOBODY, NewSession(agent="helper"))
    run = (await engine.sessions.send_message(NOBODY, made.id, NewMessage(text), Once("t", "r", made.id, "f"))).run
    assert run is not None
    return made, run.id


async def stored(engine: Engine, session_id: str) -> StoredSession:
    async with engine.database.read() as connection:
        found = await sessions.find(connection, session_id)
    assert found is not None
    return found


async def test_closed_sessions_are_forgotten_with_all_that_is_theirs_and_open_ones_events(engine: Engine) -> None:
    (closed, _), (kept, run_id) = await make(engine), await make(engine)
    await engine.sessions.close(NOBODY, closed.id)
    await in_days(engine, 29).forget()
    assert (await engine.happenings.page(NOBODY, closed.id)).events
    await in_days(engine, 31).forget()
    with pytest.raises(NotFoundError):
        await engine.sessions.get(NOBODY, closed.id)
    assert [run.id for run in (await engine.runs.list(NOBODY, RunQuery())).runs] == [run_id]
    assert not (await engine.happenings.page(NOBODY, kept.id)).events
    async with engine.database.read() as connection:
        for table in (schema.RUNS, schema.MESSAGES, schema.EVENTS, schema.IDEMPOTENCY):
            count = (await connection.execute(select(func.count()).select_from(table))).scalar_one()
            assert count == (1 if table in (schema.RUNS, schema.MESSAGES) else 0), table.name


async def test_cursors_are_never_given_twice(engine: Engine) -> None:
    made, _ = await make(engine)
    last = await engine.happenings.last_cursor()
    await in_days(engine, 31).forget()
    await engine.runs.cancel(NOBODY, (await make(engine))[1])
    assert (await engine.happenings.page(NOBODY, made.id, last)).events == ()
    assert await engine.happenings.last_cursor() > last + 1


async def test_answers_to_repeated_requests_are_kept_for_a_day(engine: Engine) -> None:
    made, _ = await make(engine)
    await in_days(engine, 1).forget()
    assert await engine.answers.recall(Once("t", "r", made.id, "f")) is not None
    await in_days(engine, 3).forget()
    assert await engine.answers.recall(Once("t", "r", made.id, "f")) is None


async def test_an_agent_is_declared_renewed_and_withdrawn_once_idle(engine: Engine, tmp_path: Path) -> None:
    made, run_id = await make(engine)
    await engine._agents.ensure(await stored(engine, made.id))
    (file,) = (tmp_path / "jcard.d/gateway").iterdir()
    assert (await stored(engine, made.id)).declared
    os.utime(file, (1, 1))
    await in_days(engine, 0).renew()
    assert file.stat().st_mtime > 1
    # It has something to do.
    await in_days(engine, 1).withdraw_idle()
    assert file.exists()
    await engine.runs.cancel(NOBODY, run_id)
    await in_days(engine, 0).withdraw_idle()
    assert file.exists()
    await in_days(engine, 1).withdraw_idle()
    assert not file.exists()
    assert not (await stored(engine, made.id)).declared


async def test_an_agent_whose_definition_changed_is_declared_anew_and_one_without_is_not(
    engine: Engine, tmp_path: Path
) -> None:
    made, _ = await make(engine)
    await engine._agents.ensure(await stored(engine, made.id))
    jcard = tmp_path / "jcard.toml"
    jcard.write_text('[[agents]]\nname = "helper"\nharness = "codex"\nargs = ["--search"]\n')
    await engine._agents.ensure(await stored(engine, made.id))
    (file,) = (tmp_path / "jcard.d/gateway").iterdir()
    assert "--search" in file.read_text()
    jcard.write_text('[[agents]]\nname = "other"\nharness = "codex"\n')
    with pytest.raises(AgentNotReadyError, match="the agent helper is not declared any more"):
        await engine._agents.ensure(await stored(engine, made.id))


async def test_closing_a_session_withdraws_its_agent(engine: Engine, tmp_path: Path) -> None:
    made, run_id = await make(engine)
    await engine._agents.ensure(await stored(engine, made.id))
    await engine.sessions.close(NOBODY, made.id)
    assert not [*(tmp_path / "jcard.d/gateway").iterdir()]
    assert (await engine.runs.get(NOBODY, run_id)).status is RunStatus.CANCELED


@pytest.mark.parametrize("declared", [False, True], ids=["for the first time", "again"])
async def test_a_session_that_is_closed_meanwhile_gets_no_agent(
    engine: Engine, tmp_path: Path, *, declared: bool
) -> None:
    made, _ = await make(engine)
    if declared:
        await engine._agents.ensure(await stored(engine, made.id))
    as_it_was = await stored(engine, made.id)
    await engine.sessions.close(NOBODY, made.id)
    with pytest.raises(AgentNotReadyError, match="closed"):
        await engine._agents.ensure(as_it_was)
    assert not [*(tmp_path / "jcard.d").rglob("*.toml")]


async def test_an_agent_that_was_withdrawn_meanwhile_is_noted_again(engine: Engine) -> None:
    made, run_id = await make(engine)
    await engine._agents.ensure(await stored(engine, made.id))
    as_it_was = await stored(engine, made.id)
    await engine.runs.cancel(NOBODY, run_id)
    await in_days(engine, 1).withdraw_idle()
    await engine._agents.ensure(as_it_was)
    assert (await stored(engine, made.id)).declared


async def test_a_folder_that_cannot_be_used_keeps_nothing_else_from_being_withdrawn(
    engine: Engine, tmp_path: Path
) -> None:
    bobs = await engine.sessions.create(replace(NOBODY, user="bob"), NewSession(agent="helper"))
    mine, run_id = await make(engine)
    for made in (bobs, mine):
        await engine._agents.ensure(await stored(engine, made.id))
    (tmp_path / "jcard.d/bob").rename(tmp_path / "elsewhere")
    (tmp_path / "jcard.d/bob").symlink_to(tmp_path / "elsewhere")
    await engine.runs.cancel(NOBODY, run_id)
    await in_days(engine, 1).withdraw_idle()
    assert (await stored(engine, bobs.id)).declared
    assert not (await stored(engine, mine.id)).declared
    assert len([*(tmp_path / "elsewhere").iterdir()]) == 1
