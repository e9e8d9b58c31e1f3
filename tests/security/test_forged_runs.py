"""What the agents' user may put into the runtime directory, and what root makes of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentd.launch.exit_report import ExitReport
from agentd.launch.launcher import HINTS
from agentd.launch.rundir import RuntimeDirectory
from agentd.process.identity import ProcessIdentity, signal_group
from tests.daemon.support import stay
from tests.security.users import AGENT_USER, STRANGER, account, start_guarded
from tests.support.agents import jcard
from tests.support.daemon import Daemon
from tests.support.processes import alive, wait_until_gone
from tests.support.thorough import everyday
from tests.support.waiting import wait_for

STATUS = "42\n"
"""What a file of root's holds: it would pass for the exit status of a run."""
FLAGS = (f"--agent-user={AGENT_USER}", "--admin-group=adm", "--interval=200ms")


def runs_of(daemon: Daemon) -> Path:
    return daemon.tmux_socket.with_name(f"{daemon.tmux_socket.name}.runs")


def own(path: Path, name: str = AGENT_USER) -> None:
    os.chown(path, account(name).pw_uid, account(name).pw_gid, follow_symlinks=False)


def forge(path: Path, text: str) -> None:
    """Write what the agents' user could have written there."""
    path.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")
    own(path)


def run_of(daemon: Daemon, name: str) -> str:
    """The id of an agent's run, by its record."""
    for path in runs_of(daemon).glob("*.record"):
        if json.loads(path.read_text())["agent"] == name:
            return path.stem
    raise AssertionError(name)


@pytest.fixture
def running(guarded: Daemon) -> Daemon:
    start_guarded(guarded, stay("a"), stay("b"), flags=FLAGS[2:])
    for name in ("a", "b"):
        guarded.wait_state(name, "running")
    return guarded


def pid(daemon: Daemon, name: str) -> int:
    found = daemon.wait_state(name, "running")["pid"]
    assert found is not None
    return found


def start_again(daemon: Daemon) -> None:
    daemon.start(*FLAGS)
    daemon.wait_for(lambda: daemon.health()["config"]["valid"], what="the jcard is in force")


# -- traps in the place of files


def link(trap: Path, victim: Path) -> None:
    trap.symlink_to(victim)


def hard_link(trap: Path, victim: Path) -> None:
    trap.hardlink_to(victim)


def fifo(trap: Path, _victim: Path) -> None:
    os.mkfifo(trap)
    own(trap)


def folder(trap: Path, _victim: Path) -> None:
    trap.mkdir()
    own(trap)


def sparse(trap: Path, _victim: Path) -> None:
    with trap.open("wb") as file:
        file.truncate(1 << 30)
    own(trap)


@pytest.mark.parametrize("trap", everyday([link, fifo], [link, hard_link, fifo, folder, sparse]))
def test_traps_beside_a_run_change_nothing_for_it_and_others(
    running: Daemon, trap: Callable[[Path, Path], None]
) -> None:
    victim = running.folder / "victim"
    victim.write_text(STATUS)
    victim.chmod(0o600)
    before = {name: pid(running, name) for name in ("a", "b")}
    run = run_of(running, "b")

    def lay() -> None:
        for suffix in (".exit", ".pid", ".record", ".record-new"):
            path = runs_of(running) / (run + suffix)
            path.unlink(missing_ok=True)
            trap(path, victim)

    lay()
    hints = runs_of(running) / HINTS
    hints.unlink()
    trap(hints, victim)
    assert {name: pid(running, name) for name in ("a", "b")} == before
    if trap is folder:
        # A folder there is not removed, and a start beside it is refused with what to do.
        hints.rmdir()
    running.kill()
    lay_again = runs_of(running) / f"{run}.exit"
    if not os.path.lexists(lay_again):
        trap(lay_again, victim)
    start_again(running)
    assert {name: pid(running, name) for name in ("a", "b")} == before
    running.wait_for(hints.is_fifo, what="the FIFO is there again")
    assert (victim.read_text(), victim.stat().st_uid, victim.stat().st_mode & 0o777) == (STATUS, 0, 0o600)
    # Runs go on to be launched and stopped.
    running.write_jcard(jcard(stay("a"), stay("b"), stay("c")))
    running.wait_state("c", "running")
    # While its status cannot be written, a stop waits for that for 10 s.
    path = runs_of(running) / f"{run}.exit"
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    assert running.stop() == 0


