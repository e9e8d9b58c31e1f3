"""Run a command in an agent's sandbox, in front of whoever calls."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from agentd.cli.agentctl.command import CommandError
from agentd.cli.agentctl.own_terminal import run_in_own_terminal
from agentd.cli.agentctl.tmux_client import Owner
from agentd.launch.launcher import INPUT_FD, READY, TERMINAL_FD, LaunchScript, Wrapper
from agentd.model.user import AgentUser
from agentd.text.quoting import shell_quote

_FORWARDED = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)

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
    with _folder(user) as folder:
        said = folder / "said"
        status = _run([*_shell(script, wrapper, folder, "run", _SCRIPT)], script.environment, user)
        text = _last_line(said)
        if text != READY:
            if not text:
                _wait(_shell(script, wrapper, folder, "trial", _TRIAL), script.environment, user)
                text = _last_line(said)
            raise CommandError(f"the sandbox cannot be made: {text or f'exit status {status}'}")
    return status


def has_terminal() -> bool:
    """Whether whoever calls sits in front of it."""
    return all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


@contextmanager
def _folder(user: AgentUser) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="agentctl-sandbox-"))
    try:
        if user.switch:
            os.chown(folder, user.uid, user.gid)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _shell(script: LaunchScript, wrapper: Wrapper, folder: Path, name: str, template: bytes) -> Sequence[str]:
    """Write a script; it is no argument, for it may hold secrets."""
    values = {
        b"WORKDIR": shell_quote(script.workdir),
        b"FED": wrapper.fed(script),
        b"INPUT": shell_quote(folder / "input"),
        b"SAID": shell_quote(folder / "said"),
        b"TERMINAL": b"%d" % TERMINAL_FD,
        b"FD": b"%d" % INPUT_FD,
        b"COMMAND": wrapper.command(script),
        b"TRIAL": wrapper.trial(script) or b":",
    }
    pieces = template.split(b"@")
    pieces[1::2] = [values[piece] for piece in pieces[1::2]]
    path = folder / name
    path.touch(0o600)
    if os.geteuid() == 0:
        found = folder.stat()
        os.chown(path, found.st_uid, found.st_gid)
    path.write_bytes(b"".join(pieces))
    return "/bin/sh", str(path)


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


def _last_line(path: Path) -> str:
    """What was said last; after `READY` that is the command's, if it is anybody's."""
    try:
        lines = path.read_text("utf-8", "replace").split("\n")
    except OSError:
        return ""
    spoken = [line.strip() for line in lines if line.strip()]
    return READY if READY in spoken else spoken[-1] if spoken else ""
