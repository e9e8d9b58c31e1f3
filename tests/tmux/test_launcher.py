from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.launch.launcher import LAUNCH_FAILED, MAX_ARGUMENT_BYTES, LaunchScript, oversized, render
from agentd.process.identity import signal_group
from agentd.text.quoting import shell_quote
from tests.support.agents import misbehaving
from tests.support.effort import examples
from tests.support.processes import alive
from tests.support.waiting import until, wait_for
from tests.tmux.launches import Launches, dumping, own_environment, read_dump

# /bin/sh is dash on Debian, bash on Fedora and macOS.
_SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"]}
SHELLS = [pytest.param(argv, id=name) for name, argv in _SHELLS.items() if shutil.which(name)]

_BYTES = st.one_of(
    st.binary(max_size=60),
    st.lists(
        st.sampled_from([b"'", b'"', b"$(id)", b"`id`", b"\\", b"\n", b"@", b"@ARGV@", b" ", b"\t", b"\r", b"-", b"~",
                         b"%s", b"\x01", b"\x7f", b"\x80", b"\x81", b"\x82", b"\x88", b"\xff", b"\xc3",
                         b"!!", b"$X", b"{a,b}", b"*"]),
        max_size=10,
    ).map(b"".join),
).map(lambda raw: raw.replace(b"\0", b""))  # fmt: skip
_SPECIAL_NAMES = [
    "IFS", "PS1", "PS4", "ENV", "BASH_ENV", "PATH", "HOME", "LANG", "LC_ALL", "TERM", "SHLVL", "OLDPWD", "PWD", "_",
    "CDPATH", "LINENO", "RANDOM", "SECONDS", "OPTARG", "MAIL", "MAILPATH", "HISTSIZE", "HISTCMD", "GROUPS", "FUNCNAME",
    "DIRSTACK", "BASHPID", "TMOUT", "POSIXLY_CORRECT", "GLOBIGNORE", "FUNCNEST", "stat", "status", "up",
    "idle", "ended", "environment", "field", "mask", "TMUX",
    "TMUX_TMPDIR", "PPID", "UID", "EUID", "SHELLOPTS", "BASHOPTS", "BASH_VERSINFO", "OPTIND", "BASH_XTRACEFD",
    "BASH_COMPAT", "COLUMNS", "LINES",
]  # fmt: skip
REFUSED = {"dash": {b"OPTIND"}, "bash": {b"PPID", b"UID", b"EUID", b"SHELLOPTS", b"BASHOPTS", b"BASH_VERSINFO"}}
_NAMES = st.one_of(
    st.from_regex(r"[A-Z_a-z][A-Z_a-z0-9]{0,12}", fullmatch=True), st.sampled_from(_SPECIAL_NAMES)
).filter(
    # These two would break the program that dumps, whoever starts it; bash keeps the last for itself.
    lambda name: not name.startswith(("LD_", "MALLOC_")) and name != "PIPESTATUS"
)


def execute(
    shell: list[str], folder: Path, argv: tuple[str, ...], environment: dict[str, str], workdir: str
) -> subprocess.CompletedProcess[bytes]:
    """Execute a launcher without a terminal; where everything is closing it does not become a shell."""
    (folder / "closing").touch()
    path = folder / "r.sh"
    path.write_bytes(render(LaunchScript("a", "r", argv, environment, workdir), folder))
    own = {
        "PATH": os.environ["PATH"],
        "TERM": "dumb",
        "TMUX": "x",
        "TMUX_PANE": "y",
        "HOME": "/root",
        "stat": "inherited",
    }
    return subprocess.run(
        [*shell, str(path)], env=own, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=30
    )


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("mask", [0o022, 0o027, 0o002, 0o777])
def test_reports_are_the_agent_users_alone_and_the_agent_has_its_own_umask(
    shell: list[str], mask: int, tmp_path: Path
) -> None:
    former = os.umask(mask)
    try:
        (tmp_path / "closing").touch(0o600)
        (tmp_path / "r.sh").touch(0o600)
        (tmp_path / "hints").touch(0o600)
        (tmp_path / "r.sh").chmod(0o600)
        done = execute(shell, tmp_path, ("sh", "-c", "umask"), {"PATH": os.environ["PATH"]}, "/")
    finally:
        os.umask(former)
    assert int(done.stdout.split()[0], 8) == mask
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("r.pid", "r.exit")] == [0o600, 0o600]


