"""What is read of OpenCode's database, made with its tables as far as they count."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agentd.turns.events import Ended, Failure, Outcome, Usage
from agentd.turns.opencode.record import OpenCodeRecord
from agentd.turns.reading import Reading
from tests.turns.claude_run import me, wall
from tests.turns.opencode_run import said_of, watched

TABLES = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE session (id text PRIMARY KEY, parent_id text, directory text NOT NULL,
        time_created integer NOT NULL, time_updated integer NOT NULL);
    CREATE TABLE message (id text PRIMARY KEY, session_id text NOT NULL, time_created integer NOT NULL,
        data text NOT NULL);
    CREATE TABLE part (id text PRIMARY KEY, message_id text NOT NULL, session_id text NOT NULL,
        time_created integer NOT NULL, data text NOT NULL);
"""
BORN = 1_795_000_000.0
TOKENS = {"input": 10, "output": 5, "cache": {"read": 1, "write": 2}}


@dataclass
class Kept:
    """A database that OpenCode has open."""

    path: Path
    open: sqlite3.Connection
    at: int = field(default=round(BORN * 1000))

    def session(self, name: str, parent: str | None = None, directory: str = "/w") -> None:
        self.at += 1000
        self.open.execute("INSERT INTO session VALUES (?, ?, ?, ?, ?)", (name, parent, directory, self.at, self.at))
        self.open.commit()

    def message(self, session: str, role: str, *parts: dict[str, object], **info: object) -> None:
        self.at += 1000
        name = f"msg_{self.at}"
        data = {"role": role, "time": {"created": self.at, "completed": self.at}, **info}
        self.open.execute("INSERT INTO message VALUES (?, ?, ?, ?)", (name, session, self.at, json.dumps(data)))
        for number, part in enumerate(parts):
            row = (f"prt_{self.at}_{number}", name, session, self.at, json.dumps(part))
            self.open.execute("INSERT INTO part VALUES (?, ?, ?, ?, ?)", row)
        self.open.execute("UPDATE session SET time_updated = ? WHERE id = ?", (self.at, session))
        self.open.commit()

    def record(self, born: float = BORN) -> OpenCodeRecord:
        return OpenCodeRecord(self.path, "/w", born, Reading(me()))


def text(said: str, **more: object) -> dict[str, object]:
    return {"type": "text", "text": said, **more}


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    path = tmp_path / "opencode" / "opencode.db"
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.executescript(TABLES)
    yield Kept(path, connection)
    connection.close()


def one_turn(kept: Kept, session: str) -> None:
    kept.session(session)
    kept.message(session, "user", text("go"), text("a file", synthetic=True))
    kept.message(session, "assistant", {"type": "tool", "tool": "bash"}, text("let me see"), tokens=TOKENS)
    kept.message(session, "assistant", text("done", time={"end": 1}), text(", and well"), tokens=TOKENS, cost=0.5)


def test_the_turn_of_a_run_is_told_while_others_have_the_database_open(kept: Kept) -> None:
    kept.session("ses_0")
    kept.message("ses_0", "user", text("before"))
    born = kept.at / 1000 + 0.5
    one_turn(kept, "ses_1")
    kept.session("ses_2", parent="ses_1")
    kept.session("ses_3", directory="/elsewhere")
    beside = sorted(each.name for each in kept.path.parent.iterdir())
    used = Usage(10, 5, 1, 2, None)
    told = [*kept.record(born).told()]
    assert told == [used, Usage(10, 5, 1, 2, 0.5), Ended(Outcome.COMPLETED, "done, and well")]
    assert sorted(each.name for each in kept.path.parent.iterdir()) == beside
    kept.open.close()
    assert [*kept.record(born).told()] == told


def test_of_two_conversations_begun_since_nothing_is_told(kept: Kept) -> None:
    one_turn(kept, "ses_1")
    one_turn(kept, "ses_2")
    assert [*kept.record().told()] == []


def test_a_turn_that_was_not_ended_has_no_end(kept: Kept) -> None:
    one_turn(kept, "ses_1")
    kept.message("ses_1", "user", text("and then?"))
    kept.message("ses_1", "assistant", text("well"), time={"created": kept.at})
    assert not any(isinstance(each, Ended) for each in kept.record().told())


