from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from structlog.testing import LogCapture

from agentd.launch import rundir
from agentd.launch.exit_report import ExitReport
from agentd.launch.launcher import HINTS, LaunchScript
from agentd.launch.owned_folder import RuntimeDirectoryError
from agentd.launch.rundir import CLOSING, RuntimeDirectory
from agentd.process.identity import ProcessIdentity
from tests.support.waiting import wait_for

SCRIPT = LaunchScript("a", "r", ("true",), {"TOKEN": "s3cret"}, "/")
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs agents as another user")


@pytest.fixture
async def runtime(short_folder: Path) -> AsyncIterator[RuntimeDirectory]:
    made = RuntimeDirectory(short_folder / "runs", os.geteuid(), os.getegid())
    made.prepare()
    yield made
    made.close()


def refusal(path: Path, owner: int | None = None) -> str:
    runtime = RuntimeDirectory(path, os.geteuid() if owner is None else owner, os.getegid())
    with pytest.raises(RuntimeDirectoryError) as caught:
        runtime.prepare()
    runtime.close()
    return str(caught.value)


# -- the folder


def test_it_is_made_for_the_agent_user_alone(runtime: RuntimeDirectory) -> None:
    found = runtime.path.stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (os.geteuid(), 0o700)
    again = RuntimeDirectory(runtime.path, os.geteuid(), os.getegid())
    again.prepare()
    again.close()


def test_another_mode_is_refused_with_what_to_do(short_folder: Path) -> None:
    (short_folder / "runs").mkdir(mode=0o750)
    assert "mode 0700, found uid" in (text := refusal(short_folder / "runs"))
    assert "mode 0750; remove it" in text


def test_another_owner_is_refused(short_folder: Path) -> None:
    (short_folder / "runs").mkdir(mode=0o700)
    assert f"belong to uid {os.geteuid() + 1}" in refusal(short_folder / "runs", os.geteuid() + 1)


@pytest.mark.parametrize("kind", ["link", "file", "fifo", "dangling"])
def test_what_is_no_folder_is_refused(short_folder: Path, kind: str) -> None:
    path = short_folder / "runs"
    if kind == "link":
        (short_folder / "real").mkdir(mode=0o700)
        path.symlink_to("real")
    elif kind == "dangling":
        path.symlink_to("nowhere")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.touch()
    assert "remove what is there" in refusal(path)


def test_a_missing_parent_is_refused(short_folder: Path) -> None:
    assert "No such file" in refusal(short_folder / "nowhere" / "runs")


@as_root
def test_as_root_everything_in_it_is_the_agent_users(short_folder: Path) -> None:
    runtime = RuntimeDirectory(short_folder / "runs", NOBODY, NOBODY)
    runtime.prepare()
    runtime.write_script(SCRIPT)
    runtime.announce_closing()
    for path in (runtime.path, runtime.path / "r.sh", runtime.path / CLOSING):
        found = path.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o077) == (NOBODY, NOBODY, 0)
    runtime.close()


def test_a_folder_put_in_its_place_later_is_left_alone(runtime: RuntimeDirectory, short_folder: Path) -> None:
    precious = short_folder / "precious"
    precious.mkdir()
    for name in ("cron.sh", "sshd.pid", CLOSING, HINTS):
        (precious / name).write_text("precious\n")
    moved = runtime.path.rename(short_folder / "moved")
    runtime.path.symlink_to(precious)
    runtime.write_script(SCRIPT)
    runtime.announce_closing()
    runtime.remove_all_but(set())
    runtime.remove_run("sshd")
    assert runtime.read_exit("sshd") is None
    assert {path.name: path.read_text() for path in precious.iterdir()} == dict.fromkeys(
        ("cron.sh", "sshd.pid", CLOSING, HINTS), "precious\n"
    )
    assert [path.name for path in moved.iterdir()] == [CLOSING]
    runtime.remove()
    assert precious.exists()


# -- scripts


