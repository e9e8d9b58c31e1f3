"""What is handed on of the changes in a folder, and when."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from agentd.daemon.file_changes import FileChanges
from tests.support.waiting import PATIENCE, wait_for

Wait = Callable[[], "Future[bool]"]

SOON = PATIENCE
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
def begun() -> threading.Event:
    return threading.Event()


@pytest.fixture
def changes(file: Path, interesting: set[Path], seen: set[Path], begun: threading.Event) -> FileChanges:
    def counts(path: Path) -> bool:
        seen.add(path)
        return path in interesting

    return FileChanges([file.parent], counts, begun.set)


@pytest.fixture
def thread(changes: FileChanges) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor
        changes.end()


@pytest.fixture
def wait(changes: FileChanges, thread: ThreadPoolExecutor, begun: threading.Event) -> Wait:
    """Have the thread wait; once this returns, every change is seen."""

    def wait() -> Future[bool]:
        waiting = thread.submit(changes.wait)
        assert begun.wait(SOON)
        return waiting

    return wait


def replace(file: Path, text: str) -> None:
    part = file.with_name(".part")
    part.write_text(text)
    part.rename(file)


def test_each_of_many_replacements_is_handed_on(file: Path, wait: Wait) -> None:
    for number in range(30):
        waiting = wait()
        replace(file, f"{number}")
        assert waiting.result(SOON)


def test_a_change_between_two_waits_is_not_lost(file: Path, wait: Wait) -> None:
    waiting = wait()
    for number in range(10):
        file.write_text(f"{number}")
        assert waiting.result(SOON)
        file.write_text(f"{number} once more")
        waiting = wait()
    assert waiting.result(SOON)


@pytest.mark.parametrize("how", ["replaced", "in place", "removed first"])
def test_every_way_of_writing_a_file_is_handed_on(file: Path, wait: Wait, how: str) -> None:
    for number in range(5):
        waiting = wait()
        if how == "removed first":
            file.unlink()
        if how == "replaced":
            replace(file, f"{number}")
        else:
            file.write_text(f"{number}")
        assert waiting.result(SOON)


def test_names_that_come_and_go_are_handed_on(file: Path, wait: Wait, interesting: set[Path]) -> None:
    for number in range(5):
        name = file.with_name(f"secret-{number}")
        interesting.add(name)
        waiting = wait()
        name.write_text("x")
        assert waiting.result(SOON)
        waiting = wait()
        name.unlink()
        assert waiting.result(SOON)


@pytest.mark.parametrize("how", ["removed", "moved"])
def test_a_folder_that_goes_ends_it_though_another_one_has_its_name(
    file: Path, wait: Wait, changes: FileChanges, how: str
) -> None:
    waiting = wait()
    replace(file, "seen")
    assert waiting.result(SOON)
    waiting = wait()
    if how == "removed":
        file.unlink()
        file.parent.rmdir()
    else:
        file.parent.rename(file.parent.with_name("other"))
    file.parent.mkdir()
    while waiting.result(SOON):
        waiting = wait()
    assert not changes.wait()


def test_a_file_that_is_written_all_the_time_is_handed_on_nevertheless(file: Path, wait: Wait) -> None:
    over = threading.Event()

    def write() -> None:
        while not over.wait(0.005):
            with file.open("a") as opened:
                opened.write("more\n")

    with ThreadPoolExecutor(1) as writer:
        waiting = wait()
        writing = writer.submit(write)
        try:
            assert waiting.result(SOON)
        finally:
            over.set()
        writing.result(SOON)


def test_what_is_of_no_interest_is_not_handed_on(file: Path, wait: Wait, seen: set[Path]) -> None:
    waiting = wait()
    other = file.with_name("other")
    other.write_text("x")
    wait_for(lambda: other in seen)
    assert not waiting.done()
    replace(file, "second")
    assert waiting.result(SOON)


def test_while_nothing_happens_nothing_is_looked_at(
    changes: FileChanges, thread: ThreadPoolExecutor, wait: Wait, file: Path
) -> None:
    number = thread.submit(threading.get_native_id).result(SOON)
    waiting = wait()

    def wakings() -> int:
        lines = Path(f"/proc/self/task/{number}/status").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)

    def stands_still() -> bool:
        # Ten of watchfiles' steps.
        before = wakings()
        threading.Event().wait(0.25)
        return wakings() == before

    wait_for(stands_still)
    replace(file, "second")
    assert waiting.result(SOON)
    waiting = wait()
    wait_for(stands_still)
    changes.end()
    assert not waiting.result(SOON)


def test_the_end_is_noticed_and_may_come_twice(wait: Wait, changes: FileChanges) -> None:
    waiting = wait()
    changes.end()
    assert not waiting.result(SOON)
    changes.end()
    assert not changes.wait()


def test_a_folder_that_is_not_there_cannot_be_watched(short_folder: Path) -> None:
    changes = FileChanges([short_folder / "missing"], lambda _: True, lambda: None)
    with pytest.raises(FileNotFoundError):
        changes.wait()
