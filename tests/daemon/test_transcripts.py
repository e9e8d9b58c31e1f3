"""What agents print is kept, by the byte, whatever becomes of agentd, the disk, or the writer."""

from __future__ import annotations

import json
import os
import pwd
import random
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.daemon.support import declare, running, script, settled, start, stay
from tests.support.daemon import Daemon
from tests.support.processes import alive
from tests.support.waiting import wait_for

QUICK = "--interval=200ms"
"""Resyncs are when a writer that died is noticed."""


def run_folder(daemon: Daemon, name: str, run: int = 1) -> Path:
    return daemon.state / "agents" / name / "runs" / f"{run:04}"


def account(daemon: Daemon, name: str, run: int = 1) -> dict[str, Any]:
    """Read ``run.json``; nothing while it is not there."""
    path = run_folder(daemon, name, run) / "run.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def completed(daemon: Daemon, name: str, run: int = 1) -> dict[str, Any]:
    """Wait until a run is complete, and read its account."""

    def probe() -> dict[str, Any] | None:
        found = account(daemon, name, run)
        return found if found.get("end") else None

    return daemon.wait_for(probe, what=f"run {run} of {name} is complete")


def output(daemon: Daemon, name: str, run: int = 1) -> bytes:
    """Read all that is kept; nothing while the run has not begun."""
    # Not Path.iterdir, which raises where the folder is not there.
    parts = sorted((run_folder(daemon, name, run) / "output").glob("*"))
    return b"".join(part.read_bytes() for part in parts)