def test_a_script_is_readable_by_the_agent_user_only(runtime: RuntimeDirectory) -> None:
    path = Path(runtime.write_script(SCRIPT))
    assert path == Path(runtime.script_path("r"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "s3cret" in path.read_text()
    runtime.remove_script("r")
    runtime.remove_script("r")
    assert not path.exists()


@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_a_script_is_never_written_over_something_or_through_a_link(
    runtime: RuntimeDirectory, short_folder: Path, kind: str
) -> None:
    target, path = short_folder / "target", Path(runtime.script_path("r"))
    if kind != "dangling":
        target.write_text("precious")
    if kind == "file":
        path.write_text("precious")
    else:
        path.symlink_to(target)
    with pytest.raises(FileExistsError):
        runtime.write_script(SCRIPT)
    assert target.exists() == (kind != "dangling")
    assert kind == "dangling" or (path if kind == "file" else target).read_text() == "precious"


def test_a_folder_that_is_gone_is_an_error_of_the_launch(runtime: RuntimeDirectory) -> None:
    runtime.path.rmdir()
    with pytest.raises(FileNotFoundError):
        runtime.write_script(SCRIPT)


# -- reports


def report(runtime: RuntimeDirectory, suffix: str, content: bytes) -> None:
    path, folder = runtime.path / f"r{suffix}", runtime.path.stat()
    path.write_bytes(content)
    os.chown(path, folder.st_uid, folder.st_gid)


@pytest.mark.parametrize(("content", "status", "error", "uptime"), [
    (b"0\n", 0, None, None), (b"255 15214.57\n", 255, None, 15214.57),
    (b"launch-failed cannot enter\n", None, "cannot enter", None),
])  # fmt: skip
def test_an_exit_report_is_read(
    runtime: RuntimeDirectory, content: bytes, status: int | None, error: str | None, uptime: float | None
) -> None:
    report(runtime, ".exit", content)
    found = runtime.read_exit("r")
    assert found == ExitReport(status, error, (runtime.path / "r.exit").stat().st_mtime, uptime)


def test_the_age_of_a_report_does_not_follow_the_wall_clock() -> None:
    booted = time.clock_gettime(time.CLOCK_BOOTTIME)
    year = 31_557_600.0
    for wall in (time.time() - year, time.time(), time.time() + year):
        assert 5 <= ExitReport(0, None, time.time(), booted - 5).age(wall) < 60
    assert ExitReport(0, None, 1000.0).age(1005.0) == 5
    assert ExitReport(0, None, 1000.0).age(995.0) == 0


@pytest.mark.parametrize("content", [b"", b"1", b"launch-failed x"])
def test_a_report_that_is_not_whole_is_none_yet(runtime: RuntimeDirectory, content: bytes, events: LogCapture) -> None:
    report(runtime, ".exit", content)
    report(runtime, ".pid", content)
    assert (runtime.read_exit("r"), runtime.read_process("r")) == (None, None)
    assert events.entries == []


@pytest.mark.parametrize(
    "content",
    [
        b"256\n",
        b"-1\n",
        b"1 2\n",
        b"1 2.\n",
        b"1 2.0 3\n",
        b" 1\n",
        b"1 \n",
        b"\xff\n",
        "٣\n".encode(),
        b"0\n1\n",
        b"9" * 4000 + b"\n",
        b"\n",
        b"\0\n",
    ],
)
def test_a_senseless_exit_report_is_logged_and_none(
    runtime: RuntimeDirectory, content: bytes, events: LogCapture
) -> None:
    report(runtime, ".exit", content)
    assert runtime.read_exit("r") is None
    assert [event["event"] for event in events.entries] == ["launcher_report_unreadable"]


@pytest.mark.parametrize(
    "content",
    [b"0\n", b"-1\n", b"x\n", b"1 (a\n", b"1 (a) S\n", b"9" * 4000 + b"\n", b"4294967296\n", "٣\n".encode(), b"\n",
     b"1 (a) " + b"S " * 30 + b"\n"],
)  # fmt: skip
def test_a_senseless_process_report_is_logged_and_none(
    runtime: RuntimeDirectory, content: bytes, events: LogCapture
) -> None:
    report(runtime, ".pid", content)
    assert runtime.read_process("r") is None
    assert [event["event"] for event in events.entries] == ["launcher_report_unreadable"]


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "huge"])
def test_hostile_things_in_place_of_reports_neither_hang_nor_are_followed(
    runtime: RuntimeDirectory, short_folder: Path, kind: str, events: LogCapture
) -> None:
    (short_folder / "other").write_text("0\n")
    for suffix in (".exit", ".pid"):
        path = runtime.path / f"r{suffix}"
        if kind == "link":
            path.symlink_to(short_folder / "other")
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            with path.open("wb") as file:
                file.truncate(1 << 40)
    assert (runtime.read_exit("r"), runtime.read_process("r")) == (None, None)
    assert {event["event"] for event in events.entries} == (set() if kind == "huge" else {"launcher_report_unreadable"})
    runtime.remove_run("r")
    runtime.remove_all_but(set())
    assert (runtime.path / "r.exit").exists() == (kind == "folder")


