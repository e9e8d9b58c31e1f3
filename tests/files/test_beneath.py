"""What is below a folder whose owner may put links there: read where it stands, and no link followed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentd.files.beneath import list_beneath, open_beneath, read_link_beneath, stat_beneath
from agentd.files.looks import Looks
from agentd.files.regular import NotRegularError, open_regular, read_regular
from agentd.turns.file_changes import FileChanges, Stamp


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a file in a folder, and what is outside of it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("s3cret")
    home = tmp_path / "home"
    (home / "folder").mkdir(parents=True)
    (home / "folder/file").write_text("own")
    return home


def test_what_stands_there_is_read(home: Path) -> None:
    assert read_regular(home / "folder/file", 10, beneath=home) == b"own"
    assert stat_beneath(home, home / "folder/file").st_size == 3
    assert list_beneath(home, home / "folder") == ["file"]
    assert list_beneath(home, home) == ["folder"]


@pytest.mark.parametrize("link", ["link", "folder/link", "linked/secret", "linked"])
@pytest.mark.parametrize("relative", [False, True])
def test_no_link_is_followed_wherever_it_leads(home: Path, link: str, *, relative: bool) -> None:
    outside = Path("../outside") if relative else home.parent / "outside"
    (home / "linked").symlink_to(outside)
    (home / "link").symlink_to(outside / "secret")
    (home / "folder/link").symlink_to("file")
    for reach in (
        lambda: read_regular(home / link, 10, beneath=home),
        lambda: list_beneath(home, home / link),
        lambda: os.close(open_beneath(home, home / link, os.O_RDONLY)),
    ):
        with pytest.raises((NotRegularError, NotADirectoryError, OSError), match=r"symbolic|directory|regular"):
            reach()


def test_no_way_leads_out(home: Path) -> None:
    for path in (home / "../outside/secret", home / "folder/../../outside/secret", home.parent / "outside/secret"):
        with pytest.raises(OSError, match="leads out of"):
            read_regular(path, 10, beneath=home)


def test_a_link_in_place_of_the_home_is_not_followed(home: Path) -> None:
    elsewhere = home.rename(home.with_name("elsewhere"))
    home.symlink_to(elsewhere)
    with pytest.raises(NotADirectoryError):
        read_regular(home / "folder/file", 10, beneath=home)


def test_neither_a_fifo_nor_a_folder_is_read(home: Path) -> None:
    os.mkfifo(home / "fifo")
    for name in ("fifo", "folder"):
        with pytest.raises(NotRegularError), open_regular(home / name, home):
            pass


def test_a_link_is_read_as_one_where_that_is_wanted(home: Path) -> None:
    (home / "link").symlink_to("/tmp/x")
    folder = os.open(home, os.O_RDONLY)
    try:
        assert read_link_beneath(folder, Path("/link")) == "/tmp/x"
        assert stat_beneath(folder, Path("/folder/file")).st_size == 3
    finally:
        os.close(folder)


async def test_changes_behind_a_link_are_not_told(home: Path) -> None:
    looks = Looks()
    changes = FileChanges(looks)
    told: list[Stamp | None] = []
    (home / "link").symlink_to(home.parent / "outside/secret")
    (home / "linked").symlink_to(home.parent / "outside")
    for path in (home / "linked/secret", home / "folder/file"):
        changes.watch(path, told.append, home)
    await changes.look()
    looks.close()
    assert told == [((found := (home / "folder/file").stat()).st_ino, found.st_size, found.st_mtime_ns)]
