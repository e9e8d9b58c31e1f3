"""What a word of the command line names."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.jcard.given_file import given_file


@pytest.fixture(params=[folder for folder in ("/tmp", "/dev/shm") if os.access(folder, os.W_OK)])
def jcard(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A regular file, on a disk or in memory."""
    with tempfile.TemporaryDirectory(dir=request.param) as folder:
        path = Path(folder) / "jcard.toml"
        path.write_text("# none\n")
        yield path


def test_relative_paths_of_a_file_start_in_its_own_folder(jcard: Path) -> None:
    given = given_file(str(jcard))
    assert (given.stream, given.folder) == (False, jcard.parent)


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}", "/proc/{pid}/fd/{}"])
def test_relative_paths_of_an_open_file_start_here(jcard: Path, name: str) -> None:
    with jcard.open("rb") as file:
        given = given_file(name.format(file.fileno(), pid=os.getpid()))
        assert (given.stream, given.folder, given.read()) == (True, Path.cwd(), b"# none\n")


def test_standard_input_is_a_stream() -> None:
    assert given_file("-").stream
    assert given_file("/dev/stdin").stream