def test_the_process_of_a_report_is_the_one_that_is_meant(runtime: RuntimeDirectory) -> None:
    own = ProcessIdentity.of(os.getpid())
    report(runtime, ".pid", Path("/proc/self/stat").read_bytes())
    assert runtime.read_process("r") == own


@as_root
def test_as_root_a_report_that_names_a_process_of_somebody_else_is_forged(
    short_folder: Path, events: LogCapture
) -> None:
    runtime = RuntimeDirectory(short_folder / "runs", NOBODY, NOBODY)
    runtime.prepare()
    report(runtime, ".pid", Path("/proc/1/stat").read_bytes())
    assert runtime.read_process("r") is None
    assert [event["event"] for event in events.entries] == ["launcher_report_forged"]
    runtime.close()


@as_root
def test_as_root_a_report_of_a_process_to_come_names_one_that_never_lives(short_folder: Path) -> None:
    runtime = RuntimeDirectory(short_folder / "runs", NOBODY, NOBODY)
    runtime.prepare()
    ended = os.fork()
    if ended == 0:
        os._exit(0)
    os.waitpid(ended, 0)
    report(runtime, ".pid", f"{ended}\n".encode())
    process = runtime.read_process("r")
    assert process is not None
    assert (process.pid, process.alive()) == (ended, False)
    assert process.started == ProcessIdentity(ended, None).gone().started
    runtime.close()


# -- what is left


def test_runs_are_known_by_their_files(runtime: RuntimeDirectory) -> None:
    for name in ("a.sh", "a.pid", "b.exit", "c.other", "noext", HINTS):
        (runtime.path / name).touch()
    (runtime.path / "d.sh").mkdir()
    assert runtime.run_ids() == {"a", "b"}
    runtime.remove_all_but({"a"})
    assert {path.name for path in runtime.path.iterdir()} == {"a.sh", "a.pid", "c.other", "noext", HINTS, "d.sh"}


