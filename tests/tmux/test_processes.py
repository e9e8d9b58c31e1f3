from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil
import pytest
from structlog.testing import LogCapture

from agentd.model.spec import RUN_ID_VARIABLE
from agentd.process import identity as processes
from agentd.process import orphans, proc
from agentd.process import reaper as reaping
from agentd.process.identity import ExitWatch, ProcessIdentity, runs_script, signal_group, started_by
from agentd.process.proc import descendants, run_id_of
from agentd.process.reaper import Look, ProcessTree, Reaper, end_found, snapshot
from tests.support.descriptors import no_descriptor_left
from tests.support.loop_clock import pass_time
from tests.support.processes import alive, wait_until_gone
from tests.support.waiting import until, wait_for, wait_for_file
from tests.tmux.launches import Launches

RUN = f"{os.getpid()}-processes"
"""Of this process alone: a search ends whatever carries it, wherever that is."""


NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes processes of other users")
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start programs that are ended after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start_one(*argv: str, run: str | None = None, **options: object) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **({} if run is None else {RUN_ID_VARIABLE: run})}
        made = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, **options)  # type: ignore[call-overload]
        started.append(made)
        return made  # type: ignore[no-any-return]

    yield start_one
    for made in started:
        made.kill()
        made.wait()
        assert made.stdout is not None
        made.stdout.close()


@pytest.fixture
async def reaper(launches: Launches) -> Reaper:
    made = Reaper(limit=10.0)
    assert launches.server.identity is not None
    made.server = launches.server.identity.pid
    return made


def identity(pid: int) -> ProcessIdentity:
    found = ProcessIdentity.of(pid)
    assert found is not None
    return found


def python(folder: Path, text: str) -> list[str]:
    """A program that can be run without a trace of the tests on its command line."""
    path = folder / f"program{len(list(folder.iterdir()))}.py"
    path.write_text(text)
    return [sys.executable, "-I", "-S", str(path)]


def open_descriptors() -> int:
    return psutil.Process().num_fds()


DAEMON = """import os, signal, sys
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)
null = os.open("/dev/null", os.O_RDWR)
for number in range(3): os.dup2(null, number)
with open(sys.argv[1] + ".part", "w") as file: file.write(str(os.getpid()))
os.rename(sys.argv[1] + ".part", sys.argv[1])
while True: signal.pause()
"""
"""Leaves its session and its parents and ignores what it can."""


# -- identities


def test_a_process_is_identified_by_pid_and_start() -> None:
    own = identity(os.getpid())
    assert own.alive()
    assert own == ProcessIdentity.parse(Path("/proc/self/stat").read_text())
    assert not ProcessIdentity(own.pid, (own.started or 0) + 1).alive()
    assert ProcessIdentity(own.pid, None).alive()
    assert not own.gone().alive()
    # Else a run that was over before it was seen would count as one that lasted since the machine started.
    assert own.gone().age() == 0
    assert 0 < own.age() < time.monotonic() + 1e6


def test_a_name_with_brackets_and_spaces_misleads_nobody(start: Start, short_folder: Path) -> None:
    odd = short_folder / "a) R 1 1 (b"
    odd.symlink_to("/bin/sleep")
    child = start(str(odd), "1000")
    wait_for(lambda: b") R 1 1 (" in Path(f"/proc/{child.pid}/stat").read_bytes())
    found = identity(child.pid)
    assert found.started == ProcessIdentity.parse(Path(f"/proc/{child.pid}/stat").read_text()).started
    assert abs(found.age() - (time.time() - psutil.Process(child.pid).create_time())) < 10


