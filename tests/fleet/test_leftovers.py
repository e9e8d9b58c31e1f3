from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agentd.fleet.leftovers import FolderInUseError, end_left, left_of, take_over
from tests.support.daemon import Daemon
from tests.support.fleet_host import Host
from tests.support.ray_nodes import needs_ray
from tests.support.waiting import wait_for

Start = Callable[..., "subprocess.Popen[bytes]"]

_WAITS = "import sys; sys.stdin.read()"


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process that waits, with more words in its command line."""
    with ExitStack() as stack:

        def begin(*words: str, script: str = _WAITS, own: bool = True) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                [sys.executable, "-c", script, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                start_new_session=own,
            )  # fmt: skip
            stack.callback(process.communicate)
            stack.callback(process.kill)
            return process

        yield begin


def test_all_of_the_session_of_a_node_is_what_is_left_and_nothing_else(start: Start, tmp_path: Path) -> None:
    forks = f"import os; child = os.fork(); child and os.write(1, b'%d ' % child); {_WAITS}"
    node = start(f"--temp-dir={tmp_path}/ray", script=forks)
    assert node.stdout is not None
    child = int(_word(node))
    start(f"--temp-dir={tmp_path}/ray2")
    start(f"{tmp_path}/ray/session_1/logs/raylet.out")
    shared = start(f"--raylet_socket_name={tmp_path}/ray/session_1/sockets/raylet", own=False)
    assert left_of(tmp_path / "ray") == {node.pid, child, shared.pid}
    assert take_over(tmp_path / "ray") == 3
    assert node.wait(10) == shared.wait(10) == -9
    assert left_of(tmp_path / "ray") == frozenset()


def test_what_names_the_folder_no_more_is_found_by_the_session(start: Start, tmp_path: Path) -> None:
    agent = "child or os.execv('/bin/sleep', ['ray::Agent', '600'])"
    forks = f"import os; child = os.fork(); {agent}; print(child, end=' ', flush=True); {_WAITS}"
    node = start(f"--temp-dir={tmp_path}/ray", script=forks)
    assert node.stdout is not None
    child = int(_word(node))
    node.kill()
    node.wait(10)
    try:
        assert left_of(tmp_path / "ray") == frozenset()
        assert left_of(tmp_path / "ray", node.pid) == {child}
        assert end_left(tmp_path / "ray", node.pid) == 1
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def _word(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    digits = b""
    while (digit := process.stdout.read(1)) != b" ":
        digits += digit
    return digits


def test_a_folder_is_one_process_own(tmp_path: Path) -> None:
    taken = (
        f"from agentd.fleet.leftovers import take_over; from pathlib import Path; take_over(Path({str(tmp_path)!r}))"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", f"{taken}; print('has it', flush=True); {_WAITS}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"has it\n"
        with pytest.raises(FolderInUseError, match="another agentd-fleet"):
            take_over(tmp_path)
    finally:
        other.communicate()
    assert take_over(tmp_path) == 0


def test_the_sessions_of_former_nodes_are_removed_but_the_last(tmp_path: Path) -> None:
    folder = tmp_path / "ray"
    for at, name in enumerate(("session_2026-01-31_09-00-00_000000_9", "session_2026-01-31_10-00-00_000000_8", "mine")):
        (folder / name / "logs").mkdir(parents=True)
        (folder / name / "logs/raylet.out").write_text("why it ended")
        os.utime(folder / name, (at, at))
    elsewhere = tmp_path / "session_2026-01-31_08-00-00_000000_7"
    elsewhere.mkdir()
    (folder / elsewhere.name).symlink_to(elsewhere)
    (folder / "session_latest").symlink_to("session_2026-01-31_10-00-00_000000_8")
    take_over(folder)
    left = {".lock", "mine", "session_2026-01-31_10-00-00_000000_8", elsewhere.name, "session_latest"}
    assert {each.name for each in folder.iterdir()} == left
    assert elsewhere.exists()
    assert (folder / "session_latest/logs/raylet.out").read_text() == "why it ended"


def test_no_session_is_removed_while_somebody_uses_the_folder(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "ray"
    for at in (1, 2):
        (folder / f"session_{at}").mkdir(parents=True)
    start(f"--temp-dir={folder}")
    taken = f"from agentd.fleet.leftovers import take_over; from pathlib import Path; take_over(Path({str(folder)!r}))"
    other = start(script=f"{taken}; print('has it ', end='', flush=True); {_WAITS}")
    assert other.stdout is not None
    assert other.stdout.read(7) == b"has it "
    assert len(list(folder.glob("session_*"))) == 1
    (folder / "session_3").mkdir()
    with pytest.raises(FolderInUseError):
        take_over(folder)
    assert len(list(folder.glob("session_*"))) == 2


@pytest.mark.fleet
@pytest.mark.timeout(280)
@needs_ray
def test_a_head_that_was_killed_alone_is_begun_again(daemon: Daemon, port: int) -> None:
    host = Host("one", "127.0.0.1", daemon)
    left = []
    try:
        daemon.start()
        host.start("head", "--port", str(port))
        host.wait_ready()
        left = host.processes[1:]
        assert host.process is not None
        host.process.kill()
        host.process.wait(10)
        host.log.write_text("")
        host.start("head", "--port", str(port))
        host.wait_ready()
        wait_for(lambda: not any(each.is_running() for each in left), what="all of the former one is gone")
        wait_for(host.answers, 60, what="the fleet answers")
    finally:
        host.stop()
        for each in left:
            if each.is_running():
                each.kill()
