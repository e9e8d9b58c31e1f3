"""Run a command in an agent's sandbox, in front of whoever calls."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Self

from agentd.cli.agentctl.command import CommandError
from agentd.cli.agentctl.own_terminal import run_in_own_terminal
from agentd.cli.agentctl.tmux_client import Owner
from agentd.launch.launcher import INPUT_FD, READY, TERMINAL_FD, LaunchScript, Wrapper
from agentd.model.user import AgentUser
from agentd.text.quoting import shell_quote

_FORWARDED = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)

_LONGEST = 64 * 1024

# As the launcher of a run does it: the sandbox outlives C-c, which is the command's.
_SCRIPT = b"""cd -- @WORKDIR@ || exit 125
trap '' INT QUIT TERM
mask=$(umask)
(umask 077; printf @FED@ >@INPUT@) || exit 125
unset -v mask OLDPWD
exec @TERMINAL@>&2 2>@SAID@ @FD@<@INPUT@ @COMMAND@
"""
_TRIAL = b"""cd -- @WORKDIR@ || exit 125
exec 2>@SAID@ @FD@<@INPUT@
@TRIAL@
"""


def run(script: LaunchScript, wrapper: Wrapper, user: AgentUser) -> int:
    """Run it to its end; give its exit status, by shell convention.

    Raises
    ------
    CommandError
        If the sandbox cannot be made.
    """
    with _Folder(script, wrapper, user) as folder:
        status = _run(folder.shell("run"), script.environment, user)
        said = folder.said()
        if said != READY:
            if not said:
                _wait(folder.shell("trial"), script.environment, user)
                said = folder.said()
            raise CommandError(f"the sandbox cannot be made: {said or f'exit status {status}'}")
    return status


def has_terminal() -> bool:
    """Whether whoever calls sits in front of it."""
    return all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


class _Folder:
    """The scripts, which are no arguments, for they may hold secrets, and what is said while they run.

    Whoever runs them owns the folder, and may by then put anything in the place of what is in it: it is given away when
    all is written, and nothing in it is followed afterwards.
    """

    def __init__(self, script: LaunchScript, wrapper: Wrapper, user: AgentUser) -> None:
        # Ours may be in a folder that is closed to them.
        place = "/tmp" if user.switch else None  # noqa: S108 (made there by mkdtemp)
        self.path = Path(tempfile.mkdtemp(prefix="agentctl-sandbox-", dir=place))
        self._opened = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        values = {
            b"WORKDIR": shell_quote(script.workdir),
            b"FED": wrapper.fed(script),
            b"INPUT": shell_quote(self.path / "input"),
            b"SAID": shell_quote(self.path / "said"),
            b"TERMINAL": b"%d" % TERMINAL_FD,
            b"FD": b"%d" % INPUT_FD,
            b"COMMAND": wrapper.command(script),
            b"TRIAL": wrapper.trial(script) or b":",
        }
        for name, template in (("run", _SCRIPT), ("trial", _TRIAL)):
            pieces = template.split(b"@")
            pieces[1::2] = [values[piece] for piece in pieces[1::2]]
            with (self.path / name).open("xb") as file:
                os.fchmod(file.fileno(), 0o600)
                if user.switch:
                    os.fchown(file.fileno(), user.uid, user.gid)
                file.write(b"".join(pieces))
        if user.switch:
            os.fchown(self._opened, user.uid, user.gid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._opened)
        shutil.rmtree(self.path, ignore_errors=True)

    def shell(self, name: str) -> Sequence[str]:
        """Give the command that executes a script."""
        return "/bin/sh", str(self.path / name)

    def said(self) -> str:
        """What was said last, or that it is ready; what follows that is the command's, if it is anybody's."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open("said", flags, dir_fd=self._opened)
        except OSError:
            return ""
        try:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            text = os.read(descriptor, _LONGEST).decode("utf-8", "replace") if regular else ""
        finally:
            os.close(descriptor)
        spoken = [line.strip() for line in text.split("\n") if line.strip()]
        return READY if READY in spoken else spoken[-1] if spoken else ""


def _run(argv: Sequence[str], environment: Mapping[str, str], user: AgentUser) -> int:
    if has_terminal():
        owner = Owner(user.uid, user.gid, user.groups) if user.switch else None
        return run_in_own_terminal(argv, environment, owner)
    return _wait(argv, environment, user)


def _wait(argv: Sequence[str], environment: Mapping[str, str], user: AgentUser) -> int:
    """Run it without a terminal of its own, and pass on what is asked of us."""
    become = {"user": user.uid, "group": user.gid, "extra_groups": user.groups} if user.switch else {}
    # In a session of its own: our terminal is not the command's to type into.
    process = subprocess.Popen(argv, env=environment, cwd="/", start_new_session=True, **become)  # type: ignore[call-overload]

    def forward(number: int, _frame: FrameType | None) -> None:
        if process.poll() is None:
            os.killpg(process.pid, number)

    former = {number: signal.signal(number, forward) for number in _FORWARDED}
    try:
        status = process.wait()
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    return int(status if status >= 0 else 128 - status)
