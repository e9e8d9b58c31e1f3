"""Transcripts on disk: who may read them, how much is kept, and what is no transcript."""

from __future__ import annotations

import errno
import gc
import json
import os
import stat
import threading
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from agentd.launch.launcher import end_mark
from agentd.recording.transcripts import run_on_disk
from agentd.recording.transcripts.disk import TranscriptDisk
from agentd.recording.transcripts.files import TranscriptFiles
from agentd.recording.transcripts.reader import TranscriptReader
from agentd.recording.transcripts.retention import Retention
from agentd.recording.transcripts.run_folder import RunFolder, TranscriptError
from agentd.recording.transcripts.run_metadata import RunMetadata
from agentd.supervise.policy import Exit
from agentd.supervise.run_recorder import RunEnd
from tests.support.transcripts import BEGUN, files_in, keep
from tests.support.waiting import wait_for

LIMITS = Retention(total=1000, run=400, part=100, runs=3)


@pytest.fixture
def files(tmp_path: Path) -> TranscriptFiles:
    return files_in(tmp_path / "state")


@pytest.fixture
def disk(files: TranscriptFiles) -> TranscriptDisk:
    return TranscriptDisk(files, LIMITS)


def take_stock(disk: TranscriptDisk) -> None:
    for agent in disk.files.agents():
        disk.take_stock(agent)


def numbers(files: TranscriptFiles) -> dict[str, list[int]]:
    return {agent: files.numbers(agent) for agent in files.agents()}


def test_a_run_has_a_folder_of_its_own_that_nobody_else_may_enter(files: TranscriptFiles) -> None:
    folder = keep(files, "a", b"hello\r\n")
    assert folder.path == files.state / "agents/a/runs/0001"
    assert (folder.path / "output.log").read_bytes() == b"hello\r\n"
    metadata = json.loads((folder.path / "run.json").read_text())
    assert (metadata["agent"], metadata["run"], metadata["argv"], metadata["bytes"]) == ("a", 1, ["true"], 7)
    for path in (files.root, *files.root.rglob("*")):
        if not path.is_symlink():
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077 or path.name == "000000"
    assert keep(files, "a").number == 2
    assert keep(TranscriptFiles(files.state, files.owner), "a").number == 3


def test_whoever_looks_finds_the_metadata_of_a_run_whole(files: TranscriptFiles) -> None:
    """The window was 50 microseconds wide, and one of three full runs of the tests fell into it."""
    last = 200
    begun = threading.Thread(target=lambda: [files.create(BEGUN) for _ in range(last)])
    begun.start()
    for number in range(1, last + 1):
        path = files.folder(BEGUN.agent, number).path / "run.json"
        while not path.exists():
            assert begun.is_alive() or path.exists()
        assert json.loads(path.read_bytes())["run"] == number
    begun.join()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a\0", "-a", "ü", "a" * 64])
def test_what_is_no_name_of_an_agent_is_no_path(files: TranscriptFiles, name: str) -> None:
    with pytest.raises(TranscriptError):
        files.numbers(name)


def test_limits_leave_room_for_several_runs_and_parts() -> None:
    default = Retention.of(2 << 30)
    assert (default.run, default.part, default.parts, default.runs) == (64 << 20, 8 << 20, 8, 20)
    smallest = Retention.of(1 << 20)
    assert (smallest.run, smallest.part, smallest.parts) == (256 << 10, 32 << 10, 8)


def test_a_run_keeps_its_newest_parts_at_their_offsets(disk: TranscriptDisk, files: TranscriptFiles) -> None:
    run = disk.begin(replace(BEGUN, run_id="live"))
    for number in range(7):
        (run.folder.output / f"{number:06}").write_bytes(b"x" * 100)
    kept = disk.sweep()
    assert (kept.size, kept.grew) == (400, True)
    metadata, parts = files.snapshot(run.folder)
    assert metadata.dropped == 300
    assert [(part.name, part.start) for part in parts] == [(f"{n:06}", 100 * n) for n in (3, 4, 5, 6)]
    assert (run.folder.path / "output.log").readlink() == Path("output/000006")
    assert not disk.sweep().grew