def exit_status(folder: Path) -> str:
    """Read the status that a launcher wrote, and hold it to having written a time since boot after it."""
    status, _, uptime = (folder / "r.exit").read_text().removesuffix("\n").partition(" ")
    assert abs(time.clock_gettime(time.CLOCK_BOOTTIME) - float(uptime)) < 30
    return status


@pytest.fixture(scope="module")
def folder(session_folder: Path) -> Path:
    made = session_folder / "launcher"
    # It may be asked for again, where tests come in another order.
    made.mkdir(exist_ok=True)
    return made


# -- what the agent is given


@pytest.mark.parametrize("shell", SHELLS)
@given(
    arguments=st.lists(_BYTES, max_size=5),
    environment=st.dictionaries(_NAMES, _BYTES, max_size=6),
    name=_BYTES.map(lambda raw: raw.replace(b"/", b"")[:100]).filter(lambda raw: raw not in (b"", b".", b"..")),
)
@settings(examples(10, 60), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_argv_environment_and_workdir_arrive_byte_for_byte(
    folder: Path, shell: list[str], arguments: list[bytes], environment: dict[str, bytes], name: bytes
) -> None:
    own = dumping(folder / "dump.py", folder / "dump")
    workdir = os.fsencode(folder) + b"/" + name
    Path(os.fsdecode(workdir)).mkdir(exist_ok=True)
    done = execute(
        shell, folder, (*own, *map(os.fsdecode, arguments)),
        {key: os.fsdecode(value) for key, value in environment.items()}, os.fsdecode(workdir),
    )  # fmt: skip
    assert exit_status(folder) == "0", done.stderr
    found_argv, found, cwd = read_dump(folder / "dump", len(own))
    assert found_argv == arguments
    assert cwd == workdir
    refused = REFUSED[shell[0]]
    expected = {b"TERM": b"dumb"} | {os.fsencode(key): value for key, value in environment.items()}
    expected = {key: value for key, value in expected.items() if key not in refused | {b"_"}} | {b"PWD": workdir}
    for key in refused & found.keys():
        expected.setdefault(key, found[key])
    assert found == expected


@pytest.mark.parametrize("shell", SHELLS)
def test_a_prompt_of_100_kib_and_one_of_the_kernels_limit_arrive(folder: Path, shell: list[str]) -> None:
    own = dumping(folder / "dump.py", folder / "dump")
    prompts = ["'\n$(x)\"\t\\" * 12800, "p" * MAX_ARGUMENT_BYTES]
    execute(shell, folder, (*own, *prompts), {"BIG": "v" * (MAX_ARGUMENT_BYTES - 4)}, "/")
    argv, environment, _ = read_dump(folder / "dump", len(own))
    assert argv == [prompt.encode() for prompt in prompts]
    assert environment[b"BIG"] == b"v" * (MAX_ARGUMENT_BYTES - 4)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_name_that_the_shell_refuses_is_left_out_and_said(folder: Path, shell: list[str]) -> None:
    own = dumping(folder / "dump.py", folder / "dump")
    refused = REFUSED[shell[0]]
    done = execute(shell, folder, own, {**{os.fsdecode(name): "no number" for name in refused}, "X": "kept"}, "/")
    _, environment, _ = read_dump(folder / "dump", len(own))
    assert environment[b"X"] == b"kept"
    assert b"no number" not in environment.values()
    said = [line for line in done.stdout.splitlines() if line.startswith(b"[agentd]")]
    assert {line.split()[1] for line in said} == refused


def test_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        shell_quote("a\0b")


def test_what_the_kernel_would_refuse_is_named_but_not_shown() -> None:
    most = "x" * MAX_ARGUMENT_BYTES
    assert oversized(("a", most), {"N": most[2:]}) is None
    assert (
        oversized(("a", most + "x"), {})
        == "the prompt has 131072 bytes; the kernel passes at most 131071 in one argument"
    )
    assert "argument 1 has 131072" in str(oversized(("a", most + "x", "b"), {}))
    assert oversized((), {"N": most}) == "environment variable N has 131073 bytes; the kernel passes at most 131071"


async def test_in_a_pane_the_environment_is_what_was_given_and_term_and_pwd(launches: Launches) -> None:
    own = dumping(launches.folder / "dump.py", launches.folder / "dump")
    run = await launches.start((*own, "a"), {"PATH": "/usr/bin:/bin", "X": "it's"}, launches.folder)
    assert run.exit().status == 0
    argv, environment, cwd = read_dump(launches.folder / "dump", len(own))
    assert argv == [b"a"]
    assert environment.pop(b"TERM").startswith((b"screen", b"tmux"))
    assert environment == {b"PATH": b"/usr/bin:/bin", b"X": b"it's", b"PWD": os.fsencode(launches.folder)}
    assert cwd == os.fsencode(launches.folder)


async def test_in_a_pane_the_agent_has_the_terminal_and_nothing_else_open_or_ignored(launches: Launches) -> None:
    record = launches.folder / "record"
    run = await launches.start(misbehaving("--record", record, "--forever"))
    recorded = launches.recorded(record)
    assert recorded["terminals"] == [True, True, True]
    assert recorded["foreground"]
    assert recorded["size"] == [200, 50]
    # tmux leaves these two ignored in every pane; no shell can take that back.
    assert set(recorded["ignored_signals"]) <= {signal.SIGTTIN, signal.SIGTTOU}
    # The fourth is the folder that lists them.
    assert [number for number in recorded["open_files"] if number < 3] == [0, 1, 2]
    assert len(recorded["open_files"]) == 3
    assert recorded["pid"] == run.process().pid
    assert recorded["session"] == recorded["parent"] == run.pane.pid


# -- how it ends


@pytest.mark.parametrize("shell", SHELLS)
def test_exit_statuses_are_exact(folder: Path, shell: list[str]) -> None:
    # All of 256 are held by the 300 runs below.
    for status in (0, 1, 2, 63, 64, *range(124, 132), 137, 143, 191, 192, 254, 255):
        execute(shell, folder, ("/bin/sh", "-c", f"exit {status}"), {}, "/")
        assert exit_status(folder) == str(status)


@pytest.mark.crowd
async def test_of_300_runs_that_end_at_once_no_status_is_lost(launches: Launches) -> None:
    runs = await asyncio.gather(*(launches.start(["/bin/sh", "-c", f"exit {number % 256}"]) for number in range(300)))
    await asyncio.to_thread(wait_for, lambda: all(launches.runtime.read_exit(run.id) for run in runs), 50)
    reports = [launches.runtime.read_exit(run.id) for run in runs]
    assert [report and report.status for report in reports] == [number % 256 for number in range(300)]
    assert all(launches.runtime.read_process(run.id) for run in runs)


@pytest.mark.parametrize(("key", "status"), [("C-c", 130), ("C-\\", 131)])
async def test_a_key_that_ends_the_agent_leaves_the_launcher_to_record_it(
    launches: Launches, key: str, status: int
) -> None:
    run = await launches.start(["/bin/sh", "-c", "ulimit -c 0; echo ready; exec sleep 1000"])
    run.shows("ready")
    run.type(key)
    assert run.exit().status == status
    assert alive(run.pane.pid)


async def test_an_agent_that_answers_c_c_ends_with_its_own_status(launches: Launches) -> None:
    run = await launches.misbehaving("--on-int", "7", "--forever")
    run.type("C-c")
    assert run.exit().status == 7


async def test_sigterm_to_the_group_ends_the_agent_and_spares_the_launcher(launches: Launches) -> None:
    run = await launches.misbehaving("--forever")
    assert signal_group(run.process(), signal.SIGTERM)
    assert run.exit().status == 128 + signal.SIGTERM
    assert alive(run.pane.pid)
    assert not signal_group(run.process(), signal.SIGTERM)


async def test_a_killed_agent_is_recorded_as_killed(launches: Launches) -> None:
    run = await launches.misbehaving("--forever")
    os.kill(run.process().pid, signal.SIGKILL)
    assert run.exit().status == 128 + signal.SIGKILL


async def test_c_z_neither_stops_nor_hangs_the_agent(launches: Launches) -> None:
    run = await launches.misbehaving("--echo")
    run.type("C-z")
    run.enter("hello")
    run.shows("you said: hello")
    run.enter("quit")
    assert run.exit().status == 0


async def test_closing_the_session_ends_agent_and_launcher(launches: Launches) -> None:
    run = await launches.misbehaving("--forever")
    process = run.process()
    await launches.server.kill_pane(run.pane)
    await asyncio.to_thread(wait_for, lambda: not (alive(process.pid) or alive(run.pane.pid)))


async def test_a_workdir_that_cannot_be_entered_is_a_failed_launch(launches: Launches) -> None:
    run = await launches.start(["true"], workdir=launches.folder / "nothing")
    report = run.exit()
    assert (report.status, report.error) == (None, "cannot enter the workdir")
    assert launches.runtime.read_process(run.id) is None
    run.shows("could not be launched")


@pytest.mark.parametrize(
    ("program", "status"), [("/nothing/here", 127), ("no-such-program", 127), ("/etc/passwd", 126)]
)
async def test_a_program_that_cannot_be_executed_has_the_shells_status(
    launches: Launches, program: str, status: int
) -> None:
    run = await launches.start([program])
    assert run.exit().status == status


def test_a_failed_launch_is_no_exit_status(folder: Path) -> None:
    done = execute(["/bin/sh"], folder, ("true",), {}, "/nothing")
    assert done.returncode == 0
    assert (folder / "r.exit").read_text() == f"{LAUNCH_FAILED} cannot enter the workdir\n"


# -- the shell for inspection


async def test_the_shell_afterwards_is_interactive_in_workdir_and_environment(launches: Launches) -> None:
    folder = launches.folder / "work dir"
    folder.mkdir()
    environment = {
        **own_environment(),
        "X": "it's $X",
        "stat": "mine",
        "status": "too",
    }
    run = await launches.start(["/bin/sh", "-c", "echo its output; exit 3"], environment, folder)
    assert run.exit().status == 3
    screen = run.shows("ended with exit status 3. This is a shell in its workdir")
    assert "its output" in screen
    assert screen.index(f"[agentd] {run.session} ended") > screen.index("its output")
    run.enter('pwd; echo "<$X|$stat|$status|${TMUX-none}>"; echo $-')
    run.shows("<it's $X|mine|too|none>")
    assert f"\n{folder}\n" in run.screen()
    run.enter("sleep 1000 & jobs")
    run.shows("Running")
    run.enter("kill %1; exit")
    await asyncio.to_thread(wait_for, lambda: not alive(run.pane.pid))


async def test_without_bash_it_is_the_systems_shell(launches: Launches) -> None:
    folder = launches.folder / "bin"
    folder.mkdir()
    run = await launches.start(["/bin/true"], {"PATH": str(folder)})
    run.shows("This is a shell")
    run.enter("echo a$((1+1))b $0")
    run.shows("a2b /bin/sh")


async def test_the_terminal_is_sane_after_a_killed_full_screen_program(launches: Launches) -> None:
    modes = (
        "".join(f"\\033[?{mode}h" for mode in (1049, 1000, 1002, 1003, 1004, 1006, 2004, 1))
        + "\\033[?25l\\033=\\033[5;10r\\033[31m"
    )
    program = f"stty raw -echo; printf '{modes}full screen\\033[?7l'; exec sleep 1000"
    run = await launches.start(["/bin/sh", "-c", program])
    run.shows("full screen")
    names = "alternate_on mouse_any_flag cursor_flag keypad_cursor_flag keypad_flag wrap_flag scroll_region_upper"
    flags = " ".join(f"#{{{name}}}" for name in names.split())
    assert run.format(flags) == "1 1 0 1 1 0 4"
    os.kill(run.process().pid, signal.SIGKILL)
    screen = run.shows("This is a shell")
    assert "full screen" not in screen
    assert run.format(flags) == "0 0 1 0 0 1 0"
    run.enter("stty -a; echo a$((1+1))b")
    assert " icanon" in run.shows("a2b")
    assert " echo " in run.screen()


async def test_while_everything_closes_the_launcher_waits_for_that_and_starts_no_shell(launches: Launches) -> None:
    run = await launches.misbehaving("--forever")
    launches.runtime.announce_closing()
    launches.runtime.announce_closing()
    os.kill(run.process().pid, signal.SIGTERM)
    assert run.exit().status == 143
    run.type("C-c")
    run.type("C-d")
    run.enter("echo $((1 + 1))")
    run.shows("echo $((1 + 1))")
    # What was typed is shown by the terminal, and executed by nobody.
    assert "2" not in run.screen().splitlines()
    assert psutil.Process(run.pane.pid).cmdline()[-1].endswith(".sh")
    await launches.server.kill_pane(run.pane)
    await asyncio.to_thread(wait_for, lambda: not alive(run.pane.pid))


# -- secrets and reports


async def test_nothing_of_argv_or_environment_is_on_a_command_line_of_the_launcher(launches: Launches) -> None:
    run = await launches.start(["/bin/sh", "-c", "echo ready; exec cat"], {**own_environment(), "TOKEN": "s3cret"})
    run.shows("ready")
    for process in (run.pane.pid, run.process().pid):
        assert "s3cret" not in str(psutil.Process(process).cmdline())
    run.type("C-d")
    run.shows("This is a shell")
    assert "s3cret" not in str(psutil.Process(run.pane.pid).cmdline())


async def test_a_script_may_be_removed_while_it_runs(launches: Launches) -> None:
    run = await launches.misbehaving("--wait-for", launches.folder / "go", "--exit", 9)
    launches.runtime.remove_script(run.id)
    (launches.folder / "go").touch()
    assert run.exit().status == 9
    run.shows("ended with exit status 9")


async def test_hints_without_a_reader_do_not_block(launches: Launches) -> None:
    os.mkfifo(launches.runtime.path / "hints")
    run = await launches.start(["true"])
    assert run.exit().status == 0
    run.shows("This is a shell")


async def test_each_report_is_hinted_at(launches: Launches) -> None:
    hints: list[str] = []
    launches.runtime.listen(hints.append)
    run = await launches.misbehaving("--forever")
    await asyncio.to_thread(wait_for, lambda: hints == [run.id])
    os.kill(run.process().pid, signal.SIGKILL)
    await asyncio.to_thread(wait_for, lambda: hints == [run.id, run.id])


@contextlib.contextmanager
def mounted(path: Path) -> Iterator[None]:
    """A small file system."""
    options = "size=64k,mode=0700"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(path)], check=False).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096) == 4096:
            pass


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root makes a file system that is full")
async def test_on_a_full_disk_no_agent_runs_unreported(launches: Launches) -> None:
    small = launches.runtime.path
    with mounted(small):
        launches.runtime.close()
        launches.runtime.prepare()
        marker = launches.folder / "it ran"
        (small / "filling").write_bytes(b"x" * 40_000)
        with pytest.raises(OSError, match="No space left") as caught:
            await launches.start(["touch", str(marker), "x" * 100_000], run_id="r")
        assert caught.value.errno
        assert not (small / "r.sh").exists()
        script = LaunchScript("a", "r", ("touch", str(marker)), {"PATH": os.environ["PATH"]}, "/")
        path = launches.runtime.write_script(script)
        fill(small / "more")
        pane = await launches.server.new_session("full", "full", "/", path)
        assert alive(pane.pid)
        await until(lambda: psutil.Process(pane.pid).cmdline() == ["bash", "--norc", "-i"], what="the shell is there")
        assert not marker.exists()
        assert launches.runtime.read_exit("r") is None
        assert launches.runtime.read_process("r") is None
        # bash takes a moment to end while it starts, and the look at what the tests left may come at once.
        await launches.server.kill_pane(pane)
        await until(lambda: not alive(pane.pid), what="the shell is gone")
        launches.runtime.close()
