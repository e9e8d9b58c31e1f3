"""A process that has imported a command of this project and forks for each run of it: ``python fork_server.py agentd``.

Python and its imports are nearly all that a start of ``agentd`` or ``agentctl`` costs, and the tests start them a
thousand times. A fork has them already; from ``main()`` on everything is as in the command itself.
`tests.support.forked` starts this program and talks to it: over the socket that is its standard input comes one byte
for each run, with descriptors beside it (`DESCRIPTORS`), and back goes the pid. A run's end is said, as a decimal, on
its own pipe. With the number of a listening socket as second argument others may connect to that, and do the same. It
ends when its standard input does.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import ctypes
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import pwd
import select
import selectors
import signal
import socket
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TextIO, TypedDict

DESCRIPTORS = ("request", "stdin", "stdout", "stderr", "status")
"""What comes with each byte, in this order; the request is a file with the JSON of a `Request`."""

ROOM_FOR_ENVIRONMENT = 32_768
"""Bytes of the variable `PADDING`, which this process is started with; its runs write theirs over it."""

_OF_DATABASES = (
    "alembic.command",
    "alembic.config",
    "alembic.runtime.environment",
    "alembic.script",
    "mako.template",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.sqlite.pysqlite",
)
"""What SQLAlchemy and Alembic come to import."""

_FOR_SOME_COMMANDS = (
    "agentd.api.client.turns",
    "agentd.fleet.progress",
    "agentd.jcard.edit.drop_ins",
    "agentd.pool.accounts",
    "agentd.pool.collecting",
    "agentd.pool.listing",
    "agentd.pool.spawning",
    "agentd.workspaces.workspace",
    "tomlkit",
)
"""What agentctl imports for a worker, 0.2 s, or for an edit, and not for its other commands."""

PADDING = "ROOM_FOR_THE_ENVIRONMENT_OF_A_RUN"

_PR_SET_NAME = 15
_ENV_START = 50
"""Number of the field in ``/proc/PID/stat``, as proc(5) counts; the end is the next."""


class Request(TypedDict):
    """One run."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    umask: int
    new_session: bool
    """At whose head it is, with its standard input as the terminal if it is one."""


