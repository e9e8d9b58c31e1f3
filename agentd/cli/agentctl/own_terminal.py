"""Run a program as another user in its own terminal, shown on ours, so that it cannot type into ours."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Mapping, Sequence

from agentd.cli.agentctl.tmux_client import Owner

_AT_ONCE = 65536
_NOT_EXECUTED = 127


def run_in_own_terminal(argv: Sequence[str], environment: Mapping[str, str], owner: Owner | None) -> int:
    """Run a program, as another user if one is given, until it ends; return its exit status, by shell convention.

    On our terminal, it or whoever may trace it could push back input (TIOCSTI) for the shell that follows.
    """
    read_size, size_changed = os.pipe()
    os.set_blocking(size_changed, False)
    former = signal.signal(signal.SIGWINCH, lambda *_: _note(size_changed))
    pid, terminal = pty.fork()
    if pid == 0:
        _become(argv, environment, owner)
    try:
        _take_size(terminal)
        with _raw(sys.stdin.fileno()):
            _show(terminal, read_size)
    finally:
        signal.signal(signal.SIGWINCH, former)
        for descriptor in (terminal, read_size, size_changed):
            os.close(descriptor)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status if status >= 0 else 128 - status


def _become(argv: Sequence[str], environment: Mapping[str, str], owner: Owner | None) -> None:
    try:
        if owner is not None:
            os.fchown(0, owner.uid, -1)
            os.setgroups(owner.groups)
            os.setgid(owner.gid)
            os.setuid(owner.uid)
        os.chdir("/")
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execvpe(argv[0], list(argv), environment)  # noqa: S606 (arguments are never a shell string)
    except OSError as error:
        os.write(2, f"agentctl: cannot run {argv[0]}: {error.strerror}\r\n".encode())
    os._exit(_NOT_EXECUTED)


def _note(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.write(descriptor, b".")


def _take_size(terminal: int) -> None:
    size = fcntl.ioctl(sys.stdin.fileno(), termios.TIOCGWINSZ, bytes(8))
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)


@contextlib.contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    former = termios.tcgetattr(descriptor)
    tty.setraw(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, former)


def _show(terminal: int, read_size: int) -> None:
    """Copy both ways until the program has closed its terminal."""
    typed, shown = sys.stdin.fileno(), sys.stdout.fileno()
    listening = [typed, terminal, read_size]
    while True:
        ready, _, _ = select.select(listening, [], [])
        if read_size in ready:
            os.read(read_size, _AT_ONCE)
            _take_size(terminal)
        if terminal in ready:
            try:
                data = os.read(terminal, _AT_ONCE)
            except OSError:  # EIO: nobody has it open
                return
            if not data:
                return
            _write_all(shown, data)
        if typed in ready:
            data = os.read(typed, _AT_ONCE)
            if data:
                _write_all(terminal, data)
            else:
                listening.remove(typed)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
