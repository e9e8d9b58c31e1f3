"""The journal: nothing lost, nothing twice, nobody kept waiting, whatever the disk does."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agentd.model.events import Event, EventKind
from agentd.recording.journal.database import JournalDatabase
from agentd.recording.journal.entry import Entry, EventFilter
from agentd.recording.journal.journal import UNCLEAN_GAP, Journal, JournalLimits
from tests.recording.support import ALL, EPOCH, event, journal_wrote, lines, read_all, taken, written
from tests.support.hung import hung
from tests.support.waiting import until

SMALL = JournalLimits(total_bytes=1 << 20, recent=10, unwritten=20, gather=0.001, retry=0.02, stuck=30)
STUCK_SOON = replace(SMALL, stuck=0.05)
STOPPED = Event(EventKind.DAEMON_STOPPED)


@asynccontextmanager
async def opened(
    folder: Path, limits: JournalLimits = SMALL, wall: Callable[[], float] = time.time
) -> AsyncIterator[Journal]:
    journal = Journal(folder, wall, limits)
    await journal.open()
    try:
        yield journal
    finally:
        await journal.close()


async def fill(journal: Journal, count: int) -> None:
    for number in range(count):
        journal.add(event(number))
        if number % 7 == 0:
            await journal_wrote(journal)
    await journal_wrote(journal)


def numbers(entries: Sequence[Entry]) -> list[int]:
    return [entry.seq for entry in entries]


async def test_events_are_numbered_dated_written_and_read(tmp_path: Path) -> None:
    moments = iter([EPOCH, EPOCH - 3600.0])
    async with opened(tmp_path / "journal", wall=lambda: next(moments)) as journal:
        journal.add(event(agent="a"))
        journal.add(Event(EventKind.CONFIG_REJECTED, None, "because"))
        assert numbers(await taken(journal)) == []  # not written yet, so nobody may have seen it
        await journal_wrote(journal)
        first, second = await taken(journal)
        # A clock that is set back changes no order.
        assert (first.seq, first.time, first.agent, first.kind) == (1, int(1000 * EPOCH), "a", "started")
        assert (second.seq, second.time, second.agent) == (2, int(1000 * EPOCH) - 3_600_000, None)
        assert journal.health().state == "ok"
        sizes = {path.name: path.stat().st_size for path in journal.folder.iterdir()}
        assert journal.health().bytes == sizes["events.db"] + sizes["events.db-wal"]
    assert [line["seq"] for line in lines(tmp_path / "journal")] == [1, 2]


async def test_numbers_go_on_after_a_clean_end_and_skip_some_after_another(tmp_path: Path) -> None:
    async with opened(tmp_path) as journal:
        await fill(journal, 3)
        journal.add(STOPPED)
    async with opened(tmp_path) as journal:
        journal.add(event())
        await journal_wrote(journal)
        assert numbers(await taken(journal)) == [1, 2, 3, 4, 5]
        assert numbers(await taken(journal, 4)) == [5]
    async with opened(tmp_path) as journal:
        journal.add(event())
        await journal_wrote(journal)
        assert numbers(await taken(journal)) == [1, 2, 3, 4, 5, 6 + UNCLEAN_GAP]
        # A number that was given away and never written is earlier than everything new.
        assert numbers(await taken(journal, 77)) == [6 + UNCLEAN_GAP]
        # One from the future of this journal means: from now on.
        assert numbers(await taken(journal, 10**9)) == []


async def test_the_end_of_a_run_that_a_killed_daemon_has_told_is_not_told_by_the_next_one(tmp_path: Path) -> None:
    def exited(run: str) -> Event:
        return Event(EventKind.EXITED, "a", None, {"run": run})

    async with opened(tmp_path) as journal:
        journal.add(exited("1"))
        await fill(journal, 3)
    async with opened(tmp_path) as journal:
        # It adopted both, and does not know what the former one came to tell.
        journal.add(exited("1"))
        journal.add(exited("2"))
        await journal_wrote(journal)
    ends = [line["data"] for line in lines(tmp_path) if line["kind"] == EventKind.EXITED]
    assert ends == [{"run": "1"}, {"run": "2"}]


async def test_what_was_written_is_there_after_sigkill(tmp_path: Path) -> None:
    journal = Journal(tmp_path, time.time, SMALL)
    await journal.open()
    await fill(journal, 20)
    # As far as the files are concerned, this process may end here.
    assert read_all(tmp_path) == list(range(1, 21))
    await journal.close()


@pytest.mark.parametrize("start", [0, 1, 49, 95, 100])
async def test_a_reader_comes_from_the_files_into_memory_without_a_gap(tmp_path: Path, start: int) -> None:
    async with opened(tmp_path) as journal:
        await fill(journal, 100)
        assert journal.buffer.floor > 50
        reader = journal.reader(ALL, start)
        found: list[int] = []
        number = 100
        while some := await reader.take():
            found += numbers(some)
            if number < 200:
                # It goes on meanwhile.
                await fill(journal, 10)
                number += 10
        journal.leave(reader)
        assert found == list(range(start + 1, number + 1))


async def test_followers_see_each_event_once_whatever_they_miss_meanwhile(tmp_path: Path) -> None:
    async with opened(tmp_path) as journal:

        async def follow(pause: float) -> list[int]:
            reader, found = journal.reader(ALL, 0), []
            while not reader.ended:
                found += numbers(await reader.take())
                await asyncio.sleep(pause)
                await reader.wait(5)
            journal.leave(reader)
            return found

        followers = [asyncio.create_task(follow(pause)) for pause in (0, 0.001, 0.05)]
        for number in range(300):
            journal.add(event(number))
            await asyncio.sleep(0.0005)
        await journal.close()
        for follower in followers:
            assert await follower == list(range(1, 301))
        assert journal.readers == 0


async def test_a_filter_finds_what_is_rare(tmp_path: Path) -> None:
    async with opened(tmp_path) as journal:
        await fill(journal, 50)
        journal.add(event(agent="Rare", kind=EventKind.FAILED))
        await fill(journal, 50)
        rare = EventFilter(agents=frozenset({"rare"}), kinds=frozenset({"failed"}))
        assert numbers(await taken(journal, None, rare)) == [51]
        assert await journal.start_of_last(1, rare) == 50
        assert await journal.start_of_last(0, ALL) == 101
        assert await journal.start_of_last(3, ALL) == 98
        assert await journal.start_of_last(30, ALL) == 71
        assert await journal.start_of_last(1000, ALL) == 0
        assert await journal.start_at(0) == 0
        assert await journal.start_at(time.time() + 60) == 101


async def test_who_asks_for_what_is_no_longer_kept_is_told(tmp_path: Path) -> None:
    async with opened(tmp_path, replace(SMALL, total_bytes=50_000)) as journal:
        await fill(journal, 500)
        oldest = lines(tmp_path)[0]["seq"]
        assert oldest > 100
        told, *found = await taken(journal, 5)
        assert (told.kind, told.seq) == ("events_expired", oldest - 1)
        assert b'"since":5,"oldest":%d' % oldest in told.body
        assert numbers(found) == list(range(oldest, 501))
        assert numbers(await taken(journal, oldest - 1)) == list(range(oldest, 501))
        # Who asks for everything that is kept, gets that.
        assert numbers(await taken(journal)) == numbers(await taken(journal, 0)) == list(range(oldest, 501))
        # What is removed while it is read is told once or not at all.
        reader = journal.reader(ALL, oldest)
        assert await reader.take()
        await fill(journal, 500)
        rest = numbers([entry for _ in range(50) for entry in await reader.take()])
        assert rest == sorted(set(rest))
        assert rest[-1] == 1000


async def test_memory_is_bounded(tmp_path: Path) -> None:
    async with opened(tmp_path) as journal:
        await fill(journal, 500)
        assert journal.buffer.head - journal.buffer.floor <= 2 * SMALL.recent + 8


@pytest.mark.parametrize("content", [b"no database at all " * 99, b"SQLite format 3\0" + b"\xff" * 5000, b"x", b""])
async def test_a_damaged_database_is_set_aside_and_numbers_go_on(tmp_path: Path, content: bytes) -> None:
    database, first = written(tmp_path, 60), 60
    for path in (database, database):
        path.write_bytes(content)
        with capture_logs() as logs:
            async with opened(tmp_path) as journal:
                journal.add(event())
                await journal_wrote(journal)
                # Before it comes that some are not there any more, if numbers were left out.
                *_, new = await taken(journal, first)
                assert new.kind == "started"
                assert new.seq > first
                first = new.seq
                assert journal.health().state == "ok"
        assert [(each["event"], each["log_level"]) for each in logs] == [("journal_damaged", "error")]
        assert (tmp_path / "damaged.db").read_bytes() == content
    async with opened(tmp_path) as journal:
        # Nobody is given a number twice, also after the second time.
        journal.add(event())
        await journal_wrote(journal)
        assert numbers(await taken(journal)) == [first, first + 1 + UNCLEAN_GAP]


async def test_a_database_that_is_damaged_while_it_is_used_is_set_aside(tmp_path: Path) -> None:
    async with opened(tmp_path) as journal:
        await fill(journal, 60)
        reader = journal.reader(ALL, 0)
        with capture_logs() as logs:
            journal._database.close()
            journal._database.path.write_bytes(b"\0" * 100_000)
            await fill(journal, 5)
        assert [each["event"] for each in logs] == ["journal_damaged"]
        assert journal.health().state == "ok"
        # What is still in memory is told, and goes on with what is new.
        assert numbers(await reader.take())[-5:] == [61, 62, 63, 64, 65]
        journal.leave(reader)
    assert read_all(tmp_path) == [61, 62, 63, 64, 65]


async def test_numbers_go_on_after_those_of_the_files_of_the_former_format(tmp_path: Path) -> None:
    for first in (1, 18_001):
        (tmp_path / f"{first:016}.jsonl").write_text(f'{{"seq":{first},"crc":"00000000"}}\n')
    for _ in range(2):
        async with opened(tmp_path) as journal:
            journal.add(event())
            await journal_wrote(journal)
            assert numbers(await taken(journal))[0] == 68_002
    assert len(list(tmp_path.glob("*.jsonl"))) == 2


# -- disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr}")
    try:
        space = os.statvfs(folder)
        assert space.f_blocks * space.f_frsize == 262144, "not the small file system"
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def fill_up(folder: Path) -> Path:
    """Use all space but less than a page."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for _ in range(99):
            try:
                file.write(b"x" * 4096)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    return filler
                raise
    raise AssertionError("it does not fill up")


