"""What a program reads and prints, within bounds."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from agentd.process.runner import Runner, RunnerError
from tests.worktrees.repositories import invoking_user


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(invoking_user(tmp_path), {"PATH": os.environ["PATH"]})


def test_more_than_a_pipe_holds_goes_both_ways(runner: Runner) -> None:
    data = bytes(range(256)) * 4096
    assert runner.run(["cat"], stdin=data).out == data
    pieces: list[bytes] = []
    assert runner.run(["cat"], stdin=data, take=pieces.append).out == b""
    assert b"".join(pieces) == data


def test_one_that_does_not_read_its_input_ends_well(runner: Runner) -> None:
    assert runner.run(["true"], stdin=bytes(1_000_000)).status == 0


def test_one_that_prints_without_end_is_ended(runner: Runner) -> None:
    with pytest.raises(RunnerError, match="yes printed more than 100000 bytes and was ended"):
        runner.run(["yes"], most=100_000)


def test_of_complaints_without_end_the_beginning_is_kept(runner: Runner) -> None:
    done = runner.script(b"echo first >&2; head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 3")
    assert (done.status, len(done.err)) == (3, 64 * 1024)
    assert done.reason.startswith("first; xxx")
    assert len(done.reason) < 2010


def test_what_takes_too_long_is_ended(runner: Runner) -> None:
    begun = time.monotonic()
    for script in (b"sleep 600", b"exec >&- 2>&-; sleep 600"):
        with pytest.raises(RunnerError, match="took longer than 0 s"):
            runner.script(script, limit=0.1)
    assert time.monotonic() - begun < 30


def test_a_reader_that_fails_ends_the_program(runner: Runner) -> None:
    def full(_: bytes) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        runner.run(["yes"], take=full)
