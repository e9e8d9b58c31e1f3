"""No statement looks through a whole table, however much is remembered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from agentd.gateway.engine.engine import Engine
from agentd.gateway.engine.runs import resolve
from agentd.gateway.engine.taking import Taken, progress_of, take
from agentd.gateway.model.caller import NOBODY, Caller
from agentd.gateway.model.follow import Told
from agentd.gateway.model.objects import EventType
from agentd.gateway.model.once import Once
from agentd.gateway.model.requests import NewChild, NewMessage, NewSession, RunQuery, SessionQuery
from agentd.gateway.model.states import RunStatus, SessionStatus
from agentd.gateway.store.sqlite import Sqlite
from agentd.model.gateway import Scope

ALICE = Caller("alice", frozenset({Scope.CHAT}), "a")

_WHOLE = re.compile(r"SCAN (?:events|runs|messages|sessions|requests|idempotency)(?! USING)")

_OF_ONE = re.compile(r"events\.(?:session_id|owner) = ")
"""In a statement that must not look through the events of others."""


@contextmanager
def statements(engine: Engine) -> Iterator[dict[str, object]]:
    """Note each kind of statement, with values that it was executed with."""
    backend = engine.database._backend
    assert isinstance(backend, Sqlite)
    found: dict[str, object] = {}

    def note(*args: object) -> None:
        _, _, statement, parameters, *_ = args
        found[str(statement)] = parameters

    for each in (backend._writing, backend._reading):
        event.listen(each, "before_cursor_execute", note)
    yield found
    for each in (backend._writing, backend._reading):
        event.remove(each, "before_cursor_execute", note)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_every_statement_finds_its_rows_by_an_index(engine: Engine) -> None:
    with statements(engine) as found:
        made = await engine.sessions.create(ALICE, NewSession(agent="helper"))
        once = Once("t", "r", "k", "f")
        run = (await engine.sessions.send_message(ALICE, made.id, NewMessage("hello"), once)).run
        assert run is not None
        await engine.family.spawn_from_run(ALICE, run.id, NewChild("do it"))
        for caller in (ALICE, NOBODY):
            await engine.sessions.list(caller, SessionQuery(status=SessionStatus.OPEN, agent="helper", cursor="z"))
            await engine.sessions.list(caller, SessionQuery())
            await engine.runs.list(caller, RunQuery())
            await engine.runs.list(caller, RunQuery(session_id=made.id, status=RunStatus.QUEUED, cursor="z"))
            await anext(engine.happenings.follow(caller, None, 0))
        await engine.happenings.page(ALICE, made.id)
        await engine.sessions.get(ALICE, made.id)
        await engine.status.diagnose(ALICE, run.id)
        await engine.status.daemon()
        told = [Told(EventType.RUN_OUTPUT, {"text": "x", "message": 0})]
        await engine.database.write(lambda writer: take(writer, run.id, Taken(told, 1, None), 0.0))
        await engine.database.write(lambda writer: resolve(writer, run.id, "r", "allow", 0.0))
        async with engine.database.read() as connection:
            await progress_of(connection, run.id)
        await engine._scheduler._start()
        await engine._housekeeping.withdraw_idle()
        await engine._housekeeping.forget()
        await engine.runs.cancel(ALICE, run.id)
        await engine.sessions.close(ALICE, made.id)
    backend = engine.database._backend
    assert isinstance(backend, Sqlite)
    explained = 0
    with backend._reading.connect() as connection:
        for statement, parameters in found.items():
            if statement.startswith(("SELECT", "UPDATE", "DELETE")):
                rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[arg-type]
                plan = "\n".join(str(row.detail) for row in rows)
                assert not _WHOLE.search(plan), f"{statement}\n{plan}"
                assert not ("rowid>" in plan and _OF_ONE.search(statement)), f"{statement}\n{plan}"
                explained += 1
    assert explained > 25