# -- forged records


def edited(text: str, change: dict[str, object]) -> str:
    document = json.loads(text)
    for key, value in change.items():
        *outer, last = key.split(".")
        inner = document
        for part in outer:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return json.dumps(document) + "\n"


HOSTILE: list[dict[str, object]] = [
    {"began": float("nan")},
    {"began": float("inf"), "began_wall": 1e300},
    {"began_wall": -1e12},
    {"state": "backoff", "due": float("nan"), "run.ended": 1.0, "outcome": {"code": 1}},
    {"restarts": 10**4000},
    {"state": "running"},
    {"state": "stopping"},
    {"state": "pending"},
    {"state": "failed"},
    {"state": "timed-out"},
    {"run": None},
    {"agent": "../../../victim"},
    {"run.id": "../../../victim"},
]


@pytest.fixture
def started(guarded: Daemon) -> Daemon:
    """With one agent for each hostile record, and one honest one."""
    start_guarded(guarded, *(stay(f"h{number}") for number in range(len(HOSTILE))), stay("a"), flags=FLAGS[2:])
    for number in range(len(HOSTILE)):
        guarded.wait_state(f"h{number}", "running", timeout=30)
    guarded.wait_state("a", "running")
    return guarded


@pytest.mark.parametrize("session", everyday(["closed"], ["open", "closed"]))
def test_forged_records_lead_nowhere_and_stop_nothing(started: Daemon, session: str) -> None:
    victims = [started.folder / f"victim{suffix}" for suffix in (".sh", ".pid", ".exit", ".record")]
    for victim in victims:
        victim.write_text("precious")
    before = pid(started, "a")
    runs = {f"h{number}": run_of(started, f"h{number}") for number in range(len(HOSTILE))}
    started.kill()
    for change, (name, run) in zip(HOSTILE, runs.items(), strict=True):
        path = runs_of(started) / f"{run}.record"
        forge(path, edited(path.read_text(), change))
        if session == "closed":
            started.tmux("kill-session", "-t", f"={name}")
    start_again(started)
    for name in runs:
        started.wait_state(name, "running", timeout=30)
    assert pid(started, "a") == before
    assert sorted(started.agents()) == sorted([*runs, "a"])
    assert [victim.read_text() for victim in victims] == ["precious"] * len(victims)
    looks: deque[tuple[float, float]] = deque(maxlen=20)

    def rests() -> bool:
        looks.append((time.monotonic(), cpu(started.pid)))
        (began, before), (now, after) = looks[0], looks[-1]
        # The kernel counts in steps of 10 ms; who spins takes a tenth of a core at the least.
        return now - began >= 0.5 and after - before <= 0.05 * (now - began)

    wait_for(rests, what="agentd takes a twentieth of a core at most for half a second: it does not spin")
    assert started.stop() == 0
    assert [victim.read_text() for victim in victims] == ["precious"] * len(victims)


