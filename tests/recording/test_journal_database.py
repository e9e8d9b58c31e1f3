"""The journal's database: found again by number and by time, private, bounded, whatever the disk is like."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.model.events import Event, EventKind
from agentd.recording.journal.database import Found, JournalDatabase, JournalError
from agentd.recording.journal.entry import LONGEST_BODY, LONGEST_REASON, Entry, EventFilter, entry_of
from tests.recording.support import ALL, EPOCH, entries, event, lines, read_all, written
from tests.support.descriptors import no_descriptor_left
from tests.support.effort import examples


def kept(folder: Path, entry: Entry) -> Entry:
    """What the next daemon reads of an event."""
    database = JournalDatabase(folder)
    database.append([entry])
    database.close()
    [found] = JournalDatabase(folder).read(entry.seq - 1, ALL, 1)
    return found


def test_an_event_is_json_that_says_what_happened_and_is_read_back(tmp_path: Path) -> None:
    entry = entry_of(
        7,
        EPOCH + 0.0129,
        Event(EventKind.EXITED, 'a"\\ü', "so \n it\u2028 \x00\x7f went", {"exit_code": 3, "f": ("x",)}),
    )
    assert b"\n" not in entry.body
    assert json.loads(entry.body) == {
        "seq": 7,
        "time": "2023-11-14T22:13:20.012Z",
        "agent": 'a"\\ü',
        "kind": "exited",
        "reason": "so \n it\u2028 \x00\x7f went",
        "data": {"exit_code": 3, "f": ["x"]},
    }
    assert kept(tmp_path, entry) == entry
    assert lines(tmp_path) == [json.loads(entry.body)]


@examples(20)
@given(
    st.text(st.characters(exclude_categories=())),
    st.text(st.characters(exclude_categories=()), max_size=60),
    st.integers(1, 10**15),
)
def test_any_text_is_read_back(reason: str, agent: str, seq: int) -> None:
    entry = entry_of(seq, EPOCH, Event(EventKind.FAILED, agent.encode("utf-8", "replace").decode(), reason))
    assert b"\n" not in entry.body
    with tempfile.TemporaryDirectory() as name:
        assert kept(Path(name), entry) == entry


def test_what_is_too_long_is_cut(tmp_path: Path) -> None:
    entry = entry_of(1, EPOCH, Event(EventKind.FAILED, "a", "x" * 10**6, {"pids": ["1" * 100] * 1000}))
    assert len(entry.body) < LONGEST_BODY
    assert len(json.loads(entry.body)["reason"]) == LONGEST_REASON
    assert kept(tmp_path, entry) == entry


def test_folder_and_files_are_their_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        database = JournalDatabase(tmp_path / "journal")
        database.append(entries(1, 100))
    finally:
        os.umask(before)
    assert stat.S_IMODE(database.path.parent.stat().st_mode) == 0o700
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in database.path.parent.iterdir()}
    assert found == {"events.db": 0o600, "events.db-wal": 0o600, "events.db-shm": 0o600}
    database.close()
    assert [path.name for path in database.path.parent.iterdir()] == ["events.db"]


def test_the_oldest_events_go_so_that_the_files_stay_under_the_limit(tmp_path: Path) -> None:
    database = JournalDatabase(tmp_path, 60_000)
    for first in range(1, 1000, 20):
        database.append(entries(first, first + 19))
        assert database.oldest == lines(tmp_path)[0]["seq"]
    assert database.oldest > 600
    assert read_all(tmp_path) == list(range(database.oldest, 1001))
    database.close()
    assert database.path.stat().st_size < 70_000
    # A smaller limit holds from the next event on.
    database = JournalDatabase(tmp_path, 30_000)
    database.append(entries(1001, 1001))
    assert database.oldest > 850
    database.close()


@examples(20)
@given(st.integers(0, 60), st.integers(0, 80), st.integers(0, 30))
def test_reading_begins_right_after_any_number(last: int, after: int, first: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        written(Path(name), last, first)
        assert read_all(Path(name), after) == list(range(max(after + 1, first), last + 1))


def test_a_time_is_found_also_where_the_clock_was_set_back(tmp_path: Path) -> None:
    database = JournalDatabase(tmp_path)
    assert database.number_before_time(0) is None
    database.append([entry_of(seq, EPOCH + seq, event(seq)) for seq in range(1, 101)])
    for seq in (1, 2, 70, 99, 100):
        assert database.number_before_time(int(1000 * (EPOCH + seq))) == seq - 1
        assert database.number_before_time(int(1000 * (EPOCH + seq - 0.5))) == seq - 1
    assert database.number_before_time(0) == 0
    assert database.number_before_time(int(1000 * (EPOCH + 101))) is None
    database.append([entry_of(101, EPOCH + 1e9, event()), entry_of(102, EPOCH + 200, event())])
    assert database.number_before_time(int(1000 * (EPOCH + 150))) == 101
    database.close()


def test_the_last_ones_are_found_also_among_others(tmp_path: Path) -> None:
    written(tmp_path, 1000)
    database = JournalDatabase(tmp_path)
    assert database.number_before_last(5, ALL, 1000) == 995
    assert database.number_before_last(5, ALL, 500) == 495
    assert database.number_before_last(5000, ALL, 1000) == 0
    some = EventFilter(agents=frozenset({"a1"}))
    assert read_all(tmp_path, database.number_before_last(2, some, 1000), some) == [997, 1000]


def test_only_wanted_events_are_given(tmp_path: Path) -> None:
    database = JournalDatabase(tmp_path)
    kinds = (EventKind.STARTED, EventKind.EXITED)
    database.append([entry_of(n, EPOCH, event(n, "AB"[n % 2], kinds[n // 2 % 2])) for n in range(1, 9)])
    database.append([entry_of(9, EPOCH, event(9, None, EventKind.STARTED))])
    database.close()
    for wanted, expected in (
        (EventFilter(agents=frozenset({"a"})), [2, 4, 6, 8]),
        (EventFilter(kinds=frozenset({"exited"})), [2, 3, 6, 7]),
        (EventFilter(frozenset({"a", "b"}), frozenset({"started", "x"})), [1, 4, 5, 8]),
        (EventFilter(frozenset({"'", '"', "%"}), frozenset({"started"})), []),
    ):
        assert read_all(tmp_path, wanted=wanted) == expected
        assert [entry.seq for entry in JournalDatabase(tmp_path).read(0, ALL, 99) if wanted.matches(entry)] == expected


def test_what_a_killed_daemon_wrote_is_found_by_the_next_one(tmp_path: Path) -> None:
    assert JournalDatabase(tmp_path / "none").find() == Found(0, clean=True)
    database = JournalDatabase(tmp_path / "journal")
    database.append([entry_of(1, EPOCH, Event(EventKind.EXITED, "a", None, {"run": "1"}))])
    # As a SIGKILL leaves it: with what is in the write-ahead log only.
    shutil.copytree(tmp_path / "journal", tmp_path / "killed")
    assert JournalDatabase(tmp_path / "killed").find() == Found(1, False, frozenset({"1"}))
    database.append([entry_of(2, EPOCH, Event(EventKind.DAEMON_STOPPED))])
    database.close()
    assert JournalDatabase(tmp_path / "journal").find() == Found(2, clean=True)


def test_a_database_that_was_begun_and_not_finished_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "new.db").write_bytes(b"half")
    assert JournalDatabase(tmp_path).find() == Found(0, clean=True)
    assert read_all(tmp_path) == []
    written(tmp_path, 3)
    assert read_all(tmp_path) == [1, 2, 3]
    assert [path.name for path in tmp_path.iterdir()] == ["events.db"]


@pytest.mark.parametrize("what", ["folder", "database", "log", "moved", "replaced"])
def test_files_that_somebody_removes_are_begun_anew(tmp_path: Path, what: str) -> None:
    database = JournalDatabase(tmp_path / "journal")
    database.append(entries(1, 3))
    match what:
        case "folder":
            shutil.rmtree(database.path.parent)
        case "database":
            database.path.unlink()
        case "log":
            Path(f"{database.path}-wal").unlink()
        case "moved":
            database.path.parent.rename(tmp_path / "aside")
        case _:
            written(tmp_path / "other", 2)
            (tmp_path / "other" / "events.db").replace(database.path)
    database.append(entries(4, 6))
    database.close()
    assert read_all(database.path.parent)[-3:] == [4, 5, 6]


def test_what_cannot_be_written_says_where_and_why(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file")
    database = JournalDatabase(tmp_path / "journal")
    for ask in (database.find, lambda: database.append(entries(1, 3)), lambda: database.read(0, ALL, 1)):
        with pytest.raises(JournalError) as caught:
            ask()
        assert str(tmp_path / "journal") in str(caught.value)


def test_with_no_descriptor_left_a_sync_fails_and_the_next_one_works(tmp_path: Path) -> None:
    database = JournalDatabase(tmp_path / "journal")
    database.append(entries(1, 3))
    with no_descriptor_left(), pytest.raises(JournalError, match="Too many open files"):
        database.sync()
    database.sync()
    database.close()


def test_with_no_descriptor_left_nothing_is_read_and_nothing_is_set_aside(tmp_path: Path) -> None:
    written(tmp_path, 3)
    database = JournalDatabase(tmp_path)
    with no_descriptor_left():
        for ask in (database.find, lambda: database.read(0, ALL, 1), lambda: database.append(entries(4, 4))):
            with pytest.raises(JournalError):
                ask()
    database.append(entries(4, 4))
    database.close()
    assert read_all(tmp_path) == [1, 2, 3, 4]


def test_somebody_who_holds_a_lock_delays_a_write_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.recording.journal.database._BUSY", 0.01)
    database = JournalDatabase(tmp_path)
    database.append(entries(1, 3))
    with contextlib.closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match="locked"):
            database.append(entries(4, 4))
        assert read_all(tmp_path) == [1, 2, 3]
        other.execute("ROLLBACK")
    database.append(entries(4, 4))
    database.close()
    assert read_all(tmp_path) == [1, 2, 3, 4]
