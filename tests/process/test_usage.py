"""What whole process trees use, of real processes and, where this machine lets us, of real control groups."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from agentd.process.cgroups.usage import Cgroups
from agentd.process.usage import Tree, UsageMeter
from tests.support.control_groups import FOLDER, control_groups
from tests.support.processes import children_named
from tests.support.waiting import wait_for

MEGABYTES = 40

RUN = f"{os.getpid()}-usage"
"""Of this process alone: tests that run beside these end what carries the id of theirs."""

SPIN = """
import os, sys, time
block = bytearray(int(sys.argv[1]) << 20)
for place in range(0, len(block), 4096):
    block[place] = 1
until = time.process_time() + float(sys.argv[2])
while time.process_time() < until:
    pass
with open(sys.argv[3] + ".part", "w") as file:
    file.write(str(os.getpid()))
os.rename(sys.argv[3] + ".part", sys.argv[3])
time.sleep(600)
"""


BURN = "import time\nwhile time.process_time() < 0.5:\n    pass"


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that are ended with all they started."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        with suppress(psutil.NoSuchProcess):
            for each in psutil.Process(process.pid).children(recursive=True):
                each.kill()
        process.kill()
        process.wait()


def launch(children: list[subprocess.Popen[bytes]], command: str, *words: str | Path, run: str = RUN) -> int:
    """Start a shell as a launcher is: at the head of its own session, and go on with it."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", command, "launcher", *map(str, words)],
        env={**os.environ, "AGENTD_RUN_ID": run},
        start_new_session=True,
    )
    children.append(process)
    return process.pid


def spin(folder: Path, name: str, seconds: float, megabytes: int = MEGABYTES) -> list[str | Path]:
    return [sys.executable, "-S", "-c", SPIN, str(megabytes), str(seconds), folder / name]


def sleeping(launcher: int) -> psutil.Process:
    """Wait for the ``sleep`` that a launcher runs."""
    return wait_for(
        lambda: next(iter(children_named(launcher, "sleep")), None),
        what=f"{launcher} sleeps",
    )


def done(path: Path) -> None:
    wait_for(path.exists, 20, what=f"{path} has used its CPU")


def test_a_whole_tree_counts_with_what_ended_but_not_the_launchers_memory(
    tmp_path: Path, children: list[subprocess.Popen[bytes]]
) -> None:
    burning = f"{sys.executable} -S -c '{BURN}'"
    busy = launch(children, f'{burning}; "$@"; :', *spin(tmp_path, "done", 0.2), run="busy")
    calm = launch(children, "sleep 600; :", run="calm")
    sleep = sleeping(calm)
    done(tmp_path / "done")
    meter = UsageMeter()
    usage = meter.measure([Tree("busy", "busy", busy), Tree("calm", "calm", calm)], os.getpid())
    assert 0.68 <= usage["busy"].cpu_seconds <= 2
    assert MEGABYTES * 2**20 < usage["busy"].memory_bytes < (MEGABYTES + 30) * 2**20
    assert usage["calm"].cpu_seconds < 0.1
    assert usage["calm"].memory_bytes == pytest.approx(sleep.memory_info().rss, abs=2**20)


def test_what_left_its_parents_is_found_by_its_session_or_its_run(
    tmp_path: Path, children: list[subprocess.Popen[bytes]]
) -> None:
    words = spin(tmp_path, "one", 0.1)
    one = launch(children, '("$@" &) ; sleep 600; :', *words, run="one")
    words = spin(tmp_path, "two", 0.1)
    two = launch(children, '(setsid "$@" &) ; sleep 600; :', *words, run="two")
    done(tmp_path / "one")
    done(tmp_path / "two")
    orphans = [psutil.Process(int((tmp_path / name).read_text())) for name in ("one", "two")]
    try:
        assert {orphan.ppid() for orphan in orphans}.isdisjoint({one, two})
        meter = UsageMeter()
        trees = [Tree("one", "one", one), Tree("two", "two", two)]
        for _ in range(2):
            usage = meter.measure(trees, os.getpid())
            for name in ("one", "two"):
                assert usage[name].memory_bytes > MEGABYTES * 2**20
                assert usage[name].cpu_seconds >= 0.09
    finally:
        for orphan in orphans:
            orphan.kill()
        psutil.wait_procs(orphans, 10)


