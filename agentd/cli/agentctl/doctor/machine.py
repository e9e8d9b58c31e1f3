"""Check what the operating system provides: Python, tmux, limits, the clock."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from agentd.cli.agentctl.doctor.finding import Finding, error, note, ok, read_line, unanswered, warning
from agentd.files.answering import NotAnsweringError, within
from agentd.model.user import AgentUser
from agentd.settings.go_flags import runsc_in
from agentd.settings.limits import OLDEST_TMUX
from agentd.settings.settings import Runsc

_TMUX_VERSION = re.compile(r"(\d+)\.(\d+)")
_SERVER_ACCESS = (3, 3)
_LONGEST_QUESTION = 10.0
"""Seconds for tmux to print its version."""

_MANY_AGENTS = 100
"""From this number on, the cost of each terminal is noticeable."""
_LARGEST_TMUX = 16 << 20
"""Bytes read of the program, which has one or two million."""

_FILES_OF_THE_DAEMON = 64
_FILES_OF_AN_AGENT = 3
"""One of the daemon, two of the tmux server, which inherits the limit."""
_TERMINALS_LEFT = 16
"""Pseudo-terminals to leave for other people and programs."""

_BUILT = 1_735_689_600
"""2025-01-01, in seconds since the epoch. This program is younger, so an earlier clock is wrong."""


def check_python() -> Iterator[Finding]:
    """Report which Python this is; one that is too old does not get this far."""
    yield ok("python", f"Python {platform.python_version()}, {sys.executable}")


def check_clock() -> Iterator[Finding]:
    """Check the clock: in 1970 every certificate is invalid."""
    now = time.time()
    if now < _BUILT:
        yield error(
            "clock",
            f"the clock says {time.strftime('%Y-%m-%d', time.gmtime(now))}, so no certificate is valid",
            "set it: timedatectl set-ntp true",
        )


def check_tmux(path: str, socket: Path, declared: int) -> Iterator[Finding]:
    """Check tmux on the daemon's PATH, whether it suits the `declared` agents, and the running server."""
    program = shutil.which("tmux", path=path)
    if program is None:
        yield error(
            "tmux", f"there is no tmux on the PATH ({path})", "install it: apt-get install tmux, brew install tmux"
        )
        return
    shown = _version(program)
    match = _TMUX_VERSION.search(shown)
    if match is None:
        yield warning("tmux", f"{program} gives its version as {shown!r}", "agentd needs tmux 3.2 or newer: install it")
        return
    version = int(match[1]), int(match[2])
    if version < OLDEST_TMUX:
        oldest = ".".join(map(str, OLDEST_TMUX))
        yield error("tmux", f"{program} is {shown}, agentd needs {oldest} or newer", "install a newer tmux")
        return
    yield ok("tmux", f"{shown}, {program}")
    if version < _SERVER_ACCESS:
        yield note(
            "tmux",
            "before tmux 3.3 anyone who may use the socket may attach: access cannot be limited to the admin group",
        )
    if declared >= _MANY_AGENTS and _waits_for_utempter(program):
        yield note(
            "tmux",
            f"{program} is built with utempter, a program that it waits for when a terminal opens and closes: "
            "1000 agents start in 5.4 s instead of 4.5 and stop in 3.4 s instead of 1.1",
            "put a tmux without it first on agentd's PATH: ./configure --disable-utempter",
        )
    try:
        there = within(socket, lambda: os.path.exists(socket))  # noqa: PTH110 (Path.exists raises where the way is closed)
    except NotAnsweringError as failure:
        yield unanswered("tmux", failure)
    else:
        yield from _check_server(shown, socket) if there else ()


def _check_server(program: str, socket: Path) -> Iterator[Finding]:
    from agentd.cli.agentctl.tmux import Server

    server = Server(socket)
    if not server.is_alive():
        yield warning(
            "tmux",
            f"no tmux server answers on {socket}",
            "see agentd's log; perhaps this user is not in its admin group",
        )
        return
    running = "".join(server.cmd("display-message", "-p", "#{version}").stdout)
    if running not in program:
        yield warning(
            "tmux",
            f"the agents' server is still tmux {running}, the program is {program}",
            "if attach fails: when the agents may be stopped, stop agentd with --on-shutdown stop and start it again",
        )


