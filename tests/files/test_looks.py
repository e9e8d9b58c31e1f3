"""Looks at paths on file systems that do not answer."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentd.files.answering import NotAnsweringError, Way, within
from agentd.files.looks import Looks
from agentd.files.mounts import mount_of
from tests.support.hung import hung

LIMIT = 0.4
"""Seconds; a look that answers has to be made within it on a loaded machine too."""


@pytest.fixture
def answered() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
async def looks(answered: asyncio.Event) -> AsyncIterator[Looks]:
    made = Looks(answered.set, LIMIT)
    yield made
    made.close()


async def test_a_look_gives_what_its_job_gives(looks: Looks, short_folder: Path) -> None:
    assert await looks.look(short_folder, short_folder.is_dir)
    with pytest.raises(FileNotFoundError):
        await looks.look(short_folder / "x", (short_folder / "x").stat)


async def test_a_path_that_hangs_is_named_whatever_link_led_there(looks: Looks, short_folder: Path) -> None:
    with hung(short_folder / "mnt") as mount:
        (short_folder / "link").symlink_to("mnt")
        with pytest.raises(NotAnsweringError, match=f"{mount.folder} does not answer"):
            await looks.look(short_folder / "link" / "below", lambda: None)
        assert [slow.path for slow in looks.slow() if slow.seconds < 1] == []
        assert looks.stuck == (str(mount.folder),)


async def test_what_hangs_is_asked_once_and_the_others_answer_meanwhile(looks: Looks, short_folder: Path) -> None:
    with hung(short_folder / "mnt") as mount:
        first = [looks.look(mount.folder / str(number), lambda: None) for number in range(40)]
        good = asyncio.ensure_future(looks.look(short_folder, lambda: True))
        refused = await asyncio.gather(*first, return_exceptions=True)
        assert all(isinstance(each, NotAnsweringError) for each in refused)
        assert await good
        took = []
        for number in range(5):
            begun = time.monotonic()
            with pytest.raises(NotAnsweringError):
                await looks.look(mount.folder / f"later{number}", lambda: None)
            took.append(time.monotonic() - begun)
        # The best of several: the machine may be loaded.
        assert min(took) < LIMIT, took


async def test_what_answers_again_is_told_and_looked_at(
    looks: Looks, answered: asyncio.Event, short_folder: Path
) -> None:
    with hung(short_folder / "mnt") as mount:
        with pytest.raises(NotAnsweringError):
            await looks.look(mount.folder, mount.folder.stat)
        mount.release()
        await asyncio.wait_for(answered.wait(), 30)
        assert looks.stuck == ()
        assert await looks.look(mount.folder, mount.folder.is_dir)


async def test_of_many_paths_only_those_that_hang_are_missed(looks: Looks, short_folder: Path) -> None:
    paths = [short_folder / name for name in ("a", "mnt1/x", "b", "mnt2/x", "mnt1/y", "c")]
    for name in "abc":
        (short_folder / name).write_text(name)
    with hung(short_folder / "mnt1"), hung(short_folder / "mnt2"):
        found = await looks.each(paths, lambda path: path.read_text())
        assert {path.name: text for path, text in found.items() if isinstance(text, str)} == {
            "a": "a",
            "b": "b",
            "c": "c",
        }
        assert sum(isinstance(each, NotAnsweringError) for each in found.values()) == 3


async def test_joined_looks_are_made_by_one_thread(looks: Looks, short_folder: Path) -> None:
    async def later(turns: int) -> int:
        for _ in range(turns):
            await asyncio.sleep(0)
        return await looks.look(short_folder, threading.get_ident, joined=True)

    assert len(set(await asyncio.gather(*(later(number) for number in range(5))))) == 1


async def test_of_joined_looks_only_those_that_hang_are_missed(looks: Looks, short_folder: Path) -> None:
    async def text(name: str) -> str:
        return await looks.look(short_folder / name, (short_folder / name).read_text, joined=True)

    for name in "abc":
        (short_folder / name).write_text(name)
    with hung(short_folder / "mnt1") as first, hung(short_folder / "mnt2") as second:
        names = ("a", "mnt1/x", "b", "mnt2/x", "mnt1/y", "c")
        found = await asyncio.gather(*map(text, names), return_exceptions=True)
        assert [each for each in found if isinstance(each, str)] == ["a", "b", "c"]
        assert sum(isinstance(each, NotAnsweringError) for each in found) == 3
        assert looks.stuck == (str(first.folder), str(second.folder))
        assert await text("a") == "a"


async def test_what_is_listed_and_looked_at_in_one_go_may_hang_at_either(looks: Looks, short_folder: Path) -> None:
    def listed(way: Way) -> list[Path]:
        way.to(short_folder / "list")
        return [short_folder / name for name in ("a", "mnt/x", "b")]

    for name in "ab":
        (short_folder / name).write_text(name)
    with hung(short_folder / "mnt"):
        found = await looks.each(listed, Path.read_text)
        assert [each for each in found.values() if isinstance(each, str)] == ["a", "b"]
        assert isinstance(found[short_folder / "mnt/x"], NotAnsweringError)
        (short_folder / "list").symlink_to("mnt/y")
        with pytest.raises(NotAnsweringError):
            await looks.each(listed, Path.read_text)


async def test_what_is_at_the_place_of_a_mount_that_hangs_is_looked_at(looks: Looks, short_folder: Path) -> None:
    with hung(short_folder / "mnt") as mount:
        before = mount_of(str(mount.folder))
        with pytest.raises(NotAnsweringError):
            await looks.look(mount.folder, mount.folder.stat)
        mount.detach()
        assert mount_of(str(mount.folder)) != before
        looks.mount_look = 0
        assert await looks.look(mount.folder, mount.folder.is_dir)
        assert looks.stuck == (str(mount.folder),)


@pytest.mark.parametrize("below", ["", "x", "x/y"])
async def test_a_mount_that_goes_before_the_look_is_given_up_hides_nothing(
    looks: Looks, short_folder: Path, below: str
) -> None:
    path = short_folder / "mnt" / below
    path.mkdir(parents=True)
    looks.mount_look = 0
    for _ in range(2):  # what was found out the first time holds for no later mount
        with hung(short_folder / "mnt") as mount:
            task = asyncio.ensure_future(looks.look(path, path.stat))
            await asyncio.sleep(LIMIT / 3)
            mount.detach()
            with pytest.raises(NotAnsweringError):
                await task
            assert await looks.look(path, path.is_dir)
            await asyncio.sleep(LIMIT)


async def test_a_mount_that_hangs_on_is_asked_once_more_and_no_more(looks: Looks, short_folder: Path) -> None:
    looks.mount_look = 0
    with hung(short_folder / "mnt") as mount:
        for _ in range(4):
            with pytest.raises(NotAnsweringError):
                await looks.look(mount.folder, lambda: None)
        assert looks.stuck == (str(mount.folder),)
        assert len(looks._stuck) == 2


def test_a_program_does_not_hang_either(short_folder: Path) -> None:
    with hung(short_folder / "mnt") as mount, pytest.raises(NotAnsweringError, match="does not answer"):
        within(mount.folder / "x", lambda: None, LIMIT)
    assert within(short_folder, lambda: 3) == 3
