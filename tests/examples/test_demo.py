"""`make demo`, without the make: what it tells its user is true, and it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.processes import end_marked, marked
from tests.support.waiting import wait_for

pytestmark = pytest.mark.thorough  # 5 s of CPU each, and .ci/run makes the demo too

DEMO = Path(__file__).resolve().parents[2] / "examples/quickstart/demo.py"


@contextmanager
def demo(folder: Path, **env: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Run the demo with everything it writes below ``folder``, output included."""
    output = folder / "output"
    runtime = folder / "run"
    runtime.mkdir()
    with (
        output.open("wb") as file,
        subprocess.Popen(
            [sys.executable, DEMO],
            env={**os.environ, "XDG_RUNTIME_DIR": str(runtime), **env},
            stdout=file,
            stderr=file,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process, output
        finally:
            process.kill()
            if sys.exc_info()[0] is not None:
                end_marked(str(folder))
    assert list(runtime.iterdir()) == []
    assert marked(str(folder)) == []


def test_the_unattended_demo_sees_all_it_promises(short_folder: Path) -> None:
    with demo(short_folder, DEMO_SECONDS="100") as (process, output):
        assert process.wait(110) == 0, output.read_text()
    text = output.read_text()
    assert "asker's terminal shows: Hello Ada!" in text
    assert "nothing is left behind" in text


def test_a_demo_that_has_no_time_for_its_story_fails_and_says_what_is_missing(short_folder: Path) -> None:
    with demo(short_folder, DEMO_SECONDS="0.1") as (process, output):
        assert process.wait(60) == 1, output.read_text()
    assert "not seen within 0.1 s" in output.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_c_c_ends_everything(short_folder: Path, number: int) -> None:
    with demo(short_folder) as (process, output):
        wait_for(
            lambda: "crasher   running" in output.read_text(),
            60,
            what="the demo shows events",
            explain=output.read_text,
        )
        process.send_signal(number)
        assert process.wait(60) == 0, output.read_text()
    assert "nothing is left behind" in output.read_text()
