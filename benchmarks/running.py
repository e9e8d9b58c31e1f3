"""An agentd and a floor that run, and that leave nothing when they end."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Iterator, Mapping

from benchmarks.floor import Floor
from benchmarks.machine import working_folder
from benchmarks.rollcall import RollCall
from benchmarks.subject import Subject, table
from tests.support.processes import end_marked


def say(text: str) -> None:
    """Report progress, which is no part of the table."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def running_agentd(*flags: str) -> Iterator[Subject]:
    """An agentd that runs without agents, and that leaves nothing when this ends."""
    folder = working_folder()
    try:
        with contextlib.ExitStack() as stack:
            (folder / "agentd").mkdir()
            roll = stack.enter_context(RollCall(folder))
            subject = Subject(folder / "agentd", roll)
            stack.callback(_close, subject)
            subject.start(*flags)
            yield subject
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _close(subject: Subject) -> None:
    try:
        problems = subject.daemon.close()
    except AssertionError as error:
        problems = [str(error)]
        end_marked(str(subject.daemon.bin))
    for problem in problems:
        if not problem.startswith("---"):  # the end of the log, for tests
            print(f"warning: {problem}", file=sys.stderr)


@contextlib.contextmanager
def running_floor(environment: Mapping[str, str]) -> Iterator[Floor]:
    """A bare tmux server without agents, and that leaves nothing when this ends."""
    folder = working_folder()
    try:
        with contextlib.ExitStack() as stack:
            roll = stack.enter_context(RollCall(folder))
            floor = Floor(folder, environment, roll)
            stack.callback(floor.close)
            floor.open()
            yield floor
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def warm_up() -> dict[str, str]:
    """Run one agent once, so that nothing is read from disk later; the environment that agentd gives agents."""
    with running_agentd() as subject:
        subject.launch(table("first", subject.roll.command), 1)
        return subject.environment_of("first")