def test_names_are_listed_anew_once_one_came_or_went(
    runtime: RuntimeDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ten times the steps of a file system's clock.
    monkeypatch.setattr(rundir, "_FRESH", 40_000_000)
    (runtime.path / "a").touch()

    def settled() -> bool:
        return runtime.file_names() is runtime.file_names()

    wait_for(settled)
    assert runtime.file_names() == {"a"}
    (runtime.path / "b").touch()
    assert runtime.file_names() == {"a", "b"}
    wait_for(settled)
    (runtime.path / "a").unlink()
    (runtime.path / "b").rename(runtime.path / "c")
    assert runtime.file_names() == {"c"}


def test_the_mark_of_a_former_shutdown_is_removed(runtime: RuntimeDirectory) -> None:
    runtime.announce_closing()
    again = RuntimeDirectory(runtime.path, os.geteuid(), os.getegid())
    again.prepare()
    again.close()
    assert not (runtime.path / CLOSING).exists()


def test_a_mark_that_cannot_be_removed_is_refused(runtime: RuntimeDirectory) -> None:
    (runtime.path / CLOSING).mkdir()
    assert "closing that cannot be removed" in refusal(runtime.path)


def test_a_mark_that_cannot_be_made_is_logged(runtime: RuntimeDirectory, events: LogCapture) -> None:
    runtime.path.rmdir()
    runtime.announce_closing()
    assert [event["event"] for event in events.entries] == ["closing_not_announced"]


def test_removing_leaves_nothing(runtime: RuntimeDirectory) -> None:
    for name in ("a.sh", "b.exit", CLOSING, HINTS):
        (runtime.path / name).touch()
    runtime.remove()
    assert not runtime.path.exists()


def test_what_somebody_else_put_there_is_left_and_said(runtime: RuntimeDirectory, events: LogCapture) -> None:
    (runtime.path / "other").touch()
    runtime.remove()
    assert [event["event"] for event in events.entries] == ["runtime_directory_stays"]


# -- hints


def hint(runtime: RuntimeDirectory, data: bytes) -> None:
    with (runtime.path / HINTS).open("r+b", buffering=0) as file:
        file.write(data)


async def told(hints: list[str], number: int) -> None:
    await asyncio.to_thread(wait_for, lambda: len(hints) >= number)


async def test_hints_come_whole_however_they_were_written(runtime: RuntimeDirectory) -> None:
    hints: list[str] = []
    runtime.listen(hints.append)
    assert stat.S_IMODE((runtime.path / HINTS).stat().st_mode) == 0o600
    hint(runtime, b"first\nsec")
    await told(hints, 1)
    hint(runtime, b"ond\n")
    await told(hints, 2)
    assert hints == ["first", "second"]


async def test_a_flood_of_hints_and_garbage_does_no_harm(runtime: RuntimeDirectory) -> None:
    hints: list[str] = []
    runtime.listen(hints.append)
    hint(runtime, b"same\n" * 1000 + b"\xff\xfe\n" + b"x" * 5000)
    await told(hints, 2)
    hint(runtime, b"\nlast\n")
    await told(hints, 4)
    assert hints[:2] == ["same", "��"]
    assert len(hints[2]) == 64
    assert hints[3] == "last"


@pytest.mark.parametrize("kind", ["file", "link", "fifo"])
async def test_what_stands_in_the_place_of_the_fifo_is_replaced_and_a_fifo_kept(
    runtime: RuntimeDirectory, short_folder: Path, kind: str
) -> None:
    path = runtime.path / HINTS
    if kind == "file":
        path.write_text("x")
    elif kind == "link":
        os.mkfifo(short_folder / "other")
        path.symlink_to(short_folder / "other")
    else:
        os.mkfifo(path)
    before = path.lstat().st_ino
    hints: list[str] = []
    runtime.listen(hints.append)
    assert stat.S_ISFIFO(path.lstat().st_mode)
    assert kind != "fifo" or path.lstat().st_ino == before
    hint(runtime, b"r\n")
    await told(hints, 1)


async def test_a_folder_in_the_place_of_the_fifo_is_refused(runtime: RuntimeDirectory) -> None:
    (runtime.path / HINTS).mkdir()
    with pytest.raises(RuntimeDirectoryError, match="cannot open the FIFO"):
        runtime.listen(lambda _: None)


async def test_closing_lets_go_of_every_descriptor(short_folder: Path) -> None:
    before = psutil.Process().num_fds()
    made = RuntimeDirectory(short_folder / "runs", os.geteuid(), os.getegid())
    made.prepare()
    made.listen(lambda _: None)
    made.close()
    made.close()
    assert psutil.Process().num_fds() == before


# -- records of runs


def test_a_record_is_kept_and_replaced_byte_for_byte(runtime: RuntimeDirectory) -> None:
    assert runtime.read_record("r") is None
    for record in ('{"n": 1}', '{"text": "it\'s #{pid} $HOME \\"q\\" \\\\ \\u0007 ü"}', "x" * 100_000):
        runtime.write_record("r", record)
        assert runtime.read_record("r") == record
    found = (runtime.path / "r.record").stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (os.geteuid(), 0o600)
    assert runtime.run_ids() == {"r"}
    runtime.remove_run("r")
    assert runtime.run_ids() == set()


def test_a_half_written_record_is_none(runtime: RuntimeDirectory) -> None:
    (runtime.path / "r.record").write_text('{"n": 1')
    assert runtime.read_record("r") is None


def test_a_record_is_never_written_through_a_link(runtime: RuntimeDirectory, short_folder: Path) -> None:
    for name in ("r.record", "r.record-new"):
        (runtime.path / name).symlink_to(short_folder / "elsewhere")
    runtime.write_record("r", "mine")
    assert runtime.read_record("r") == "mine"
    assert not (short_folder / "elsewhere").exists()


@pytest.mark.parametrize("form", ["/bin/sh {}/r-1.sh", '/bin/sh "{}/r-1.sh"', "/bin/sh '{}/r-1.sh'"])
def test_a_panes_command_names_a_run_that_has_a_record(runtime: RuntimeDirectory, form: str) -> None:
    command = form.format(runtime.path)
    assert runtime.launched(command) is None
    runtime.write_record("r-1", "x")
    assert runtime.launched(command) == "r-1"
    assert runtime.launched(f"{command} more") is None
    assert runtime.launched(command.removeprefix("/bin/sh ")) is None