def test_a_process_that_is_between_two_programs_at_one_look_is_found_by_the_next(
    tmp_path: Path, children: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = launch(children, '(setsid "$@" &) ; sleep 600; :', *spin(tmp_path, "one", 0.0), run="one")
    done(tmp_path / "one")
    orphan = psutil.Process(int((tmp_path / "one").read_text()))
    meter, trees = UsageMeter(), [Tree("one", "one", launcher)]
    try:
        with monkeypatch.context() as patched:
            patched.setattr("agentd.process.usage.look_for_run_id", lambda _pid: (None, False))
            assert meter.measure(trees, os.getpid())["one"].memory_bytes < MEGABYTES * 2**20
        assert meter.measure(trees, os.getpid())["one"].memory_bytes > MEGABYTES * 2**20
    finally:
        orphan.kill()
        orphan.wait(30)


@pytest.mark.thorough
def test_cpu_never_goes_back_and_goes_on_with_the_next_run(
    tmp_path: Path, children: list[subprocess.Popen[bytes]]
) -> None:
    first = launch(children, '"$@"; :', *spin(tmp_path, "first", 0.2, 1))
    done(tmp_path / "first")
    meter = UsageMeter()
    once = meter.measure([Tree("a", "1", first)], os.getpid())["a"].cpu_seconds
    for child in psutil.Process(first).children():
        child.kill()
    # Nothing runs: what was used stays, memory does not.
    ended = meter.measure([], os.getpid())["a"]
    assert (ended.cpu_seconds, ended.memory_bytes) == (once, 0)
    second = launch(children, '"$@"; :', *spin(tmp_path, "second", 0.2, 1))
    done(tmp_path / "second")
    again = meter.measure([Tree("a", "2", second)], os.getpid())["a"].cpu_seconds
    assert again >= once + 0.19
    meter.forget([])
    assert meter.measure([Tree("a", "2", second)], os.getpid())["a"].cpu_seconds < again


@pytest.fixture
def groups() -> Iterator[Path]:
    """A control group of version 1 for each accounting controller, by a common name."""
    name = f"agentd-test-{os.getpid()}"
    made = []
    try:
        for controller in ("cpuacct", "memory"):
            here = Path("/proc/self/cgroup").read_text()
            inside = next((line.split(":", 2)[2] for line in here.splitlines() if f":{controller}:" in line), None)
            if inside is None:
                pytest.skip("there are no control groups of version 1")
            parent = FOLDER / controller / inside.lstrip("/")
            parent = parent if parent.is_dir() else FOLDER / controller
            (parent / name).mkdir()
            made.append(parent / name)
    except OSError as error:
        for path in made:
            path.rmdir()
        pytest.skip(f"cannot make control groups here: {error}")
    yield made[0].parent
    for path in made:
        tasks = (path / "cgroup.procs").read_text().split()
        for pid in tasks:
            with suppress(ProcessLookupError):
                os.kill(int(pid), 9)
        wait_for(lambda path=path: not (path / "cgroup.procs").read_text(), what="the group is empty")  # type: ignore[misc]
        path.rmdir()


def test_a_control_group_of_its_own_counts_what_ended_unseen(
    tmp_path: Path, children: list[subprocess.Popen[bytes]], groups: Path
) -> None:
    name = f"agentd-test-{os.getpid()}"
    files = [
        str(path / "cgroup.procs")
        for controller in ("cpuacct", "memory")
        for path in control_groups(name, FOLDER / controller)
    ]
    assert groups.exists()
    gone, script = tmp_path / "gone", tmp_path / "agent.sh"
    # An orphan that nobody awaits uses CPU and ends: /proc no longer knows of it, its control group does.
    orphan = f'(setsid sh -c \'"$0" -S -c "$1"; : >"$2"\' {sys.executable} \'{BURN}\' {gone} &)'
    script.write_text("".join(f"echo $$ >{file}\n" for file in files) + f'{orphan}\nexec "$@"\n')
    launcher = launch(children, f'sh {script} "$@"; :', *spin(tmp_path, "done", 0.1))
    done(tmp_path / "done")
    done(gone)
    [agent] = [each.pid for each in psutil.Process(launcher).children()]
    other = launch(children, "sleep 600; :")
    sleep = sleeping(other).pid
    trees = [Tree("a", "1", launcher, agent), Tree("other", "2", other, sleep)]
    own = Cgroups().own({"a": agent, "other": sleep}, os.getpid())
    assert list(own) == ["a"]
    meter = UsageMeter()
    usage = meter.measure(trees, os.getpid())
    assert 0.58 <= usage["a"].cpu_seconds < 2
    ended = meter.measure([Tree("a", "1", launcher)], os.getpid())
    assert ended["a"].cpu_seconds == usage["a"].cpu_seconds
    assert MEGABYTES * 2**20 < usage["a"].memory_bytes < (MEGABYTES + 30) * 2**20
    # Two agents in one group have none of their own.
    assert Cgroups().own({"a": agent, "same": agent}, os.getpid()) == {}


def test_version_2_is_read_where_it_is_mounted(tmp_path: Path) -> None:
    mounted = tmp_path / "unified"
    group = mounted / "agents/one"
    group.mkdir(parents=True)
    (group / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n")
    (group / "memory.stat").write_text("anon 4096\nfile 999999\nfile_mapped 8192\n")
    proc = tmp_path / "proc"
    for pid, text in {"self": "", "1": "0::/slice\n", "10": "0::/slice/agents/one\n", "11": "0::/slice\n"}.items():
        (proc / pid).mkdir(parents=True)
        (proc / pid / "cgroup").write_text(text)
    (proc / "self/mountinfo").write_text(
        f"24 30 0:22 / /proc rw - proc proc rw\n30 23 0:26 /slice {mounted} rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
    )
    own = Cgroups(proc=proc).own({"a": 10, "b": 11, "gone": 12}, 1)
    assert list(own) == ["a"]
    assert (own["a"].cpu_seconds, own["a"].memory_bytes) == (1.5, 12288)
