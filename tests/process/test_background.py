"""What a turn has left running, told of real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from agentd.model.spec import RUN_ID_VARIABLE
from agentd.process.background import Turn, boot_time, left_running, names_of, read_parents, still_running
from agentd.process.identity import ProcessIdentity
from tests.support.waiting import wait_for

Start = Callable[..., subprocess.Popen[bytes]]
RUN = "run-of-background"


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process as harnesses start tools; all are ended."""
    started: list[subprocess.Popen[bytes]] = []

    def run(*words: str, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            words,
            stdin=stdin,
            stdout=stdout,
            start_new_session=True,
            env={**os.environ, RUN_ID_VARIABLE: RUN},
        )
        started.append(process)
        return process

    yield run
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def later() -> float:
    """Wait until the clock of processes, of 10 ms, has gone on."""
    begun = boot_time()
    wait_for(lambda: boot_time() > begun + 0.03)
    return boot_time()


def left(began: float, ended: float) -> set[int]:
    me = ProcessIdentity.of(os.getpid())
    assert me is not None
    return {each.pid for each in left_running(Turn(RUN, me, began, ended), read_parents())}


def test_what_began_in_the_turn_is_left_and_what_began_before_or_after_is_not(start: Start) -> None:
    before = start("sleep", "4711")
    began = later()
    tool = start("sleep", "4711")
    ended = later()
    later()
    after = start("sleep", "4711")
    assert {before.pid, tool.pid, after.pid} & left(began, ended) == {tool.pid}


@pytest.mark.parametrize("pipe", [True, False])
def test_what_the_agent_talks_to_serves_it(start: Start, pipe: bool) -> None:
    began = later()
    server = start("sleep", "4711", stdin=subprocess.PIPE if pipe else subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert (server.pid in left(began, later())) is not pipe


def test_a_tool_in_the_middle_of_a_pipe_is_told_by_its_shell(start: Start) -> None:
    began = later()
    tool = start("sh", "-c", "sleep 4711 | sleep 4712 | cat")
    identity = ProcessIdentity.of(tool.pid)
    assert identity is not None
    wait_for(lambda: names_of(still_running([identity])) == ("sleep 4711", "sleep 4712", "cat"))
    assert tool.pid in left(began, later())
    assert names_of(still_running([identity])) == ("sleep 4711", "sleep 4712", "cat")


def test_an_orphan_of_the_run_is_left_and_outlives_its_shell(start: Start) -> None:
    began = later()
    shell = start("sh", "-c", "setsid sleep 4713 & echo $!", stdout=subprocess.PIPE)
    assert shell.stdout is not None
    pid = int(shell.stdout.readline())
    shell.wait()
    try:
        # Between two programs a process has no environment.
        wait_for(lambda: pid in left(began, later()))
        assert pid not in left(began - 10, began - 0.1)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_an_agent_that_began_with_its_turn_and_the_sandbox_above_it_are_no_tools(start: Start) -> None:
    began = later()
    sandbox = start("sh", "-c", "sleep 4715; true")
    wait_for(lambda: [pid for pid in still_running_below(sandbox.pid) if command(pid) == "sleep 4715"])
    [inner] = still_running_below(sandbox.pid)
    agent = ProcessIdentity.of(inner)
    assert agent is not None
    found = left_running(Turn(RUN, agent, began, later()), read_parents())
    assert {sandbox.pid, inner}.isdisjoint(each.pid for each in found)


def still_running_below(pid: int) -> list[int]:
    return [each for each, (parent, _) in read_parents().items() if parent == pid]


def command(pid: int) -> str:
    identity = ProcessIdentity.of(pid)
    return " ".join(names_of([identity])) if identity is not None else ""


def test_what_is_below_one_that_has_ended_is_still_known(start: Start) -> None:
    shell = start("sh", "-c", "sleep 4714 & wait")
    identity = ProcessIdentity.of(shell.pid)
    assert identity is not None
    wait_for(lambda: names_of(still_running([identity])) == ("sleep 4714",))
    known = still_running([identity])
    shell.kill()
    shell.wait()
    rest = still_running(known)
    assert names_of(rest) == ("sleep 4714",)
    os.kill(rest[0].pid, signal.SIGKILL)
    wait_for(lambda: not still_running(rest))


def test_a_look_at_all_processes_is_quick() -> None:
    count, begun = len(read_parents()), time.process_time()
    read_parents()
    assert time.process_time() - begun < 0.01 + count * 0.0002
