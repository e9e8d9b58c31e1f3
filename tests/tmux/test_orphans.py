from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
import pytest

from agentd.model.spec import RUN_ID_VARIABLE
from agentd.process import orphans
from agentd.process import reaper as reaping
from agentd.process.orphans import hold_marked
from agentd.process.proc import ancestors, look_for_run_id
from agentd.process.reaper import ProcessTree, Reaper, end_found
from tests.support.processes import alive
from tests.support.waiting import wait_for

RUN = f"{os.getpid()}-orphans"
"""Of this process alone: processes are found by it wherever they are, and tests run beside each other."""
ADOPTERS = frozenset(ancestors(os.getpid()))

HOP = """import os, signal, sys, time
os.open(sys.argv[1], os.O_WRONLY)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
until = time.monotonic() + 30
while time.monotonic() < until:
    if os.fork(): os._exit(0)
    os.setsid()
    if sys.argv[2] == "told": signal.sigtimedwait({signal.SIGUSR1}, 30)
    else: time.sleep(float(sys.argv[2]))
"""
"""One process at a time: each starts the next and ends, at once or when it is told to."""


class Hopper:
    """A process that is another one again and again; whether one is left, a FIFO tells that each has open."""

    def __init__(self, folder: Path, pause: str) -> None:
        fifo, program = folder / "fifo", folder / "hop.py"
        os.mkfifo(fifo)
        program.write_text(HOP)
        self._descriptor = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        argv = [sys.executable, "-I", "-S", str(program), str(fifo), pause]
        subprocess.run(argv, env={**os.environ, RUN_ID_VARIABLE: RUN}, check=True)

    def left(self) -> bool:
        """Whether it lives, whatever its pid is."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Forget it."""
        os.close(self._descriptor)


@pytest.fixture
def orphan() -> Iterator[int]:
    """A marked process without parents."""
    argv = ["/bin/sh", "-c", "sleep 1000 >/dev/null & echo $!"]
    environment = {**os.environ, RUN_ID_VARIABLE: RUN}
    pid = int(subprocess.run(argv, env=environment, check=True, stdout=subprocess.PIPE).stdout)
    wait_for(lambda: look_for_run_id(pid) == (RUN, True) and psutil.Process(pid).name() == "sleep")
    yield pid
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not alive(pid))


@pytest.fixture
def reaper() -> Reaper:
    made = Reaper(limit=10.0)
    made.server = os.getpid()
    return made


def test_a_marked_orphan_is_stopped_and_a_stranger_is_not(orphan: int) -> None:
    assert hold_marked({"another-run"}, ADOPTERS, ()) == ([], True)
    assert psutil.Process(orphan).status() != psutil.STATUS_STOPPED
    assert hold_marked({RUN}, ADOPTERS, {orphan}) == ([], True)
    assert hold_marked({RUN}, ADOPTERS, ()) == ([(RUN, orphan)], True)
    wait_for(lambda: psutil.Process(orphan).status() == psutil.STATUS_STOPPED)


def test_without_pidfds_it_is_stopped_too(orphan: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "HAS_PIDFD", False)
    assert hold_marked({RUN}, ADOPTERS, ()) == ([(RUN, orphan)], True)
    wait_for(lambda: psutil.Process(orphan).status() == psutil.STATUS_STOPPED)


@pytest.mark.parametrize("pause", ["0.002", "0.0005", "0"])
async def test_a_process_that_hops_from_pid_to_pid_is_caught(pause: str, reaper: Reaper, short_folder: Path) -> None:
    hopper = Hopper(short_folder, pause)
    assert hopper.left()
    assert await reaper.end(ProcessTree(RUN, None)) == set()
    assert not hopper.left()
    hopper.close()


async def test_one_that_was_marked_and_is_gone_has_left_another(
    reaper: Reaper, short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hopper = Hopper(short_folder, "told")

    def late(pid: int) -> tuple[str | None, bool]:
        answer = look_for_run_id(pid)
        if answer == (RUN, True):
            os.kill(pid, signal.SIGUSR1)
            wait_for(lambda: not alive(pid))
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(orphans, "look_for_run_id", late)
        assert end_found([ProcessTree(RUN, None)], os.getpid(), ADOPTERS).found[RUN]
    assert hopper.left()
    assert await reaper.end(ProcessTree(RUN, None)) == set()
    assert not hopper.left()
    hopper.close()


def test_one_that_cannot_be_told_is_looked_at_again(orphan: int, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = itertools.count()

    def untold_at_first(pid: int) -> tuple[str | None, bool]:
        return (None, False) if pid == orphan and next(looks) < 3 else look_for_run_id(pid)

    monkeypatch.setattr(orphans, "look_for_run_id", untold_at_first)
    monkeypatch.setattr(orphans, "_LIMIT", 30.0)
    assert hold_marked({RUN}, ADOPTERS, ()) == ([(RUN, orphan)], True)


def test_one_that_can_never_be_told_is_taken_for_a_stranger(orphan: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        orphans, "look_for_run_id", lambda pid: (None, False) if pid == orphan else look_for_run_id(pid)
    )
    wait_for(lambda: hold_marked({RUN}, ADOPTERS, ()) == ([], True))


def test_one_that_the_kernel_skipped_as_another_left_the_list_is_found(
    orphan: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = orphans.orphans
    gone = 2**22 + 1
    skipping = iter([{gone}, set()])

    def skips(adopters: Iterable[int]) -> set[int]:
        found = listed(adopters)
        left = next(skipping, None)
        return found if left is None else found - {orphan} | left

    monkeypatch.setattr(orphans, "orphans", skips)
    assert hold_marked({RUN}, ADOPTERS, ()) == ([(RUN, orphan)], True)


async def test_orphans_that_come_and_go_too_fast_prove_nothing_and_are_not_waited_for_for_ever(
    orphan: int, reaper: Reaper, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = orphans.orphans
    fleeting: Iterator[int] = iter(range(2**22, 2**22 + 50))

    def busy(adopters: Iterable[int]) -> set[int]:
        one = next(fleeting, None)
        return listed(adopters) if one is None else {one}

    monkeypatch.setattr(orphans, "orphans", busy)
    monkeypatch.setattr(orphans, "_LIMIT", 0.0)
    assert hold_marked({RUN}, ADOPTERS, ()) == ([], False)
    assert await reaper.end(ProcessTree(RUN, None)) == set()
    assert not alive(orphan)
    fleeting = itertools.count(2**22)
    monkeypatch.setattr(reaping, "_UNSURE_LIMIT", 0.1)
    assert await reaper.end(ProcessTree(RUN, None)) == set()