def cpu(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


ORPHAN = """
import os, sys
if os.fork():
    os._exit(0)
os.setsid()
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[1]))
os.execve("/bin/sleep", ["sleep", "600"], {"AGENTD_RUN_ID": sys.argv[3], "PATH": sys.argv[4]})
"""


def test_files_named_after_runs_of_others_end_nothing(running: Daemon) -> None:
    """Another agentd's run ids can be read off its launchers' command lines."""
    stranger = account(STRANGER)
    subprocess.run(
        [sys.executable, "-c", ORPHAN, str(stranger.pw_uid), str(stranger.pw_gid), "theirs-1", str(running.bin)],
        check=True,
    )

    def foreign() -> list[int]:
        return [each.pid for each in running.processes() if uid(each.pid) == stranger.pw_uid]

    (theirs,) = running.wait_for(foreign)
    before = pid(running, "a")
    running.kill()
    for number in range(1000):
        forge(runs_of(running) / f"theirs-{number}.record", "{}\n")
    start_again(running)
    assert pid(running, "a") == before
    assert running.stop() == 0
    assert alive(theirs)
    os.kill(theirs, signal.SIGKILL)
    wait_until_gone([theirs])


def uid(process: int) -> int:
    return Path(f"/proc/{process}").stat().st_uid


# -- forged reports


@pytest.fixture
def of_agents(short_folder: Path) -> Iterator[RuntimeDirectory]:
    user = account(AGENT_USER)
    made = RuntimeDirectory(short_folder / "runs", user.pw_uid, user.pw_gid)
    made.prepare()
    yield made
    made.close()


def test_a_report_without_a_start_names_the_process_of_now_and_no_later_one(of_agents: RuntimeDirectory) -> None:
    """Else who ends that process, and waits until one of root's has its pid, has that one killed."""
    user = account(AGENT_USER)
    with subprocess.Popen(["sleep", "600"], user=user.pw_uid, group=user.pw_gid, extra_groups=[]) as child:
        wait_for(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "sleep\n")
        forge(of_agents.path / "r.pid", f"{child.pid}\n")
        assert of_agents.read_process("r") == ProcessIdentity.of(child.pid)
        child.kill()


def test_a_report_of_a_process_in_a_group_of_roots_signals_that_process_alone() -> None:
    """As root's ``agentctl collect`` has git run, for one."""
    user = account(AGENT_USER)
    program = (
        f"import subprocess\np = subprocess.Popen(['sleep', '600'], user={user.pw_uid}, group={user.pw_gid})\n"
        "print(p.pid, flush=True)\nprint(p.wait(), flush=True)\ninput()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        start_new_session=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as leader:
        assert leader.stdout is not None
        process = ProcessIdentity.of(int(leader.stdout.readline()))
        assert process is not None
        wait_for(lambda: uid(process.pid) == user.pw_uid)
        assert signal_group(process, signal.SIGTERM, user.pw_uid)
        assert leader.stdout.readline() == f"-{int(signal.SIGTERM)}\n"
        assert leader.poll() is None
        leader.kill()


@pytest.mark.parametrize("written", [-1e12, 0.0, 1e12])
def test_no_date_of_a_report_makes_a_run_older_than_the_boot(written: float) -> None:
    assert 0 <= ExitReport(0, None, written).age(time.time()) <= time.clock_gettime(time.CLOCK_BOOTTIME)


FLOOD = 'while :; do echo "$1"; echo garbage-without-end; done 1<>"$0"'


def test_a_flood_of_hints_keeps_nobody_from_an_answer_and_fills_no_log(running: Daemon) -> None:
    run, user = run_of(running, "b"), account(AGENT_USER)
    forge(runs_of(running) / f"{run}.exit", "nonsense\n")
    flooding = subprocess.Popen(
        ["sh", "-c", FLOOD, runs_of(running) / HINTS, run], user=user.pw_uid, group=user.pw_gid, cwd="/"
    )
    try:
        running.wait_for(lambda: "launcher_report_unreadable" in running.log_text(), what="it was looked at")
        for _ in range(50):
            began = time.monotonic()
            assert len(running.agents()) == 2
            assert time.monotonic() - began < 15
    finally:
        flooding.kill()
        flooding.wait()
    assert running.log_text().count("launcher_report_unreadable") == 1
    assert running.wait_state("a", "running")