async def test_a_full_disk_is_said_once_and_events_go_on_in_memory(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(small_disk / "journal") as journal:
        await fill(journal, 30)
        filler = fill_up(small_disk)
        with capture_logs() as logs:
            while journal.health().state == "ok":
                journal.add(event(blob="x" * 500))
                await asyncio.sleep(0.002)
            health = journal.health()
            assert (health.state, health.lost) == ("failing", 0)
            assert health.error is not None
            assert "database or disk is full" in health.error
            assert str(small_disk) in health.error
            # Those who follow are still told, at once.
            reader = journal.reader(ALL, journal.buffer.readable)
            journal.add(event(kind=EventKind.FAILED))
            assert [entry.kind for entry in await reader.take()] == ["failed"]
            tries: list[int] = []
            append = journal._database.append

            def counted(batch: Sequence[Entry]) -> None:
                tries.append(len(batch))
                append(batch)

            monkeypatch.setattr(journal._database, "append", counted)
            await until(lambda: len(tries) > 1)
            filler.unlink()
            await until(lambda: journal.health().state == "ok")
        assert [entry["event"] for entry in logs] == ["journal_not_written", "journal_written_again"]
        assert numbers(await taken(journal)) == list(range(1, journal.buffer.head + 1))
    assert read_all(small_disk / "journal") == list(range(1, journal.buffer.head + 1))


async def test_what_a_full_disk_cost_is_an_event_once_there_is_room(small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(b"x" * 262144)
    async with opened(small_disk / "journal") as journal:
        for number in range(50):
            journal.add(event(number))
        await until(lambda: journal.health().state == "failing")
        for number in range(50):
            journal.add(event(number))
        assert journal.health().lost == 100 - SMALL.unwritten
        assert journal.buffer.head - journal.buffer.floor <= 100
        (small_disk / "filler").unlink()
        await until(lambda: journal.health().state == "ok")
        await journal_wrote(journal)
        *found, last = await taken(journal)
        assert numbers(found) == list(range(81, 101))
        assert (last.kind, last.seq) == ("events_lost", 101)
        assert b'"lost":80' in last.body
        assert journal.health().lost == 80


async def test_on_a_disk_that_can_only_be_read_events_are_read_and_numbers_go_on(small_disk: Path) -> None:
    folder = small_disk / "journal"
    written(folder, 60)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with capture_logs() as logs:
        async with opened(folder) as journal:
            journal.add(event())
            await until(lambda: journal.health().state == "failing")
            assert "unable to open" in str(journal.health().error)
            expected = [*range(1, 61), 61 + UNCLEAN_GAP]
            assert numbers(await taken(journal)) == expected
            assert await journal.start_of_last(10, ALL) == 51
            subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
            await until(lambda: journal.health().state == "ok")
            assert numbers(await taken(journal)) == expected
    assert [entry["event"] for entry in logs] == ["journal_not_written", "journal_written_again"]
    assert read_all(folder) == expected


async def test_a_state_directory_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("in the way")
    with capture_logs() as logs:
        async with opened(tmp_path / "journal") as journal:
            journal.add(event())
            await until(lambda: journal.health().state == "failing")
            assert [entry.seq for entry in await taken(journal)] == [1]
            (tmp_path / "journal").unlink()
            await until(lambda: journal.health().state == "ok")
            assert numbers(await taken(journal)) == [1]
    assert [entry["event"] for entry in logs] == ["journal_not_written", "journal_written_again"]


class _StuckDatabase(JournalDatabase):
    """A disk that does not answer until it is told to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked = threading.Event()
        self.answer = threading.Event()

    def append(self, entries: Sequence[Entry]) -> None:
        self.asked.set()
        self.answer.wait(60)
        super().append(entries)


async def test_a_disk_that_does_not_answer_keeps_nobody_waiting(tmp_path: Path) -> None:
    async with opened(tmp_path) as journal:
        # Not before: a busy disk may take longer to open it.
        journal._limits = STUCK_SOON
        journal._database = database = _StuckDatabase(tmp_path)
        database.find()
        reader = journal.reader(ALL, 0)
        begun = asyncio.get_running_loop().time()
        for number in range(1000):
            journal.add(event(number))
        assert asyncio.get_running_loop().time() - begun < 30
        await until(lambda: journal.health().state == "failing")
        assert "not answered" in str(journal.health().error)
        assert len(await reader.take()) > 0
        # What the disk has in hands is not lost yet.
        assert journal.health().lost == 0
        for number in range(100):
            journal.add(event(number))
        assert journal.health().lost == 100 - SMALL.unwritten
        database.answer.set()
        await until(lambda: journal.health().state == "ok")
        journal.leave(reader)


async def test_a_disk_that_hangs_keeps_nobody_waiting(tmp_path: Path) -> None:
    journal = Journal(tmp_path, time.time, replace(SMALL, stuck=0.05, close=0.05))
    await journal.open()
    await fill(journal, 5)
    with hung(tmp_path):
        journal.add(event())
        await until(lambda: journal.health().state == "failing")
        async with asyncio.timeout(30):
            assert numbers(await taken(journal, 2)) == [3, 4, 5, 6]
            await journal.close()


async def test_the_end_waits_for_no_stuck_disk_and_no_stuck_reader(tmp_path: Path) -> None:
    journal = Journal(tmp_path, time.time, replace(SMALL, close=0.05, last_words=0.05))
    await journal.open()
    journal._database = database = _StuckDatabase(tmp_path)
    journal.add(event())
    journal.reader(ALL, 0)
    await until(database.asked.is_set)
    async with asyncio.timeout(30):
        await journal.close()
    database.answer.set()
