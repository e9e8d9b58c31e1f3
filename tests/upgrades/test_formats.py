"""What former versions of agentd left on disk is read; `formats` has a folder of it for each version of the formats."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from agentd.daemon.port_ledger import PortLedger
from agentd.daemon.schedule_ledger import ScheduleLedger
from agentd.daemon.trigger_ledger import TriggerLedger
from agentd.files.database_format import UNNUMBERED
from agentd.model.spec import AgentSpec
from agentd.model.states import AgentState
from agentd.model.triggers import Delivery
from agentd.recording.journal.database import FORMAT as JOURNAL
from agentd.recording.journal.database import JournalDatabase, JournalError
from agentd.recording.journal.entry import Entry, EventFilter
from agentd.recording.transcripts.run_metadata import parse_metadata
from agentd.supervise import scheduling, triggering
from agentd.supervise.budgets import Account
from agentd.supervise.record import VERSION, Record
from agentd.supervise.trigger_queue import Kept, SeenFiles
from agentd.turns.budgets.ledger import Ledger
from agentd.turns.conversations import Conversations
from agentd.turns.messages.message import Message, Status
from agentd.turns.messages.store import FORMAT as MESSAGES
from agentd.turns.messages.store import Store, StoreError

FORMATS = sorted((Path(__file__).parent / "formats").iterdir())
"""The last is the present one. 0 is from before databases had a version."""

DATABASES = {"events.db": JOURNAL, "messages.db": MESSAGES}


def database(folder: Path, name: str, to: Path) -> Path:
    path = to / name
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((folder / f"{name}.sql").read_text())
    path.chmod(0o600)
    return path


@pytest.fixture(params=FORMATS, ids=lambda folder: folder.name)
def former(request: pytest.FixtureRequest) -> Path:
    folder = request.param
    assert isinstance(folder, Path)
    return folder


def test_its_events_are_read_and_more_are_added(former: Path, tmp_path: Path) -> None:
    database(former, "events.db", tmp_path)
    journal = JournalDatabase(tmp_path)
    last = journal.find().last
    read = journal.read(0, EventFilter(), 100)
    assert [entry.kind for entry in read][:5] == ["daemon_started", "config_loaded", "declared", "launched", "started"]
    assert [entry.seq for entry in read] == list(range(1, last + 1))
    journal.append([Entry(last + 1, read[-1].time, "a", "exited", b'{"seq": 9}')])
    assert len(journal.read(0, EventFilter(), 100)) == last + 1
    journal.close()


def test_its_messages_go_on(former: Path, tmp_path: Path) -> None:
    store = Store(database(former, "messages.db", tmp_path))
    assert [(message.id, message.status) for message in store.live()] == [
        ("m2", Status.STARTED),
        ("m3", Status.QUEUED),
    ]
    ended = store.find("a", "m1")
    assert ended is not None
    assert (ended.status, ended.final_text, ended.usage.input_tokens) == (Status.ENDED, "I hear: hello", 5)
    store.put(Message("a", "m4", "more", 1.8e9, changed=1.8e9))
    assert len(store.live()) == 3
    store.close()


def test_its_records_conversations_and_transcripts_are_read(former: Path) -> None:
    record = Record.parse((former / "agent.record").read_text())
    assert (record.agent, record.state, record.described.harness) == ("a", AgentState.STARTING, "custom")
    conversations = Conversations(former / "conversations.json")
    conversations.read()
    assert conversations.of("a", "custom", "/srv/agentd/a") is not None
    assert parse_metadata((former / "run.json").read_bytes()).agent == "a"


def test_its_ledgers_are_read(tmp_path: Path) -> None:
    former = FORMATS[-1]
    ports = PortLedger(former / "ports.json", lambda _: None)
    shops = [
        AgentSpec(name, "custom", name, Path("/srv"), ports=names)
        for name, names in (("a", ("PORT", "DB_PORT")), ("b-0", ("PORT",)))
    ]
    assert ports.give(shops) == {"a": {"PORT": 20123, "DB_PORT": 20124}, "b-0": {"PORT": 31000}}
    at = 1764500000.5
    schedules = {
        "a": scheduling.Standing("0 9 * * 1-5", "Europe/Berlin", at, None, 1764580000.0, True, "2026-11-30T09:00:00Z"),
        "b": scheduling.Standing("* * * * *", None, at),
    }
    assert ScheduleLedger(former / "schedules.json").load() == schedules
    values = {"path": "/in/x.csv", "name": "x.csv"}
    came = Delivery("0123456789abcdef01234567", "inbox", values, at + 1)
    triggers = Kept(
        {"a": triggering.Standing(at, (came,), None, ("89abcdef0123456789abcdef",))},
        {"a/inbox//in/*.csv": SeenFiles(12, frozenset({"\u00e4 x.csv"}))},
    )
    assert TriggerLedger(former / "triggers.json").load() == triggers
    day = "2026-11-30"
    accounts = {"a": Account("r1", Decimal("1.25"), 3, "t3", day, Decimal("7.000001"), 5.5, ("usd",))}
    assert Ledger(former / "budgets.json").read() == accounts
    # And what is written has the same form.
    ScheduleLedger(tmp_path / "schedules.json").keep(schedules)
    TriggerLedger(tmp_path / "triggers.json").keep(triggers)
    assert Ledger(tmp_path / "budgets.json").write(accounts, day, "Europe/Berlin")
    for name in ("schedules.json", "triggers.json", "budgets.json"):
        assert (tmp_path / name).read_text() == (former / name).read_text(), name


@pytest.mark.parametrize("name", DATABASES)
def test_what_a_newer_agentd_wrote_is_left_alone(name: str, tmp_path: Path) -> None:
    path = database(FORMATS[-1], name, tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version={DATABASES[name] + 1}")
    before = path.read_bytes()
    store, journal = Store(path), JournalDatabase(tmp_path)
    told = r"written by a newer agentd; run that again, or move the file away"
    if name == "messages.db":
        with pytest.raises(StoreError, match=told):
            store.live()
        with pytest.raises(StoreError, match=told):
            store.put(Message("a", "m9", "more", 1.0))
    else:
        with pytest.raises(JournalError, match=told):
            journal.find()
        with pytest.raises(JournalError, match=told):
            journal.append([Entry(99, 1, "a", "exited", b"{}")])
    assert path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == [name], "nothing was set aside"


def test_the_present_formats_are_those_of_the_last_folder(tmp_path: Path) -> None:
    """Another format is another version, and a folder of what the former one left."""
    store, journal = Store(tmp_path / "messages.db"), JournalDatabase(tmp_path)
    message = Message("a", "m1", "text", 1.0, changed=1.0)
    store.put(message)
    journal.append([Entry(1, 1, None, "daemon_started", b"{}")])
    store.close()
    journal.close()
    for name, version in DATABASES.items():
        kept = database(FORMATS[-1], name, _folder(tmp_path, "kept"))
        assert _layout(tmp_path / name) == _layout(kept)
        assert _layout(kept)[0] == version
        assert _layout(database(FORMATS[0], name, _folder(tmp_path, "first")))[0] == UNNUMBERED
    with closing(sqlite3.connect(tmp_path / "messages.db")) as connection:
        (written,) = connection.execute("SELECT message FROM messages").fetchone()
    (sample,) = re.findall(r"'m1'.*?'(\{.*\})'", (FORMATS[-1] / "messages.db.sql").read_text())
    assert list(json.loads(written)) == list(json.loads(sample))
    assert json.loads((FORMATS[-1] / "agent.record").read_text())["v"] == VERSION


def _layout(path: Path) -> tuple[int, list[tuple[str, str]]]:
    with closing(sqlite3.connect(path)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        tables = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
        return version, tables.fetchall()


def _folder(above: Path, name: str) -> Path:
    folder = above / name
    folder.mkdir(exist_ok=True)
    return folder