def test_neither_a_zombie_nor_nothing_is_a_process(start: Start) -> None:
    child = start("true")
    wait_for(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
    assert ProcessIdentity.of(child.pid) is None
    child.wait()
    assert ProcessIdentity.of(child.pid) is None


THREAD_ONLY = """import ctypes, os, threading
event = threading.Event()
threading.Thread(target=event.wait).start()
print("ready", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


def test_a_process_whose_first_thread_ended_is_alive_and_still_marked(
    start: Start, short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = short_folder / "program.py"
    path.write_text(THREAD_ONLY)
    child = start(sys.executable, "-I", str(path), run="threads")
    wait_for(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE, what="the first thread ended")
    assert identity(child.pid).alive()
    assert run_id_of(child.pid) == "threads"
    read = proc._read

    def as_others_are_refused(path: str, size: int) -> bytes:
        if path == f"/proc/{child.pid}/environ":
            raise PermissionError(13, "Permission denied")
        return read(path, size)

    monkeypatch.setattr(proc, "_read", as_others_are_refused)
    assert run_id_of(child.pid) == "threads"


@pytest.mark.parametrize(
    "line", ["", "x", "-1", "0", "9" * 4000, "2147483648", "1 (a", "1 (a) S 1", "x (a) " + "1 " * 30]
)
def test_a_line_that_names_no_process_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        ProcessIdentity.parse(line)


@as_root
def test_whose_process_it_is_is_known_by_its_real_user_or_its_parents(start: Start) -> None:
    own = start("sleep", "1000", user=NOBODY)
    parent = start(
        sys.executable, "-I", "-S", "-c",
        "import os\n"
        "if os.fork() == 0: print(os.getpid(), flush=True); os.read(0, 1); os._exit(0)\n"
        "os.setresuid(65534, 65534, 65534); os.wait()",
        stdin=subprocess.PIPE,
    )  # fmt: skip
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert started_by(NOBODY, own.pid)
    wait_for(lambda: started_by(NOBODY, parent.pid))
    assert started_by(NOBODY, child), "as sudo's process is a child of the agent user's"
    assert not started_by(NOBODY, 1)
    assert not started_by(NOBODY, os.getpid())
    assert not started_by(NOBODY, 2**22 + 1)
    assert parent.stdin is not None
    parent.stdin.close()


async def test_a_launcher_runs_its_script_until_it_is_a_shell(launches: Launches) -> None:
    run = await launches.misbehaving("--wait-for", launches.folder / "go")
    launcher = identity(run.pane.pid)
    assert runs_script(launcher, run.id)
    assert not runs_script(launcher, "another")
    assert not runs_script(launcher.gone(), run.id)
    (launches.folder / "go").touch()
    run.shows("This is a shell")
    assert not runs_script(launcher, run.id)


# -- watching for the end


async def test_the_end_of_a_process_is_told_once_and_at_once(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_POLL_WITHOUT_PIDFD", 600)  # who polled would tell it too late
    child = start("sleep", "1000")
    told: list[int] = []
    ExitWatch(identity(child.pid), lambda: told.append(1))
    await asyncio.sleep(0)
    assert told == []
    child.kill()
    await until(lambda: told)
    await asyncio.sleep(0)
    assert len(told) == 1


async def test_the_end_of_a_process_that_is_not_our_child_is_told(launches: Launches) -> None:
    run = await launches.misbehaving("--forever")
    told: list[int] = []
    ExitWatch(run.process(), lambda: told.append(1))
    os.kill(run.process().pid, signal.SIGKILL)
    await until(lambda: told)


async def test_a_process_that_has_ended_is_told_at_once(start: Start) -> None:
    child = start("sleep", "1000")
    process = identity(child.pid)
    child.kill()
    child.wait()
    told: list[int] = []
    ExitWatch(process, lambda: told.append(1))
    assert told == [], "in the event loop, not in the constructor"
    await until(lambda: told)


async def test_another_process_with_the_same_pid_is_not_taken_for_it(start: Start) -> None:
    child = start("sleep", "1000")
    former = ProcessIdentity(child.pid, (identity(child.pid).started or 0) - 5)
    told: list[int] = []
    ExitWatch(former, lambda: told.append(1))
    await until(lambda: told)
    assert alive(child.pid)


@pytest.mark.parametrize("ended", [False, True])
async def test_a_cancelled_watch_tells_nothing_and_holds_nothing(start: Start, ended: bool) -> None:
    child = start("sleep", "1000")
    process = identity(child.pid)
    if ended:
        child.kill()
        child.wait()
    before = open_descriptors()
    told: list[int] = []
    watch = ExitWatch(process, lambda: told.append(1))
    watch.cancel()
    watch.cancel()
    assert open_descriptors() == before
    child.kill()
    child.wait()
    await asyncio.sleep(0)
    assert told == []


async def test_without_pidfds_a_process_is_looked_at_now_and_then(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "HAS_PIDFD", False)
    monkeypatch.setattr(processes, "_POLL_WITHOUT_PIDFD", 0.005)
    child = start("sleep", "1000")
    told: list[int] = []
    ExitWatch(identity(child.pid), lambda: told.append(1))
    for _ in range(3):
        await pass_time(1)
    assert told == []
    child.kill()
    await until(lambda: told)


async def test_without_a_descriptor_left_a_process_is_polled(
    start: Start, monkeypatch: pytest.MonkeyPatch, events: LogCapture
) -> None:
    def none_left(_pid: int) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", none_left)
    monkeypatch.setattr(processes, "_POLL_WITHOUT_PIDFD", 0.005)
    child = start("sleep", "1000")
    told: list[int] = []
    ExitWatch(identity(child.pid), lambda: told.append(1))
    child.kill()
    await until(lambda: told)
    assert [event["event"] for event in events.entries] == ["process_polled"]


# -- signalling


def test_the_own_process_group_is_never_signalled() -> None:
    with pytest.raises(PermissionError, match="own process group"):
        signal_group(identity(os.getpid()), signal.SIGTERM)


def test_a_group_whose_process_is_gone_is_not_signalled(start: Start) -> None:
    child = start("sleep", "1000", start_new_session=True)
    former = ProcessIdentity(child.pid, (identity(child.pid).started or 0) - 1)
    assert not signal_group(former, signal.SIGKILL)
    assert alive(child.pid)
    assert signal_group(identity(child.pid), signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL


# -- ending everything


async def test_what_a_run_started_is_ended_and_launcher_and_strangers_are_spared(
    launches: Launches, reaper: Reaper, start: Start
) -> None:
    guard = start("sleep", "1000", run="another-run")
    neighbour = await launches.misbehaving("--grandchildren", 1, "--forever")
    pids = launches.folder / "pids"
    run = await launches.misbehaving("--grandchildren", 3, "--pids-file", pids, "--forever")
    orphans = [int(line) for line in pids.read_text().split()]
    own = [run.process().pid, *orphans]
    assert all(run_id_of(pid) == run.id for pid in own)
    assert await reaper.end(ProcessTree(run.id, identity(run.pane.pid))) == set()
    assert [pid for pid in own if alive(pid)] == []
    assert run.exit().status == 137
    assert alive(run.pane.pid)
    assert guard.poll() is None
    assert neighbour.process().alive()
    assert len(await asyncio.to_thread(marked_with, neighbour.id)) == 2
    await reaper.end(ProcessTree(neighbour.id, identity(neighbour.pane.pid)))
    await reaper.close()


def marked_with(run_id: str) -> list[int]:
    return [pid for pid in psutil.pids() if run_id_of(pid) == run_id]


async def test_a_daemon_that_left_session_and_parents_is_ended_when_launcher_and_server_are_gone(
    launches: Launches, reaper: Reaper
) -> None:
    written = launches.folder / "pid"
    run = await launches.start([*python(launches.folder, DAEMON), str(written)])
    wait_for_file(written)
    assert run.exit().status == 0
    daemon = int(written.read_text())
    assert alive(daemon)
    await launches.server.kill_server()
    assert await reaper.end(ProcessTree(run.id, None)) == set()
    assert not alive(daemon)


async def test_what_was_seen_earlier_is_ended_though_nothing_marks_it_any_more(
    launches: Launches, reaper: Reaper
) -> None:
    written = launches.folder / "pid"
    unmarked = [
        "/usr/bin/env",
        "-i",
        *python(
            launches.folder,
            DAEMON.replace("if os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n", "os.setsid()\n"),
        ),
        str(written),
    ]
    run = await launches.start(["/bin/sh", "-c", '"$@" & exec sleep 1000', "sh", *unmarked])
    wait_for_file(written)
    launcher = identity(run.pane.pid)
    known = snapshot(launcher)
    orphan = int(written.read_text())
    assert {process.pid for process in known} == {run.process().pid, orphan}
    os.kill(run.process().pid, signal.SIGKILL)
    run.exit()
    assert run_id_of(orphan) is None
    assert await reaper.end(ProcessTree(run.id, launcher)) == set()
    assert alive(orphan), "unmarked, without parents, and not known: nothing shows whose it is"
    assert await reaper.end(ProcessTree(run.id, launcher, known)) == set()
    assert not alive(orphan)


def test_a_snapshot_of_what_is_gone_is_empty() -> None:
    assert snapshot(identity(os.getpid()).gone()) == frozenset()


async def test_the_agent_itself_is_ended_when_only_its_report_shows_it(reaper: Reaper, start: Start) -> None:
    child = start("sleep", "1000")
    waiting = asyncio.create_task(asyncio.to_thread(child.wait))
    assert await reaper.end(ProcessTree(RUN, None, agent=identity(child.pid))) == set()
    assert await waiting == -signal.SIGKILL


async def test_the_shell_for_inspection_and_what_an_operator_runs_in_it_are_spared(
    launches: Launches, reaper: Reaper
) -> None:
    run = await launches.start(["/bin/true"])
    run.shows("This is a shell")
    run.enter("sleep 1000")
    wait_for(lambda: descendants(run.pane.pid), what="the operator's program")
    (operators,) = descendants(run.pane.pid)
    assert await reaper.end(ProcessTree(run.id, identity(run.pane.pid))) == set()
    assert alive(operators)
    assert alive(run.pane.pid)


FORKS = """import os, signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
count = 0
for number in range({limit}):
    if os.fork() == 0:
        {child}
print("ready", flush=True)
while True: signal.pause()
"""
RESPAWN = """import os, signal
keepers = 5
for _ in range(keepers):
    if os.fork() == 0:
        os.setsid()
        # Starts another whenever one ends, 40 at most in its life.
        for _ in range(40):
            child = os.fork()
            if child == 0:
                while True: signal.pause()
            os.waitpid(child, 0)
        os._exit(0)
print("ready", flush=True)
while True: signal.pause()
"""


async def test_fifty_forked_processes_are_all_ended(launches: Launches, reaper: Reaper) -> None:
    child = "os.setsid() if number % 2 else None; signal.pause(); os._exit(0)"
    run = await launches.start(python(launches.folder, FORKS.format(limit=50, child=child)))
    run.shows("ready")
    launcher = identity(run.pane.pid)
    pids = descendants(launcher.pid)
    assert len(pids) == 51
    assert await reaper.end(ProcessTree(run.id, launcher, snapshot(launcher))) == set()
    assert [pid for pid in pids if alive(pid)] == []


async def test_processes_that_start_others_when_one_is_killed_are_ended(launches: Launches, reaper: Reaper) -> None:
    run = await launches.start(python(launches.folder, RESPAWN))
    run.shows("ready")
    assert await reaper.end(ProcessTree(run.id, identity(run.pane.pid))) == set()
    # What was missed would wait for ever; the launcher runs stty and dd before it becomes the shell for inspection.
    await asyncio.to_thread(wait_for, lambda: marked_with(run.id) == [run.pane.pid])


async def test_an_orphan_that_appears_during_the_look_is_found_by_it(
    launches: Launches, reaper: Reaper, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = launches.folder / "pid"
    run = await launches.start([*python(launches.folder, DAEMON), str(written)])
    wait_for_file(written)
    orphan = int(written.read_text())
    listed = orphans.orphans
    looks: list[set[int]] = []

    def late(adopters: Iterable[int]) -> set[int]:
        looks.append(listed(adopters))
        return looks[-1] - {orphan} if len(looks) == 1 else looks[-1]

    monkeypatch.setattr(orphans, "orphans", late)
    assert await reaper.end(ProcessTree(run.id, identity(run.pane.pid))) == set()
    assert not alive(orphan)


async def test_what_the_agent_runs_is_ended_with_it_though_nothing_marks_it(launches: Launches, reaper: Reaper) -> None:
    run = await launches.start(["/bin/sh", "-c", "echo ready; env -i sleep 1000; exit"])
    run.shows("ready")
    (child,) = wait_for(lambda: descendants(run.process().pid))
    assert await reaper.end(ProcessTree(run.id, identity(run.pane.pid))) == set()
    assert not alive(child)


def test_a_process_that_took_over_the_pid_of_one_that_was_found_is_not_killed(start: Start) -> None:
    child = start("sleep", "1000")
    former = ProcessIdentity(child.pid, (identity(child.pid).started or 0) - 1)
    for descriptor in reaping._kill([former]):
        os.close(descriptor)
    assert child.poll() is None


async def test_runs_that_end_together_share_each_look(
    launches: Launches, reaper: Reaper, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def counted(trees: list[ProcessTree], *rest: object) -> Look:
        looks.append(len(trees))
        return end_found(trees, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(reaping, "end_found", counted)
    runs = [await launches.misbehaving("--grandchildren", 1, "--forever") for _ in range(5)]
    ended = await asyncio.gather(*(reaper.end(ProcessTree(run.id, identity(run.pane.pid))) for run in runs))
    assert ended == [set()] * 5
    # How many there are depends on how long the processes take to die.
    assert looks[0] == 5
    assert looks == sorted(looks, reverse=True)
    for run in runs:
        await asyncio.to_thread(wait_for, lambda run=run: marked_with(run.id) == [run.pane.pid])


async def test_a_process_that_cannot_be_ended_is_named_and_delays_no_other_run(
    launches: Launches, reaper: Reaper, monkeypatch: pytest.MonkeyPatch, start: Start
) -> None:
    immortal = start("sleep", "1000")
    real = signal.pidfd_send_signal

    def refused(descriptor: int, number: int) -> None:
        text = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
        if f"Pid:\t{immortal.pid}\n" in text:
            raise PermissionError(1, "Operation not permitted")
        real(descriptor, number)

    monkeypatch.setattr(signal, "pidfd_send_signal", refused)
    reaper._limit = 600.0
    tree = ProcessTree("stuck", None, frozenset({identity(immortal.pid)}))
    stuck = asyncio.create_task(reaper.end(tree))
    await asyncio.sleep(0)
    run = await launches.misbehaving("--forever")
    assert await reaper.end(ProcessTree(run.id, identity(run.pane.pid))) == set()
    assert not stuck.done()
    reaper._limit = 0.1
    assert await reaper.end(tree) == {immortal.pid}
    assert not stuck.done()
    monkeypatch.setattr(signal, "pidfd_send_signal", real)
    assert await stuck == set()


async def test_a_run_that_nothing_is_left_of_is_ended_at_once(reaper: Reaper) -> None:
    assert await reaper.end(ProcessTree("nobody", None)) == set()
    await reaper.close()


def test_with_no_descriptor_left_a_process_that_lives_is_not_taken_for_gone(start: Start) -> None:
    process, ended = start("sleep", "600"), start("true")
    found = identity(process.pid)
    ended.wait()
    with no_descriptor_left():
        assert found.alive()
        assert ProcessIdentity.of(process.pid) == ProcessIdentity(process.pid, None)
        assert ProcessIdentity.of(ended.pid) is None
        assert not found.gone().alive()
        assert runs_script(found, "run")
        assert snapshot(found) == frozenset()
        with pytest.raises(OSError, match="Too many open files"):
            signal_group(found, signal.SIGTERM)


async def test_with_no_descriptor_left_nothing_is_said_to_have_ended_before_it_was_looked_for(
    reaper: Reaper, start: Start, events: LogCapture
) -> None:
    process = start("sleep", "600", run=RUN)
    tree = ProcessTree(RUN, None, frozenset([identity(process.pid)]))
    await asyncio.to_thread(int)  # what threads need is loaded
    with no_descriptor_left():
        ending = asyncio.create_task(reaper.end(tree))
        await until(lambda: any(event["event"] == "processes_not_listed" for event in events.entries))
        assert not ending.done()
        assert process.poll() is None
    assert await ending == set()
    process.wait(30)


async def test_a_caller_that_gives_up_disturbs_no_other(launches: Launches, reaper: Reaper) -> None:
    run = await launches.misbehaving("--forever")
    first = asyncio.create_task(reaper.end(ProcessTree("nobody", None)))
    second = asyncio.create_task(reaper.end(ProcessTree(run.id, identity(run.pane.pid))))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == set()
    assert run.exit().status == 137


async def test_a_failing_look_fails_its_callers_and_the_next_one_works(
    reaper: Reaper, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(reaping, "_find", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await reaper.end(ProcessTree("a", None))
    assert await reaper.end(ProcessTree("a", None)) == set()


async def test_a_reaper_that_is_cancelled_lets_its_callers_go(reaper: Reaper, monkeypatch: pytest.MonkeyPatch) -> None:
    looking = threading.Event()

    def slow(trees: list[ProcessTree], *_: object) -> Look:
        looking.wait(10)
        return Look({tree.run_id: set() for tree in trees}, sure=True)

    monkeypatch.setattr(reaping, "end_found", slow)
    waiting = asyncio.create_task(reaper.end(ProcessTree("a", None)))
    await asyncio.sleep(0)
    assert reaper._task is not None
    reaper._task.cancel()
    looking.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_without_pidfds_everything_is_ended_too(
    launches: Launches, reaper: Reaper, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await launches.misbehaving("--grandchildren", 2, "--forever")
    monkeypatch.setattr(reaping, "HAS_PIDFD", False)
    assert await reaper.end(ProcessTree(run.id, identity(run.pane.pid))) == set()
    await asyncio.to_thread(wait_for, lambda: marked_with(run.id) in ([], [run.pane.pid]))


SUBREAPER = """import ctypes, os, subprocess, sys, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
sys.path.insert(0, sys.argv[2])
import asyncio
from agentd.process.reaper import Reaper, ProcessTree
middle = os.fork()
if middle == 0:
    # In the tmux server's place: ends, after the reaper was told of it.
    os.read(0, 1)
    subprocess.run([sys.executable, "-I", "-S", sys.argv[1], sys.argv[3]], env={"AGENTD_RUN_ID": "below"}, check=True)
    while not os.path.exists(sys.argv[3]): time.sleep(0.005)
    os._exit(0)
reaper = Reaper()
reaper.server = middle
print("told", flush=True)
os.waitpid(middle, 0)
print(asyncio.run(reaper.end(ProcessTree("below", None))), flush=True)
"""


def test_orphans_are_found_below_a_subreaper_also_after_the_server_ended(start: Start, short_folder: Path) -> None:
    daemon = short_folder / "daemon.py"
    daemon.write_text(DAEMON)
    written, program = short_folder / "pid", short_folder / "program.py"
    program.write_text(SUBREAPER)
    root = Path(__file__).parents[2]
    # A child of the subreaper is reaped by nobody, so it is the subreaper's own zombie: gone is what matters.
    above = start(sys.executable, str(program), str(daemon), str(root), str(written), stdin=subprocess.PIPE)
    assert above.stdout is not None
    assert above.stdin is not None
    assert above.stdout.readline() == b"told\n"
    above.stdin.write(b"x")
    above.stdin.close()
    assert above.stdout.readline() == b"set()\n"
    wait_until_gone([int(written.read_text())])


async def test_nothing_without_the_mark_is_ever_signalled(launches: Launches, reaper: Reaper, start: Start) -> None:
    outside = [start("sleep", "1000", run=run) for run in ("other", "run", "", None)]
    run = await launches.misbehaving("--grandchildren", 2, "--forever")
    assert await reaper.end(ProcessTree(run.id, identity(run.pane.pid))) == set()
    assert await reaper.end(ProcessTree("", None)) == set()
    assert [child.poll() for child in outside] == [None] * 4
    with contextlib.suppress(psutil.NoSuchProcess):
        assert psutil.Process(launches.server.identity.pid).is_running()  # type: ignore[union-attr]
