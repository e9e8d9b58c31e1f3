"""What is handed on of the changes in a folder, and when."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agentd.daemon.file_changes import FileChanges
from tests.support.waiting import wait_for

SOON = 5.0
"""Seconds within which everything here happens; nothing waits for as long."""


@pytest.fixture
def file(short_folder: Path) -> Path:
    file = short_folder / "jcard.toml"
    file.write_text("first")
    return file


@pytest.fixture
def interesting(file: Path) -> set[Path]:
    return {file}


@pytest.fixture
def seen() -> set[Path]:
    """Every path that was asked about."""
    return set()


@pytest.fixture
def changes(file: Path, interesting: set[Path], seen: set[Path]) -> Iterator[FileChanges]:
    def counts(path: Path) -> bool:
        seen.add(path)
        return path in interesting

    changes = FileChanges([file.parent], counts, [file])
    yield changes
    changes.end()


@pytest.fixture
def thread(changes: FileChanges) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor
        changes.end()


def replace(file: Path, text: str) -> None:
    part = file.with_name(".part")
    part.write_text(text)
    part.rename(file)


def count_settling(changes: FileChanges, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Have an entry added for each time that something had to stand still."""
    settled: list[bool] = []
    settle = changes._let_settle

    def told() -> None:
        settled.append(True)
        settle()

    monkeypatch.setattr(changes, "_let_settle", told)
    return settled


def test_each_of_many_replacements_is_handed_on(file: Path, changes: FileChanges, thread: ThreadPoolExecutor) -> None:
    for number in range(30):
        waiting = thread.submit(changes.wait)
        replace(file, f"{number}")
        assert waiting.result(SOON)


def test_a_change_between_two_waits_is_not_lost(file: Path, changes: FileChanges) -> None:
    for number in range(10):
        file.write_text(f"{number}")
        assert changes.wait()


@pytest.mark.parametrize("how", ["replaced", "in place", "removed first"])
def test_what_is_not_replaced_as_a_whole_has_to_stand_still(
    file: Path, changes: FileChanges, thread: ThreadPoolExecutor, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled = count_settling(changes, monkeypatch)
    waiting = thread.submit(changes.wait)
    if how == "removed first":
        file.unlink()
    if how == "replaced":
        replace(file, "second")
    else:
        file.write_text("second")
    assert waiting.result(SOON)
    assert bool(settled) == (how != "replaced")


def test_a_file_that_was_away_is_not_taken_for_replaced_when_it_is_written_anew(
    file: Path, changes: FileChanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled = count_settling(changes, monkeypatch)
    for number in range(3):
        file.unlink()
        assert changes.wait()
        file.write_text(f"{number}")
        assert changes.wait()
    assert len(settled) == 6


def test_names_that_come_and_go_are_not_remembered(file: Path, changes: FileChanges, interesting: set[Path]) -> None:
    for number in range(5):
        name = file.with_name(f"secret-{number}")
        interesting.add(name)
        name.write_text("x")
        assert changes.wait()
        name.unlink()
        assert changes.wait()
    assert changes._there == {file}


def test_a_file_that_is_written_all_the_time_is_handed_on_nevertheless(
    file: Path, changes: FileChanges, thread: ThreadPoolExecutor
) -> None:
    over = threading.Event()

    def write() -> None:
        while not over.wait(0.005):
            with file.open("a") as opened:
                opened.write("more\n")

    with ThreadPoolExecutor(1) as writer:
        writing = writer.submit(write)
        try:
            assert thread.submit(changes.wait).result(SOON)
        finally:
            over.set()
        writing.result(SOON)


def test_what_is_of_no_interest_is_not_handed_on(
    file: Path, changes: FileChanges, thread: ThreadPoolExecutor, seen: set[Path]
) -> None:
    waiting = thread.submit(changes.wait)
    other = file.with_name("other")
    other.write_text("x")
    wait_for(lambda: other in seen)
    assert not waiting.done()
    replace(file, "second")
    assert waiting.result(SOON)


def test_the_end_is_noticed_and_may_come_twice(changes: FileChanges, thread: ThreadPoolExecutor) -> None:
    waiting = thread.submit(changes.wait)
    changes.end()
    assert not waiting.result(SOON)
    changes.end()


def test_a_folder_that_is_not_there_cannot_be_watched(short_folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileChanges([short_folder / "missing"], lambda _path: True)
