"""How agentd-fleet starts, waits and ends, with scripts in the place of Ray."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from agentd.fleet.progress import progress_file, read_progress, what_is_wrong
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(500)]

_PROGRAM = """
import sys, json
from dataclasses import dataclass
from pathlib import Path
from agentd.fleet import running
from agentd.fleet.guarding import Guard
from agentd.fleet.ray_node import RayNode
from agentd.launch.census import Instance

given = json.loads(sys.argv[1])
folder = Path(given["folder"])
running._ACTORS = ("sh", "-c", given["actors"])
running._LOOK, running._SILENT = 0.1, given["silent"]

class Node(RayNode):
    def command(self, ray):
        return ["sh", "-c", given["ray"], "ray", f"--temp-dir={self.folder}"]

guard = Guard(folder / "drop-ins", folder / "api", folder / "tmux", folder / "runs", Instance.of(folder, folder), print)
node = Node(folder / "ray", "127.0.0.1", None, 7)
sys.exit(running.Running(node, {"stop": False}, guard, folder / "fleet", given["within"], given["beside"]).run())
"""
_THERE = "echo Ray runtime started; exec sleep 600"
_LONG = 600.0
_PATIENCE = 120.0

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(short_folder: Path) -> Iterator[Start]:
    """Start it with these scripts for Ray and for what starts the actors; the socket of the Node is the test's."""
    with contextlib.ExitStack() as stack:

        def begin(
            ray: str,
            actors: str = "cat >/dev/null",
            *,
            within: float = _LONG,
            silent: float = _LONG,
            beside: bool = False,
        ) -> subprocess.Popen[str]:
            given = {
                "folder": str(short_folder), "ray": ray, "actors": actors, "within": within, "silent": silent,
                "beside": beside,
            }  # fmt: skip
            process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, json.dumps(given)], stderr=subprocess.PIPE, text=True
            )
            stack.callback(kill_with_ray, process)
            return process

        yield begin


def kill_with_ray(process: subprocess.Popen[str]) -> None:
    """Take care of what no agentd-fleet does after this one."""
    with contextlib.suppress(psutil.NoSuchProcess):
        own = psutil.Process(process.pid)
        own.suspend()
        for each in own.children(recursive=True):
            each.kill()
    process.kill()
    process.communicate(timeout=_PATIENCE)


@contextlib.contextmanager
def a_node(folder: Path) -> Iterator[None]:
    """Listen as a Node does."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "fleet"))
        listening.listen()
        yield


def said(folder: Path) -> str:
    return what_is_wrong(folder / "fleet", 0.0) or ""


def is_doing(folder: Path, what: str) -> bool:
    progress = read_progress(progress_file(folder / "fleet"))
    return progress is not None and progress.doing == what


def test_ray_that_hangs_is_ended_and_that_is_told(start: Start, short_folder: Path) -> None:
    process = start("exec sleep 600", within=1.0)
    _, err = process.communicate(timeout=_PATIENCE)
    assert (process.returncode, "agentd-fleet: Ray did not start within 1s\n" in err) == (1, True), err
    assert said(short_folder) == "agentd-fleet ended 0s ago: Ray did not start within 1s"


def test_the_next_one_says_why_the_one_before_gave_up(start: Start, short_folder: Path) -> None:
    start("exec sleep 600", within=1.0).communicate(timeout=_PATIENCE)
    process = start("exec sleep 600", within=240.0)
    wait_for(partial(is_doing, short_folder, "Ray to start"), _PATIENCE)
    assert "and gives up after 4m; before, Ray did not start within 1s" in said(short_folder)
    kill_with_ray(process)
    assert said(short_folder) == "agentd-fleet was killed, and waited for Ray to start"


def test_a_node_that_ray_does_not_start_ends_it_all(start: Start, short_folder: Path) -> None:
    process = start("", "cat >/dev/null; exec sleep 600", within=1.0, beside=True)
    _, err = process.communicate(timeout=_PATIENCE)
    assert (process.returncode, "agentd-fleet: Ray did not start the Node within 1s" in err) == (1, True), err
    process = start(_THERE, "cat >/dev/null; echo why >&2; exit 1")
    _, err = process.communicate(timeout=_PATIENCE)
    assert (process.returncode, "why\nagentd-fleet: Ray did not start the Node" in err) == (1, True), err
    assert "Ray did not start the Node" in said(short_folder)
    process = start(_THERE, "cat >/dev/null; echo there is a host two already; exit 1")
    _, err = process.communicate(timeout=_PATIENCE)
    assert (process.returncode, "agentd-fleet: there is a host two already" in err) == (1, True), err
    assert "there is a host two already" in said(short_folder)


def test_ray_that_ends_is_told_with_what_it_said(start: Start, short_folder: Path) -> None:
    process = start("echo no head there; exit 1")
    _, err = process.communicate(timeout=_PATIENCE)
    assert (process.returncode, "agentd-fleet: Ray has ended; it said last: no head there\n" in err) == (1, True), err
    assert "no head there" in said(short_folder)


@pytest.mark.parametrize("beside", [False, True])
def test_a_host_that_has_its_node_says_nothing_more_and_ends_by_a_signal(
    start: Start, short_folder: Path, *, beside: bool
) -> None:
    with a_node(short_folder):
        process = start(_THERE, beside=beside)
        assert process.stderr is not None
        for line in process.stderr:
            if "is a host of the fleet" in line:
                break
        assert said(short_folder) == ""
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=_PATIENCE)
    assert process.returncode == 0
    assert said(short_folder) == ""


def test_a_signal_ends_it_while_ray_or_the_node_hangs(start: Start, short_folder: Path) -> None:
    for ray, waits_for in (("exec sleep 600", "Ray to start"), (_THERE, "the Node to start")):
        process = start(ray, "cat >/dev/null; exec sleep 600")
        wait_for(partial(is_doing, short_folder, waits_for), _PATIENCE)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=_PATIENCE)
        assert process.returncode == 0
        assert said(short_folder) == ""


def test_a_node_that_is_gone_is_told_until_it_is_heard(start: Start, short_folder: Path) -> None:
    start(_THERE)
    wait_for(partial(is_doing, short_folder, "Ray to start the Node again"), _PATIENCE)
    with a_node(short_folder):
        wait_for(lambda: said(short_folder) == "", _PATIENCE, what="it is heard again")


def test_a_node_that_is_not_started_again_ends_it_all(start: Start) -> None:
    process = start(_THERE, silent=1.0)
    _, err = process.communicate(timeout=_PATIENCE)
    assert (process.returncode, "Ray did not start the Node again within 1s" in err) == (1, True), err