def _version(program: str) -> str:
    try:
        done = subprocess.run([program, "-V"], capture_output=True, text=True, timeout=_LONGEST_QUESTION, check=False)
    except (OSError, subprocess.TimeoutExpired) as failure:
        return str(failure)
    return done.stdout.strip() if done.returncode == 0 else ""


def _waits_for_utempter(program: str) -> bool:
    """Whether tmux is linked with libutempter."""
    try:
        with Path(program).open("rb") as file:
            return b"libutempter.so" in file.read(_LARGEST_TMUX)
    except OSError:
        return False


def check_terminals(declared: int, running: int) -> Iterator[Finding]:
    """Check pseudo-terminals: each of the `declared` agents that is not `running` yet needs one more."""
    most, used = read_line("/proc/sys/kernel/pty/max"), read_line("/proc/sys/kernel/pty/nr")
    if most is None or used is None:
        return
    left = int(most) - int(used) - (declared - running)
    text = f"{used} of {most} pseudo-terminals are in use, {declared - running} more are needed"
    if left < _TERMINALS_LEFT:
        advice = f"raise the limit: sysctl -w kernel.pty.max={int(most) + declared + 1024}"
        yield (error if left < 0 else warning)("terminals", text, advice)
    else:
        yield ok("terminals", text)


def check_files(limits: str, declared: int) -> Iterator[Finding]:
    """Check the hard limit of open files, to which the daemon raises its own: agents take some in it and in tmux."""
    match = re.search(r"^Max open files\s+\S+\s+(\S+)", limits, re.MULTILINE)
    hard = match[1] if match else str(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    needed = _FILES_OF_THE_DAEMON + _FILES_OF_AN_AGENT * declared
    text = f"the limit of open files is {hard}, {declared} agents need about {needed}"
    if hard.isdecimal() and int(hard) < needed:
        yield warning("files", text, f"raise it where agentd is started: LimitNOFILE={needed * 2} or ulimit -Hn")
    else:
        yield ok("files", text)


def check_watching() -> Iterator[Finding]:
    """Check inotify: without it a change of the jcard is only noticed at the next resync."""
    watches = read_line("/proc/sys/fs/inotify/max_user_watches")
    instances = read_line("/proc/sys/fs/inotify/max_user_instances")
    if watches is None or instances is None:
        return
    from agentd.files.inotify import instance_left

    text = f"inotify allows each user {instances} instances and {watches} watches"
    if instance_left():
        yield ok("watching", text)
    else:
        yield warning(
            "watching",
            f"{text}, and this user has no instance left: changes are acted on at the next resync only",
            f"raise the limit: sysctl -w fs.inotify.max_user_instances={int(instances) * 4}",
        )


def check_linger(user: AgentUser, cgroup: str | None) -> Iterator[Finding]:
    """Check lingering: without it systemd stops a user's services with the user's last session."""
    if not Path("/run/systemd/system").exists() or os.geteuid() == 0:
        return
    if Path("/var/lib/systemd/linger", user.name).exists():
        yield ok("linger", f"services of {user.name} keep running without a session")
        return
    advice = f"loginctl enable-linger {user.name}"
    if cgroup is not None and f"user@{user.uid}.service" in cgroup:
        yield warning("linger", f"agentd and its agents stop when the last session of {user.name} ends", advice)
    else:
        yield note("linger", f"a service of {user.name} would stop when the last session of {user.name} ends", advice)


def limits_of(pid: int | None) -> str:
    """Read the limits of a process; empty if that is not possible."""
    try:
        return Path(f"/proc/{pid or 'self'}/limits").read_text()
    except OSError:
        return ""


def runsc_of(pid: int | None, otherwise: Runsc) -> Runsc:
    """Read from the command line of a daemon where it makes sandboxes by gVisor."""
    try:
        words = b"" if pid is None else Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return otherwise
    return runsc_in([os.fsdecode(word) for word in words.split(b"\0")]) if words else otherwise