def writers(daemon: Daemon) -> list[psutil.Process]:
    """Find the processes that write this daemon's transcripts."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(daemon.state) in word for word in process.info["cmdline"] or ())
        and "split" in (process.info["cmdline"] or [""])[0]
    ]


def recording(daemon: Daemon, name: str) -> str | None:
    return daemon.agents()[name]["recording"]


def transcripts_health(daemon: Daemon) -> dict[str, Any]:
    """Read what ``/v1/health`` says of transcripts."""
    health: dict[str, Any] = dict(daemon.health())
    found: dict[str, Any] = health["recording"]["transcripts"]
    return found


def test_every_byte_is_kept_from_the_first_one_on_and_nothing_after_the_end(daemon: Daemon) -> None:
    data = daemon.workdir / "data"
    data.write_bytes(random.Random(7).randbytes(1_000_000))
    plain = script("plain", "printf first; printf 'last\\033'; exit 3")
    binary = script("binary", f"stty raw; cat {data}; stty sane")
    silent = script("silent", "exit 0")
    start(daemon, plain, binary, silent)
    found = completed(daemon, "plain")
    assert (run_folder(daemon, "plain") / "output.log").read_bytes() == b"firstlast\x1b"
    assert (found["run"], found["exit_code"], found["exit_signal"], found["bytes"]) == (1, 3, None, 10)
    assert (found["reason"], found["gaps"], found["columns"]) == ("exit status 3", [], 200)
    assert found["argv"] == ["sh", "-c", plain["command"][2], "plain"]  # type: ignore[index]
    assert found["start"] <= found["end"]
    assert completed(daemon, "binary")["bytes"] == 1_000_000
    assert output(daemon, "binary") == data.read_bytes()
    assert completed(daemon, "silent")["bytes"] == 0
    # The shell that follows is nobody's output.
    daemon.wait_for(lambda: "exit status 3" in daemon.screen("plain"))
    daemon.type("plain", "echo typed by hand")
    daemon.wait_for(lambda: "\ntyped by hand" in daemon.screen("plain"))
    assert output(daemon, "plain") == b"firstlast\x1b"
    assert daemon.wait_for(lambda: not writers(daemon), what="the writers have ended")


def test_each_run_has_a_number_and_folder_of_its_own_over_restarts_of_agent_and_daemon(daemon: Daemon) -> None:
    agent = script("a", "echo run of $AGENTD_RUN_ID", restart="always", max_restarts=2, restart_delay="10ms")
    start(daemon, agent)
    for number in (1, 2, 3):
        found = completed(daemon, "a", number)
        assert output(daemon, "a", number) == f"run of {found['run_id']}\r\n".encode()
    daemon.restart()
    assert completed(daemon, "a", 4)["run"] == 4


def test_all_is_kept_that_was_printed_just_before_a_stop_a_change_and_a_shutdown(daemon: Daemon) -> None:
    text = "trap 'seq 3000; exit 0' INT; echo ready; while :; do sleep 60 & wait; done"
    expected = b"".join(b"%d\r\n" % number for number in range(1, 3001))
    start(daemon, script("changed", text), script("removed", text), script("shut", text))
    for name in ("changed", "removed", "shut"):
        daemon.wait_for(lambda name=name: "ready" in daemon.screen(name))  # type: ignore[misc]
    declare(daemon, script("changed", text, env={"X": "1"}), script("shut", text))
    for name, reason in (("changed", "changed"), ("removed", "removed")):
        found = completed(daemon, name)
        assert (found["reason"], found["exit_code"]) == (reason, 0)
        assert output(daemon, name).endswith(expected)
    daemon.wait_for(lambda: "ready" in daemon.screen("changed"))
    assert daemon.stop() == 0
    for name, run in (("shut", 1), ("changed", 2)):
        found = account(daemon, name, run)
        assert (found["reason"], found["exit_code"]) == ("shutdown", 0)
        assert output(daemon, name, run).endswith(expected)


def test_nothing_is_lost_while_agentd_is_dead(daemon: Daemon) -> None:
    gate, ticks = daemon.workdir / "gate", "i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.01; done"
    ends = script("ends", f"echo one; while [ ! -e {gate} ]; do sleep 0.02; done; echo two; exit 7")
    start(daemon, script("ticks", ticks), ends, flags=[QUICK])
    running(daemon, "ticks", "ends")
    daemon.wait_for(lambda: b"tick 5" in output(daemon, "ticks"))
    assert {writer.environ()["LC_ALL"] for writer in writers(daemon)} == {"C"}
    daemon.kill()
    size = len(output(daemon, "ticks"))
    gate.touch()
    wait_for(lambda: len(output(daemon, "ticks")) > size + 200, what="recording goes on without agentd")
    wait_for(lambda: b"two" in output(daemon, "ends"), what="the other one has ended")
    wait_for(lambda: b"# " in output(daemon, "ends") or b"$ " in output(daemon, "ends"), what="its shell is there")
    daemon.start(QUICK)
    daemon.wait_for(lambda: daemon.health()["config"]["valid"])
    found = completed(daemon, "ends")
    assert (found["exit_code"], found["reason"], found["gaps"]) == (7, "exit status 7", [])
    assert output(daemon, "ends") == b"one\r\ntwo\r\n"
    before = len(output(daemon, "ticks"))
    daemon.wait_for(lambda: len(output(daemon, "ticks")) > before)
    declare(daemon)
    found = completed(daemon, "ticks")
    lines = output(daemon, "ticks").split(b"^C")[0].splitlines()
    assert lines[:-1] == [b"tick %d" % number for number in range(1, len(lines))]
    assert (found["run"], found["gaps"]) == (1, [])


@pytest.mark.thorough
def test_a_run_whose_session_went_while_agentd_was_dead_is_completed(daemon: Daemon) -> None:
    start(daemon, script("a", "echo one; exec sleep 600"), stay("silent"))
    running(daemon, "a", "silent")
    daemon.wait_for(lambda: b"one" in output(daemon, "a"))
    daemon.kill()
    daemon.tmux("kill-server")
    daemon.start()
    found, silent = completed(daemon, "a"), completed(daemon, "silent")
    assert (found["exit_code"], found["bytes"], silent["bytes"]) == (None, 5, 0)
    assert "not there" in found["reason"]
    # The last sign of it that there is.
    assert silent["end"] == silent["start"]
    daemon.wait_for(lambda: account(daemon, "a", 2).get("run") == 2)


@pytest.mark.slow
@pytest.mark.thorough
def test_output_is_kept_in_parts_of_which_the_oldest_go(daemon: Daemon) -> None:
    # Of 1 MiB a run may have a quarter, in 8 parts.
    start(daemon, script("a", "seq 100000; echo end; exec sleep 600"), flags=["--transcripts=1MiB", QUICK])
    daemon.wait_for(lambda: output(daemon, "a").endswith(b"end\r\n"), what="all is written")
    newest = run_folder(daemon, "a") / "output.log"
    daemon.wait_for(lambda: newest.read_bytes().endswith(b"end\r\n"), what="output.log is the newest part")
    folder = run_folder(daemon, "a") / "output"
    daemon.wait_for(lambda: len(list(folder.iterdir())) == 8, what="the oldest parts are gone")
    parts = sorted(folder.iterdir())
    assert {part.stat().st_size for part in parts[:-1]} == {32 * 1024}
    total = len(b"".join(b"%d\r\n" % number for number in range(1, 100001))) + 5
    dropped = total - len(output(daemon, "a"))
    daemon.wait_for(lambda: account(daemon, "a")["dropped"] == dropped, what="the offsets stay true")
    answer = daemon.request("GET", "/v1/agents/a/log?raw=1&tail=2")
    assert answer.body == b"100000\r\nend\r\n"


def test_a_writer_that_is_killed_is_said_and_replaced(daemon: Daemon) -> None:
    start(daemon, script("a", 'while read -r line; do echo "got $line"; done'), stay("b"), flags=[QUICK])
    running(daemon, "a", "b")
    daemon.type("a", "one")
    daemon.wait_for(lambda: b"got one" in output(daemon, "a"))
    (writer,) = [each for each in writers(daemon) if "/a/" in each.cmdline()[-1]]
    pid = running(daemon, "a")["a"]
    writer.kill()
    # tmux notices when it has something to write.
    daemon.type("a", "lost")
    daemon.wait_for(lambda: account(daemon, "a")["gaps"], what="the gap is noted")
    daemon.wait_for(lambda: recording(daemon, "a") is None and len(writers(daemon)) == 2, what="it is replaced")
    daemon.type("a", "two")
    daemon.wait_for(lambda: output(daemon, "a").endswith(b"got two\r\n"))
    (gap,) = account(daemon, "a")["gaps"]
    assert "has ended" in gap["reason"]
    assert gap["offset"] == len(b"one\r\ngot one\r\n")
    assert "transcripts_failing" in daemon.log_text()
    assert running(daemon, "a")["a"] == pid


@pytest.mark.thorough
def test_a_writer_that_is_late_costs_the_next_run_nothing(daemon: Daemon) -> None:
    text = 'echo begin; while read -r line; do [ "$line" = end ] && exit; echo "got $line"; done'
    start(daemon, script("a", text, restart="always", restart_delay="10ms"), flags=[QUICK])
    daemon.wait_for(lambda: output(daemon, "a") == b"begin\r\n")
    (late,) = writers(daemon)
    late.suspend()
    daemon.type("a", "end")
    daemon.wait_for(lambda: output(daemon, "a", 2) == b"begin\r\n", what="the next run is recorded")
    # The first one is given up after a second.
    completed(daemon, "a")
    daemon.type("a", "one")
    daemon.wait_for(lambda: b"got one" in output(daemon, "a", 2), what="the next run is still recorded")
    late.resume()
    assert account(daemon, "a", 2)["gaps"] == []


@pytest.mark.thorough
def test_transcripts_can_be_turned_off_and_on_again(daemon: Daemon) -> None:
    start(daemon, stay("a"), flags=["--transcripts=off", "--on-shutdown=keep"])
    pid = running(daemon, "a")["a"]
    assert not (daemon.state / "agents").exists()
    assert writers(daemon) == []
    assert recording(daemon, "a") is None
    assert transcripts_health(daemon)["state"] == "off"
    daemon.stop()
    daemon.start(QUICK)
    daemon.wait_for(lambda: daemon.health()["config"]["valid"])
    daemon.wait_for(lambda: len(writers(daemon)) == 1, what="the run that goes on is recorded from now on")
    daemon.type("a", "hello")
    daemon.wait_for(lambda: b"hello" in output(daemon, "a"))
    assert running(daemon, "a")["a"] == pid
    assert len(account(daemon, "a")["gaps"]) == 1


def test_secret_values_stand_in_no_account(daemon: Daemon) -> None:
    daemon.write_secret("TOKEN", "s3cret-value")
    start(daemon, script("a", "echo s3cret-value", env={"OTHER": "not-told"}))
    assert completed(daemon, "a")["argv"][2] == "echo [secret]"
    text = (run_folder(daemon, "a") / "run.json").read_text()
    assert "s3cret-value" not in text
    assert "not-told" not in text


def test_any_path_of_the_state_directory_will_do(daemon: Daemon) -> None:
    daemon.state = daemon.folder / "st #{a} %d 'q\" $x ##[b] é"
    start(daemon, script("a", "echo here"))
    completed(daemon, "a")
    assert output(daemon, "a") == b"here\r\n"


def test_a_state_directory_that_cannot_be_written_stops_no_agent_and_is_said(daemon: Daemon) -> None:
    daemon.state.mkdir()
    (daemon.state / "agents").write_text("in the way")
    start(daemon, script("a", "while :; do echo tick; sleep 0.05; done"), script("b", "echo done"), flags=[QUICK])
    running(daemon, "a")
    daemon.wait_state("b", "exited")
    text = daemon.wait_for(lambda: recording(daemon, "a"), what="it is said")
    assert text is not None
    assert str(daemon.state) in text
    assert "by itself" in text
    (daemon.state / "agents").unlink()
    daemon.wait_for(lambda: recording(daemon, "a") is None, 20, what="recording goes on by itself")
    daemon.wait_for(lambda: b"tick" in output(daemon, "a"))
    assert len(account(daemon, "a")["gaps"]) >= 1
    assert "transcripts_go_on" in daemon.log_text()


# -- what only root can arrange

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount, or run agents as another user")


@pytest.fixture
def small_disk(daemon: Daemon) -> Iterator[Path]:
    """A state directory on a disk of its own of 4 MiB."""
    daemon.state.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", str(daemon.state)]
    done = subprocess.run(options, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"cannot mount: {done.stderr.strip()}")
    try:
        found = os.statvfs(daemon.state)
        assert found.f_blocks * found.f_frsize == 4 << 20, "the disk is not as small as it was asked for"
        yield daemon.state
    finally:
        subprocess.run(["umount", "-l", str(daemon.state)], check=True)


@root
@pytest.mark.slow
@pytest.mark.thorough
def test_a_full_disk_stops_recording_and_nothing_else(daemon: Daemon, small_disk: Path) -> None:
    # Until the last block of the file is full there is room.
    text = f"i=0; while :; do i=$((i+1)); echo tick $i {'.' * 500}; sleep 0.01; done"
    start(daemon, script("a", text), flags=[QUICK])
    pid = running(daemon, "a")["a"]
    daemon.wait_for(lambda: b"tick 5" in output(daemon, "a"))
    filler = small_disk / "filler"
    subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4096", "status=none"], capture_output=True, check=False)
    assert os.statvfs(small_disk).f_bavail == 0
    said = daemon.wait_for(lambda: (found := recording(daemon, "a")) and "no space left" in found and found)
    assert str(small_disk) in str(said)
    health = transcripts_health(daemon)
    assert (health["state"], health["lost"]) == ("failing", 1)
    assert "no space left" in health["error"]
    declare(daemon, script("a", text), stay("b"))
    running(daemon, "b")
    assert "no space left" in str(recording(daemon, "b"))
    assert running(daemon, "a")["a"] == pid
    seen = output(daemon, "a")
    filler.unlink()
    daemon.wait_for(lambda: recording(daemon, "a") is None, 20, what="recording goes on by itself")
    daemon.wait_for(lambda: len(output(daemon, "a")) > len(seen))
    daemon.wait_for(lambda: recording(daemon, "b") is None, 20)
    daemon.wait_for(lambda: transcripts_health(daemon)["state"] == "ok", what="all is well again")
    gaps = account(daemon, "a")["gaps"]
    assert any("no space left" in gap["reason"] for gap in gaps)
    settled(daemon)
    assert completed(daemon, "a")["bytes"] == len(output(daemon, "a"))


@pytest.mark.thorough
@root
def test_a_read_only_disk_stops_no_agent(daemon: Daemon, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    start(daemon, script("a", "echo one; exec sleep 600"), flags=[QUICK])
    running(daemon, "a")
    assert "ead-only file system" in str(daemon.wait_for(lambda: recording(daemon, "a")))
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    daemon.wait_for(lambda: recording(daemon, "a") is None, 20, what="recording goes on by itself")


OTHER = "daemon"


@pytest.fixture
def as_other(daemon: Daemon) -> Daemon:
    """A daemon whose agents are another user's, with a state directory as a package makes it."""
    try:
        user = pwd.getpwnam(OTHER)
    except KeyError:
        pytest.skip(f"there is no user {OTHER}")
    folder = daemon.runtime / "tmux"
    folder.mkdir(mode=0o750)
    os.chown(folder, user.pw_uid, user.pw_gid)
    daemon.tmux_socket = folder / "tmux.sock"
    os.chown(daemon.workdir, user.pw_uid, user.pw_gid)
    return daemon


