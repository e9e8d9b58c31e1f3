"""Files that are to say what was kept last: written again where that failed, and brought to the disk."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from agentd.files import kept_file
from agentd.files.kept_file import KeptFile
from agentd.files.versioned_file import Format, UnusableError
from tests.support.waiting import PATIENCE, until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept.json"


def number_of(found: Mapping[str, object]) -> int:
    return int(str(found["number"]))


def kept(path: Path, told: list[str] | None = None, *, unversioned: bool = False) -> KeptFile[int]:
    return KeptFile(path, Format(1, number_of, unversioned=unversioned), (told if told is not None else []).append)


async def test_what_could_not_be_written_is_written_again_without_a_change(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_file, "AGAIN", 0.01)
    told: list[str] = []
    file = kept(path, told)
    in_the_way = path.with_name(".kept.json.new")
    in_the_way.mkdir()
    assert not file.keep({"number": 1})
    await asyncio.sleep(0)
    # What is kept meanwhile goes before.
    assert not file.keep({"number": 2})
    assert not path.exists()
    in_the_way.rmdir()
    await until(lambda: file.written)
    assert json.loads(path.read_text()) == {"v": 1, "number": 2}
    assert len(told) == 1, "it is told once"
    in_the_way.mkdir()
    assert not file.keep({"number": 3})
    assert len(told) == 2, "and once more, the next time"
    in_the_way.rmdir()
    assert file.keep({"number": 4})
    assert kept(path).read() == 4


async def test_it_is_brought_to_the_disk_after_it_stands_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    synced = watch_syncs(monkeypatch, go_on)
    file = kept(path)
    assert file.keep({"number": 1})
    first = path.stat().st_ino
    await until(lambda: synced == [(first, 1)])
    # The disk is slow: what is written meanwhile is brought to it after that.
    assert file.keep({"number": 2})
    go_on.set()
    folder = (path.parent.stat().st_ino, 0)
    await until(lambda: synced == [(first, 1), folder, (path.stat().st_ino, 2), folder])


def test_without_an_event_loop_it_is_on_the_disk_when_that_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = watch_syncs(monkeypatch, None)
    assert kept(path).keep({"number": 1})
    assert [inode for inode, _ in synced] == [path.stat().st_ino, path.parent.stat().st_ino]


async def test_what_a_thread_could_not_write_is_written_again_unless_something_else_was_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_file, "AGAIN", 0.01)
    file = KeptFile(path, Format(1, number_of), lambda _: None, asyncio.get_running_loop())
    in_the_way = path.with_name(".kept.json.new")
    in_the_way.mkdir()
    for number in (1, 2):
        assert not await asyncio.to_thread(file.keep, {"number": number})
    in_the_way.rmdir()
    await until(lambda: file.written)
    assert kept(path).read() == 2
    in_the_way.mkdir()
    assert not await asyncio.to_thread(file.keep, {"number": 3})
    in_the_way.rmdir()
    # Whichever is first: what was kept last stands there.
    assert await asyncio.to_thread(file.keep, {"number": 4})
    assert kept(path).read() == 4


def watch_syncs(monkeypatch: pytest.MonkeyPatch, go_on: threading.Event | None) -> list[tuple[int, int]]:
    """Note the inode of whatever is synced, and the number that it holds; that may take until it may go on."""
    synced: list[tuple[int, int]] = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        found = os.fstat(descriptor)
        number = json.loads(os.pread(descriptor, 100, 0))["number"] if stat.S_ISREG(found.st_mode) else 0
        synced.append((found.st_ino, number))
        if go_on is not None:
            go_on.wait(PATIENCE)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    return synced


@pytest.mark.parametrize("unversioned", [False, True])
def test_what_a_newer_agentd_wrote_is_left_as_it_is(path: Path, unversioned: bool) -> None:
    newer = '{"v": 2, "number": "many"}'
    path.write_text(newer)
    told: list[str] = []
    file = kept(path, told, unversioned=unversioned)
    with pytest.raises(UnusableError, match=r"expected version 1, found 2: a newer agentd wrote it, and it is left"):
        file.read()
    assert not file.keep({"number": 1})
    assert (path.read_text(), told, file.written) == (newer, [], False)


def test_one_of_no_version_is_read_where_that_is_the_first(path: Path) -> None:
    path.write_text('{"number": 7}')
    assert kept(path, unversioned=True).read() == 7
    with pytest.raises(UnusableError, match="expected version 1, found None"):
        kept(path).read()
    assert kept(path, unversioned=True).keep({"number": 8})
    assert path.read_text() == '{"number": 8}'


def test_another_form_is_said(path: Path) -> None:
    path.write_text('{"v": 1, "number": "x"}')
    with pytest.raises(UnusableError, match="invalid literal"):
        kept(path).read()