def test_an_error_has_its_kind(kept: Kept) -> None:
    kept.session("ses_1")
    kept.message("ses_1", "user", text("go"))
    error = {"name": "APIError", "data": {"statusCode": 401, "message": "who are you?"}}
    kept.message("ses_1", "assistant", error=error)
    assert [*kept.record().told()] == [Ended(Outcome.FAILED, None, Failure.AUTH_ERROR, "who are you?")]


def test_a_message_is_found_by_its_text_and_time(kept: Kept) -> None:
    kept.session("ses_1")
    kept.message("ses_1", "user", text("go on"))
    since = kept.at / 1000 + 0.5
    record = kept.record()
    assert [*record.prompted("go on", since, "ses_1")] == []
    kept.message("ses_1", "user", text("go\n  on"))
    kept.message("ses_1", "assistant", text("yes"))
    assert [each["info"]["role"] for each in record.prompted("go on", since, "ses_1")] == ["user", "assistant"]  # type: ignore[index]
    assert [*record.prompted("go off", since, "ses_1")] == []
    with pytest.raises(OSError, match="does not have the conversation ses_2"):
        record.prompted("go on", since, "ses_2")


def test_what_is_no_database_of_opencode_is_an_error(tmp_path: Path, kept: Kept) -> None:
    record = kept.record()
    one_turn(kept, "ses_1")
    for table in ("part", "message", "session"):
        kept.open.execute(f"DROP TABLE {table}")
        kept.open.commit()
        with pytest.raises(OSError, match="no such table"):
            [*record.told()]
    for name in ("missing", "fifo", "garbage"):
        path = tmp_path / name
        if name == "fifo":
            os.mkfifo(path)
        if name == "garbage":
            path.write_bytes(b"no database\n" * 1000)
        with pytest.raises(OSError, match=r"No such file|regular|not a database"):
            [*OpenCodeRecord(path, "/w", BORN, Reading(me())).told()]


def test_a_database_that_never_answers_is_given_up(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.turns.opencode.record._LIMIT", 0.1)
    kept.open.executescript("""
        DROP TABLE session;
        CREATE VIEW session AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n)
        SELECT id, NULL AS parent_id, '/' || id AS directory, id AS time_created, id AS time_updated FROM n;
    """)
    began = time.monotonic()
    with pytest.raises(OSError, match="interrupted"):
        [*kept.record().told()]
    assert time.monotonic() - began < 30


def test_a_database_that_says_too_much_is_not_read_to_its_end(kept: Kept) -> None:
    kept.session("ses_1")
    for _ in range(17):
        kept.message("ses_1", "user", text("x" * (1 << 20)))
    with pytest.raises(OSError, match="over 16777216 bytes"):
        [*kept.record().told()]


@pytest.mark.parametrize("ended", ["before the message", "in the turn", "after the answer"])
async def test_a_message_that_a_dead_server_may_have_taken_is_settled_by_the_record(
    tmp_path: Path, ended: str, kept: Kept
) -> None:
    kept.session("ses_1", directory=str(tmp_path))
    kept.at = round(1000 * wall())
    async with watched(data=tmp_path) as (server, watch, adapter):
        server.answers["/session"] = {"id": "ses_1"}
        server.cut_off = "/session/ses_1/prompt_async"
        await adapter.deliver("go")
        if ended != "before the message":
            kept.message("ses_1", "user", text("go"))
        if ended == "after the answer":
            kept.message("ses_1", "assistant", text("done", time={"end": 1}), tokens=TOKENS)
        assert await watch.settle("go", wall() - 60) is (ended != "before the message")
        await watch.end(succeeded=False)
        last = watch.conversation.last
        if ended == "before the message":
            assert last is None
        else:
            assert last is not None
            outcome, answer = ("lost", None) if ended == "in the turn" else ("completed", "done")
            assert said_of(last) == ("go", outcome, answer)


async def test_where_the_record_cannot_be_read_nothing_is_known(tmp_path: Path) -> None:
    async with watched(data=tmp_path) as (server, watch, adapter):
        server.answers["/session"] = {"id": "ses_1"}
        await adapter.deliver("go")
        assert await watch.settle("go", wall() - 60) is None