def as_user(name: str, *command: str) -> subprocess.CompletedProcess[str]:
    group = pwd.getpwnam(name).pw_gid
    return subprocess.run(command, user=name, group=group, extra_groups=[], capture_output=True, text=True, check=False)


@root
def test_the_agents_user_may_write_its_output_and_see_nothing_else(as_other: Daemon) -> None:
    as_other.state.mkdir(mode=0o700)
    (as_other.state / "other").write_text("of agentd")
    (as_other.state / "other").chmod(0o600)
    start(as_other, script("a", "echo mine; exec sleep 600", workdir="work"), flags=[f"--agent-user={OTHER}"])
    running(as_other, "a")
    folder = run_folder(as_other, "a")
    as_other.wait_for(lambda: output(as_other, "a") == b"mine\r\n")
    uid = pwd.getpwnam(OTHER).pw_uid
    modes = {
        path.name: (stat.S_IMODE(path.stat().st_mode), path.stat().st_uid)
        for path in (folder.parents[2], folder.parents[1], folder.parent, folder, folder / "output")
    }
    assert modes == {
        "agents": (0o710, 0),
        "a": (0o710, 0),
        "runs": (0o710, 0),
        "0001": (0o710, 0),
        "output": (0o700, uid),
    }
    assert stat.S_IMODE((folder / "run.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "output/000000").stat().st_mode) == 0o600
    assert as_user(OTHER, "cat", f"{folder}/output/000000").stdout == "mine\n"
    for command in (
        ["ls", str(as_other.state)],
        ["cat", str(as_other.state / "other")],
        ["ls", str(folder)],
        ["cat", str(folder / "run.json")],
        ["touch", str(folder / "x")],
        ["rm", "-f", str(folder / "output.log")],
        ["mv", str(folder / "output"), str(folder / "away")],
    ):
        assert as_user(OTHER, *command).returncode != 0, command
    for path in (folder / "output/000000", folder / "output", folder / "run.json"):
        assert as_user("nobody", "cat", str(path)).returncode != 0


@root
def test_what_the_agents_user_puts_into_its_output_makes_root_read_and_remove_nothing_else(as_other: Daemon) -> None:
    precious = as_other.folder / "precious"
    precious.mkdir(mode=0o700)
    (precious / "file").write_text("precious")
    start(as_other, script("a", "echo mine; exec sleep 600", workdir="work"), flags=[f"--agent-user={OTHER}"])
    running(as_other, "a")
    as_other.wait_for(lambda: output(as_other, "a") == b"mine\r\n")
    folder = run_folder(as_other, "a") / "output"
    for command in (
        ["ln", "-s", str(precious / "file"), str(folder / "000001")],
        ["mkfifo", str(folder / "000002")],
        ["mkdir", str(folder / "000003")],
        ["ln", "-s", str(precious), str(folder / "000004")],
        ["sh", "-c", f"echo later >{folder}/000005"],
    ):
        assert as_user(OTHER, *command).returncode == 0, command
    answer = as_other.request("GET", "/v1/agents/a/log?raw=1")
    assert (answer.status, answer.body) == (200, b"mine\r\nlater\n")
    declare(as_other)
    completed(as_other, "a")
    assert (precious / "file").read_text() == "precious"
    assert as_other.stop() == 0
    assert (precious / "file").read_text() == "precious"


@pytest.mark.thorough
@root
def test_a_folder_that_keeps_the_agents_user_out_is_said(as_other: Daemon) -> None:
    closed = as_other.folder / "closed"
    closed.mkdir(mode=0o700)
    as_other.state = closed / "state"
    start(as_other, script("a", "echo mine; exec sleep 600", workdir="work"), flags=[f"--agent-user={OTHER}", QUICK])
    pid = running(as_other, "a")["a"]
    text = as_other.wait_for(lambda: (found := recording(as_other, "a")) and "chmod" in found and found)
    assert str(closed) in str(text)
    closed.chmod(0o711)
    as_other.wait_for(lambda: recording(as_other, "a") is None, 20, what="recording goes on by itself")
    assert alive(pid)