def main_of(name: str) -> Callable[[list[str]], int]:
    """Import all that the command comes to import, and give its ``main``."""
    if name == "agentd":
        from agentd.daemon import command_line as command  # noqa: PLC0415
        from agentd.settings import lean_imports  # noqa: PLC0415

        lean_imports.import_structlog_alone()
        lean_imports.import_aiohttp_without_certificates()
        importlib.import_module("agentd.daemon.run")
        importlib.import_module("agentd.daemon.preload").preload()
        importlib.import_module("agentd.harness.builtin")
        # What asyncio comes to import for its first thread.
        importlib.import_module("concurrent.futures.thread")
        _find_packages()
        importlib.import_module("agentd.supervise.check")
        # What watchfiles comes to import once it watches, 30 ms.
        importlib.import_module("anyio._backends._asyncio")
        importlib.import_module("agentd.process.init_process")
        return command.main
    if name == "agentd-gateway":
        from agentd.gateway import command_line as gateway  # noqa: PLC0415

        for each in ("agentd.gateway.run", "agentd.harness.builtin", *_OF_DATABASES):
            importlib.import_module(each)
        _find_packages()
        return gateway.main
    from agentd.cli import agentctl  # noqa: PLC0415

    for module in pkgutil.walk_packages(agentctl.__path__, f"{agentctl.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    from agentd.settings import lean_imports  # noqa: PLC0415

    lean_imports.import_structlog_alone()
    lean_imports.import_aiohttp_without_certificates()
    for each in _FOR_SOME_COMMANDS:
        importlib.import_module(each)
    _find_packages()
    return agentctl.main


def _use_argparse() -> None:
    """Compile the regular expressions of command lines and their help, which a process does once: 3 ms of each run."""
    parser = argparse.ArgumentParser("program")
    parser.add_argument("--option", metavar="WORD", help="a word")
    parser.add_subparsers().add_parser("command", help="a command")
    parser.parse_args(["command"])
    parser.format_help()


def _find_packages() -> None:
    """Read what installed packages bring, which a process reads once: 10 ms of each run."""
    importlib.import_module("agentd.files.entry_points").entry_points_of("agentd.harnesses")


class Server:
    """Forks for each request until the other side of the first socket is closed."""

    def __init__(self, requests: socket.socket, listening: socket.socket | None) -> None:
        self._requests = requests
        self._listening = listening
        self._clients = [requests]
        self._status_pipes: dict[int, int] = {}
        self._wake, wake = socket.socketpair()
        self._wake.setblocking(False)
        wake.setblocking(False)
        self._woken_by = wake
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        # Without a handler in Python, the wake-up descriptor is not written to.
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> Request | None:
        """Return in each child, with what it is to do, and in the parent, without, when there will be no more."""
        with selectors.DefaultSelector() as selector:
            for each in filter(None, (self._requests, self._wake, self._listening)):
                selector.register(each, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._wake:
                        self._reap()
                        continue
                    if key.fileobj is self._listening:
                        client, _ = self._listening.accept()
                        selector.register(client, selectors.EVENT_READ)
                        self._clients.append(client)
                        continue
                    client = next(each for each in self._clients if each is key.fileobj)
                    message, descriptors, _, _ = socket.recv_fds(client, 1, len(DESCRIPTORS))
                    if message:
                        request = self._fork(client, *descriptors)
                        if request is not None:
                            return request
                    elif client is self._requests:
                        return None
                    else:
                        selector.unregister(client)
                        self._clients.remove(client)
                        client.close()

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wake.recv(4096):
                pass
        while self._status_pipes:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            pipe = self._status_pipes.pop(pid)
            # Whoever no longer wants to know has closed the other end.
            with contextlib.suppress(BrokenPipeError):
                os.write(pipe, b"%d" % os.waitstatus_to_exitcode(status))
            os.close(pipe)

    def _fork(
        self, client: socket.socket, request: int, stdin: int, stdout: int, stderr: int, status: int
    ) -> Request | None:
        pid = os.fork()
        if pid:
            self._status_pipes[pid] = status
            for descriptor in (request, stdin, stdout, stderr):
                os.close(descriptor)
            client.send(b"%d" % pid)
            return None
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # To be closed with all others, and not by these objects' ends, which come when the numbers are others' already.
        for own in filter(None, (*self._clients, self._listening, self._wake, self._woken_by)):
            own.detach()
        with open(request, encoding="utf-8") as file:
            wanted: Request = json.load(file)
        for number, descriptor in enumerate((stdin, stdout, stderr)):
            os.dup2(descriptor, number, inheritable=True)
        return wanted


def become(wanted: Request) -> None:
    """Make this process what it would be had it been started as its own program."""
    os.closerange(3, os.sysconf("SC_OPEN_MAX") if not Path("/proc/self/fd").exists() else highest_descriptor() + 1)
    if wanted["new_session"]:
        os.setsid()
        if os.isatty(0):
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(wanted["cwd"])
    os.umask(wanted["umask"])
    os.environ.clear()
    os.environ.update(wanted["env"])
    if "HOME" in wanted["env"]:
        move_account(wanted["env"]["HOME"])
    time.tzset()
    sys.argv = list(wanted["argv"])
    sys.stdin, sys.stdout = text(0, sys.stdin, "r"), text(1, sys.stdout, "w")
    sys.stderr = text(2, sys.stderr, "w", buffering=1)
    if sys.platform == "linux":
        show_in_process_table(Path(wanted["argv"][0]).name, wanted["env"])


def move_account(home: str) -> None:
    """Have the user database say that this account's home is there.

    As root, agentd gives agents the home of their account and not its own HOME: scripted agents, and shells that read
    their start files, would use that of whoever runs the tests.
    """
    uid, by_uid, by_name = os.geteuid(), pwd.getpwuid, pwd.getpwnam

    def moved(entry: pwd.struct_passwd) -> pwd.struct_passwd:
        return pwd.struct_passwd((*entry[:5], home, entry.pw_shell)) if entry.pw_uid == uid else entry

    setattr(pwd, "getpwuid", lambda uid: moved(by_uid(uid)))  # noqa: B010 (mypy takes no other function there)
    setattr(pwd, "getpwnam", lambda name: moved(by_name(name)))  # noqa: B010


def highest_descriptor() -> int:
    """The highest number that is open in this process."""
    return max(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208 (numbers, not paths)


def text(descriptor: int, like: TextIO, mode: Literal["r", "w"], buffering: int = -1) -> TextIO:
    """Open a standard stream as the interpreter does at its start."""
    # Its other half, sys.__stdout__, stays: at the end it has nothing to flush.
    return open(descriptor, mode, buffering, encoding=like.encoding, errors=like.errors, closefd=False)


def show_in_process_table(name: str, env: dict[str, str]) -> None:
    """Show others this run's name and environment instead of those that the server was started with.

    The tests find processes by their environment. The kernel reads it from the memory where it once put it, which
    nothing of this process refers to any more: ``os.environ`` was made anew.
    """
    fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    start, end = (int(fields[number - 3]) for number in (_ENV_START, _ENV_START + 1))
    block = b"".join(os.fsencode(f"{variable}={value}\0") for variable, value in env.items())
    assert len(block) < end - start, f"the environment has {len(block)} bytes; raise ROOM_FOR_ENVIRONMENT"
    ctypes.memmove(start, block.ljust(end - start, b"\0"), end - start)
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode())


def end(status: int) -> None:
    """End as a program does, but for taking down the interpreter, which costs 35 ms: half as much as a start."""
    threading._shutdown()  # type: ignore[attr-defined]  # joins, and closes pools of threads
    atexit._run_exitfuncs()
    # What was left in the air complains when it is collected: tasks, futures, coroutines.
    gc.collect()
    # What cannot be written any more, the interpreter is to say in its way.
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def work(name: str, listening: socket.socket | None) -> None:
    """Serve; in a fork, run the command, and end as it would."""
    requests = socket.socket(fileno=os.dup(0))
    # One that nobody needs is not to cost what importing does.
    ready, _, _ = select.select(list(filter(None, (requests, listening))), [], [])
    if listening is not None and listening not in ready:
        return
    # Looking for garbage while importing takes an eighth of that time.
    gc.disable()
    main = main_of(name)
    _use_argparse()
    gc.collect()
    gc.freeze()
    gc.enable()
    wanted = Server(requests, listening).serve()
    if wanted is None:
        return
    become(wanted)
    try:
        status = main(wanted["argv"][1:])
    except SystemExit as told:
        if not isinstance(told.code, int):
            raise
        status = told.code
    end(status)


if __name__ == "__main__":
    work(sys.argv[1], socket.socket(fileno=int(sys.argv[2])) if sys.argv[2:] else None)