def test_a_run_that_is_idle_is_not_listed_again_and_one_that_prints_is(
    disk: TranscriptDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ten times the steps of a file system's clock.
    monkeypatch.setattr(run_on_disk, "_FRESH", 40_000_000)
    run = disk.begin(replace(BEGUN, run_id="live"))
    first = run.folder.output / "000000"
    first.write_bytes(b"x" * 100)

    def settled() -> bool:
        return disk.sweep().size == 100 and not lists(disk.sweep)

    def lists(look: Callable[[], object]) -> bool:
        with pytest.MonkeyPatch.context() as patch:
            scandir = Mock(wraps=os.scandir)
            patch.setattr(os, "scandir", scandir)
            look()
        return bool(scandir.called)

    wait_for(settled)
    with first.open("ab") as part:
        part.write(b"y" * 20)
    assert disk.sweep().size == 120
    (run.folder.output / "000001").write_bytes(b"z" * 30)
    kept = disk.sweep()
    assert (kept.size, kept.grew) == (150, True)
    first.unlink()
    assert disk.sweep().size == 30


def test_old_runs_are_removed_by_number_and_numbers_are_never_used_again(
    disk: TranscriptDisk, files: TranscriptFiles
) -> None:
    for _ in range(5):
        keep(files, "a", b"x")
    keep(files, "b", b"x")
    take_stock(disk)
    disk.sweep()
    assert numbers(files) == {"a": [3, 4, 5], "b": [1]}
    assert keep(files, "a").number == 6


def test_past_the_total_the_oldest_go_first_and_the_newest_of_each_agent_stays_known(
    disk: TranscriptDisk, files: TranscriptFiles
) -> None:
    for agent in ("a", "a", "b", "c"):
        keep(files, agent, b"x" * 300)
    live = disk.begin(replace(BEGUN, agent="d", run_id="live"))
    for number in range(4):
        (live.folder.output / f"{number:06}").write_bytes(b"x" * 100)
    take_stock(disk)
    assert disk.sweep().size == 1000
    assert numbers(files) == {"a": [2], "b": [1], "c": [1], "d": [1]}
    metadata, parts = files.snapshot(files.folder("a", 2))
    assert (metadata.dropped, metadata.exit_code, parts) == (300, 0, [])
    assert len(files.snapshot(live.folder)[1]) == 4

    shrunk = TranscriptDisk(files, replace(LIMITS, total=150))
    shrunk.find("d", "live")
    take_stock(shrunk)
    assert shrunk.sweep().size == 100
    assert [part.name for part in files.snapshot(live.folder)[1]] == ["000003"]


def test_a_run_is_completed_at_the_mark_of_its_launcher(disk: TranscriptDisk, files: TranscriptFiles) -> None:
    run = disk.begin(replace(BEGUN, run_id="r1"))
    output = b"x" * 90 + end_mark("r1") + b"\r\n[agentd] a shell\r\n# "
    parts = [output[:100], output[100:]]
    assert disk.find_ends(["r1"], thoroughly=False) == {}
    for number, data in enumerate(parts):
        (run.folder.output / f"{number:06}").write_bytes(data)
    assert disk.find_ends(["r1"], thoroughly=False) == disk.find_ends(["r1"], thoroughly=True) == {"r1": 90}
    disk.complete(RunEnd("r1", 1.5, Exit(signal=9), "removed"), 90)
    metadata, left = files.snapshot(run.folder)
    assert (metadata.end, metadata.exit_code, metadata.exit_signal) == ("1970-01-01T00:00:01.500Z", None, 9)
    assert (metadata.reason, metadata.bytes) == ("removed", 90)
    assert [(part.name, part.size) for part in left] == [("000000", 90)]


def test_a_mark_far_back_is_found_by_a_thorough_look(disk: TranscriptDisk) -> None:
    run = disk.begin(replace(BEGUN, run_id="r1"))
    data = b"x" * 1000 + end_mark("r1") + b"y" * (1 << 20)
    (run.folder.output / "000000").write_bytes(data)
    assert disk.find_ends(["r1"], thoroughly=False) == {}
    assert disk.find_ends(["r1"], thoroughly=True) == {"r1": 1000}


def test_what_the_writer_still_had_after_the_end_is_cut_off_later(
    disk: TranscriptDisk, files: TranscriptFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = disk.begin(replace(BEGUN, run_id="r1"))
    part = run.folder.output / "000000"
    part.write_bytes(b"mine")
    disk.complete(RunEnd("r1", 0.0, Exit(code=0), "exit status 0"), 4)
    part.write_bytes(b"mine and a shell's")
    disk.sweep()
    assert part.read_bytes() == b"mine"
    assert files.snapshot(run.folder)[0].bytes == 4
    # Not at each sweep, of which there is one a second on a busy day, but once more when a minute is over.
    part.write_bytes(b"mine and more")
    disk.sweep()
    assert part.read_bytes() == b"mine and more"
    minute = time.monotonic() + 61
    monkeypatch.setattr(time, "monotonic", lambda: minute)
    disk.sweep()
    assert part.read_bytes() == b"mine"


def test_a_run_of_a_daemon_that_died_is_completed_by_the_next(files: TranscriptFiles) -> None:
    folder = keep(files, "a", b"half" + end_mark("a-1") + b"a shell", end=None)
    take_stock(TranscriptDisk(files, LIMITS))
    metadata, parts = files.snapshot(folder)
    assert metadata.end is not None
    assert (metadata.exit_code, metadata.bytes) == (None, 4)
    assert "not there" in (metadata.reason or "")
    assert [part.size for part in parts] == [4]


def test_offsets_stay_true_although_the_removal_of_old_parts_is_interrupted(
    files: TranscriptFiles, disk: TranscriptDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = keep(files, "a", b"one ", b"two ", b"three", end=None)
    metadata, parts = files.snapshot(folder)

    def killed(_folder: RunFolder, _name: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "remove_part", killed)
        with pytest.raises(KeyboardInterrupt):
            folder.drop(metadata, parts[:2])
    metadata, parts = files.snapshot(folder)
    assert [(part.number, part.start) for part in parts] == [(2, len(b"one two "))]
    assert (folder.output / "000001").exists()
    take_stock(disk)
    assert [part.name for part in folder.output.iterdir()] == ["000002"]
    assert (folder.read().dropped, folder.read().bytes) == (8, 13)


def test_parts_that_somebody_removed_end_nothing_and_recording_goes_on_where_they_were(
    files: TranscriptFiles, disk: TranscriptDisk
) -> None:
    run = disk.begin(replace(BEGUN, run_id="r1"))
    for number in range(6):
        (run.folder.output / f"{number:06}").write_bytes(b"x" * 100)
    disk.sweep()
    dropped, first = run.metadata.dropped, run.metadata.first_part
    assert (dropped, first) == (200, 2)
    for part in run.folder.output.iterdir():
        part.unlink()
    disk.sweep()
    mended, number = disk.mend(run.metadata, "the process that wrote it has ended", 0.0)
    (mended.folder.output / f"{number:06}").write_bytes(b"later")
    metadata, parts = files.snapshot(mended.folder)
    assert [(each.number, each.start, each.size) for each in parts] == [(first, dropped, len(b"later"))]
    assert metadata.gaps[0].offset == dropped


def test_one_that_cannot_be_trimmed_hides_no_other_run(
    files: TranscriptFiles, disk: TranscriptDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = keep(files, "a", b"one ", b"two")
    keep(files, "b", b"three")
    metadata = first.read()
    first.write(replace(metadata, dropped=4, first_part=1))

    def refused(_folder: RunFolder, _name: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(RunFolder, "remove_part", refused)
    take_stock(disk)
    assert disk.sweep().size == len(b"two") + len(b"three")


def test_output_without_metadata_is_nothing_that_agentd_left_and_stays(
    files: TranscriptFiles, disk: TranscriptDisk
) -> None:
    folder = keep(files, "a", b"one")
    (folder.path / "run.json").unlink()
    take_stock(disk)
    assert (folder.output / "000000").read_bytes() == b"one"


def test_old_parts_go_from_a_full_disk_although_that_cannot_be_written_down_before(
    files: TranscriptFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = keep(files, "a", b"one ", b"two")
    metadata, parts = files.snapshot(folder)
    write = RunFolder.write

    def written_once_there_is_room(to: RunFolder, noted: RunMetadata) -> None:
        if (folder.output / "000000").exists():
            raise OSError(errno.ENOSPC, "no space left on device")
        write(to, noted)

    monkeypatch.setattr(RunFolder, "write", written_once_there_is_room)
    assert folder.drop(metadata, parts[:1]) == folder.read()
    assert [part.start for part in files.snapshot(folder)[1]] == [4]


def test_a_cut_that_is_interrupted_can_be_made_again(files: TranscriptFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = keep(files, "a", b"half" + end_mark("a-1") + b"a shell", b" that goes on", b" and on", end=None)

    def killed(_folder: RunFolder, _name: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "remove_part", killed)
        with pytest.raises(KeyboardInterrupt):
            take_stock(TranscriptDisk(files, LIMITS))
    take_stock(TranscriptDisk(files, LIMITS))
    assert (folder.read().bytes, (folder.path / "output.log").read_bytes()) == (4, b"half")


def test_a_folder_that_was_never_finished_or_not_wholly_removed_goes(
    files: TranscriptFiles, disk: TranscriptDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed, stays, begun = keep(files, "a", b"one"), keep(files, "a", b"two"), keep(files, "a")
    (begun.path / "run.json").unlink()

    def killed(_path: Path, **_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("agentd.recording.transcripts.run_folder.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            removed.remove()
    with pytest.raises(TranscriptError, match="there is no"):
        files.snapshot(removed)
    take_stock(disk)
    assert files.numbers("a") == [stays.number]
    assert disk.sweep().size == len(b"two")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"agent": 1}', '{"agent": "a", "run": "x"}'])
def test_damaged_metadata_hides_no_other_run(files: TranscriptFiles, disk: TranscriptDisk, text: str) -> None:
    folder = keep(files, "a", b"x")
    keep(files, "a", b"y")
    (folder.path / "run.json").write_text(text)
    with pytest.raises(TranscriptError):
        files.snapshot(folder)
    take_stock(disk)
    assert disk.sweep().size == 1


@pytest.mark.parametrize("trick", ["symlink", "hardlink", "fifo", "folder", "missing"])
async def test_what_is_no_part_is_not_read_and_does_not_hang(  # the agent user may put anything there
    files: TranscriptFiles, tmp_path: Path, trick: str
) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    folder = keep(files, "a", b"one ", b"two ", b"three")
    part = folder.output / "000001"
    reader = TranscriptReader(files)
    _, before = await reader.find("a", None)
    part.unlink()
    tricks: dict[str, Callable[[], None]] = {
        "symlink": lambda: part.symlink_to(precious),
        "hardlink": lambda: part.hardlink_to(precious),
        "fifo": lambda: os.mkfifo(part),
        "folder": part.mkdir,
        "missing": lambda: None,
    }
    tricks[trick]()
    _, after = await reader.find("a", None)
    for extent in (before, after):
        pieces = [piece async for piece in reader.pieces(folder, extent, 0, extent.end, follow=False)]
        assert b"precious" not in b"".join(pieces)
        assert pieces[0] == b"one "
        assert b"three".startswith(pieces[-1])
    TranscriptDisk(files, replace(LIMITS, total=1, runs=1)).sweep()
    assert precious.read_bytes() == b"precious"
    reader.close()


def test_a_run_whose_folder_was_removed_goes_on_in_another(disk: TranscriptDisk, files: TranscriptFiles) -> None:
    run = disk.begin(replace(BEGUN, run_id="r1"))
    run.folder.remove()
    mended, part = disk.mend(run.metadata, "removed", 0.0)
    assert (mended.folder.number, part) == (2, 0)
    assert [gap.reason for gap in files.snapshot(mended.folder)[0].gaps] == ["removed"]


async def test_the_last_lines_are_found_from_the_end(files: TranscriptFiles) -> None:
    text = b"".join(b"line %d\r\n" % number for number in range(20_000))
    folder = keep(files, "a", text[:70_000], text[70_000:])
    reader = TranscriptReader(files)
    _, extent = await reader.find("a", None)
    for count in (0, 1, 5, 10_000, 19_999, 20_000, 30_000):
        start = await reader.start_of_lines(folder, extent, count)
        assert text[start:].splitlines() == (text.splitlines()[-count:] if count else [])
    reader.close()


def test_how_a_lost_run_ended_is_kept_although_the_disk_was_full_at_first(
    files: TranscriptFiles, disk: TranscriptDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = keep(files, "a", b"x" * 2000, end=None)

    def full(_folder: RunFolder, _metadata: RunMetadata) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "write", full)
        take_stock(disk)
    assert folder.read().end is None
    assert disk.sweep().size == 0
    metadata = folder.read()
    assert (metadata.end is not None, metadata.bytes, metadata.dropped) == (True, 2000, 2000)


def test_the_newest_run_stays_although_its_metadata_cannot_be_read_for_a_while(
    files: TranscriptFiles, disk: TranscriptDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = keep(files, "a", b"x" * 2000)
    take_stock(disk)

    def unreadable(_folder: RunFolder) -> RunMetadata:
        raise TranscriptError("too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "read", unreadable)
        assert disk.sweep().size == 0
    assert folder.read().exit_code == 0
    assert disk.sweep().size == 0


def test_what_is_held_of_a_complete_run_is_little(files: TranscriptFiles, disk: TranscriptDisk) -> None:
    runs = 60
    for _ in range(runs):
        keep(files, "a", b"x")
    disk.limits = replace(LIMITS, runs=runs, total=1 << 20)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        take_stock(disk)
        held = (tracemalloc.get_traced_memory()[0] - before) / runs
    finally:
        tracemalloc.stop()
    assert held < 500, held
