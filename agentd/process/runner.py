"""Runs small programs as the agents' user, with an environment of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from errno import ENOENT
from typing import Final, TypedDict, Unpack

from agentd.model.user import AgentUser
from agentd.process.exchange import TooMuchError, exchange

LIMIT = 60.0
"""Seconds that one program may take; git's look at a large worktree takes a few."""

MOST: Final = 256 * 1024 * 1024
"""Bytes that one program may print into our memory: git's list of a million files is 100 MB."""

_LONGEST_REASON: Final = 2000
"""Characters: a reason is for a log line and a status."""

_SHELL = "/bin/sh"
_LIMIT_FILES = 'ulimit -S -n "$0" 2>/dev/null; exec "$@"'

_GRACE = 2.0
"""Seconds that a program has to remove its locks and temporary files, before it is killed."""


class RunOptions(TypedDict, total=False):
    """How a program is run."""

    stdin: bytes
    """What it reads."""
    stays_open: bool
    """Whether its input does not end then: a server would, too. `take` ends it, by an exception."""
    take: Callable[[bytes], object] | None
    """Called with each piece of its output, if that is not to go into the result. The program itself never has our
    file: what the agents' user runs could keep it, and write on."""
    descriptor: int
    """It has this one open as well."""
    environment: Mapping[str, str]
    """Variables beside the usual ones."""
    limit: float
    """Seconds after which it is killed."""
    most: int
    """Bytes of output after which it is killed."""


class RunnerError(RuntimeError):
    """A program could not be run, or did not do its work; the text says which and why."""


class CancelledRunError(RunnerError):
    """A program was ended because its work is no longer wanted."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ended."""

    status: int
    """Negative: the signal that ended it."""
    out: bytes
    err: str

    @property
    def reason(self) -> str:
        """What it said went wrong, on one line."""
        lines = [line.strip() for line in self.err.splitlines() if line.strip()]
        text = "; ".join(lines) or f"it ended with status {self.status}"
        return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "…"


def clean_environment(user: AgentUser, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables by which programs find themselves and their user's settings, and no others.

    So no ``GIT_DIR`` or the like of whoever started agentd changes what git works on.
    """
    kept = {"PATH": environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
    if not user.switch and "XDG_CONFIG_HOME" in environ:
        kept["XDG_CONFIG_HOME"] = environ["XDG_CONFIG_HOME"]
    return kept | {"HOME": str(user.home), "USER": user.name, "LOGNAME": user.name}


class Runner:
    """Runs one program after the other; another thread may end them.

    Parameters
    ----------
    user
        Whom they run as.
    environ
        What their environment is taken from.
    open_files
        Their soft limit of open files, if that is not ours.
    """

    def __init__(self, user: AgentUser, environ: Mapping[str, str], open_files: int | None = None) -> None:
        self.user = user
        self._environment = clean_environment(user, environ)
        self._open_files = open_files
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._cancelled = threading.Event()
        self.kept: int | None = None
        """Descriptor that every program has open for life."""

    @property
    def reader(self) -> AgentUser | None:
        """Whom files are read for that this user may have put in its place, if that is another one than ours."""
        return self.user if self.user.switch else None

    def run(self, argv: Sequence[str], **options: Unpack[RunOptions]) -> Finished:
        """Run a program in ``/`` to its end.

        Raises
        ------
        RunnerError
            If it cannot be started, takes too long or prints too much.
        CancelledRunError
            If `cancel` was called.
        """
        limit, most = options.get("limit", LIMIT), options.get("most", MOST)
        environment = {**self._environment, **options.get("environment", {})}
        process = self._start(argv, environment, options.get("descriptor"))
        out = bytearray()
        try:
            stdin, stays_open = options.get("stdin", b""), options.get("stays_open", False)
            err = exchange(process, stdin, options.get("take") or out.extend, most, limit, stays_open=stays_open)
        except subprocess.TimeoutExpired:
            raise RunnerError(f"{argv[0]} took longer than {limit:.0f} s and was ended") from None
        except TooMuchError:
            raise RunnerError(f"{argv[0]} printed more than {most} bytes and was ended") from None
        finally:
            self._end(process)
        if self._cancelled.is_set():
            raise CancelledRunError(f"{argv[0]} was ended: it is no longer wanted")
        return Finished(process.returncode, bytes(out), err.decode("utf-8", "replace"))

    def script(self, text: bytes, *, limit: float = LIMIT) -> Finished:
        """Run a shell script, which no argument list has to hold, for `limit` seconds at most."""
        return self.run([_SHELL, "-s"], stdin=text, limit=limit)

    def must(self, text: bytes, failure: str, *, limit: float = LIMIT) -> bytes:
        """Run a shell script that has to succeed, and give its output.

        Parameters
        ----------
        failure
            What could not be done, as the beginning of the error.

        Raises
        ------
        RunnerError
            If it fails.
        """
        done = self.script(text, limit=limit)
        if done.status != 0:
            raise RunnerError(f"{failure}: {done.reason}")
        return done.out

    def _start(
        self, argv: Sequence[str], environment: Mapping[str, str], descriptor: int | None = None
    ) -> subprocess.Popen[bytes]:
        user = self.user
        become = {"user": user.uid, "group": user.gid, "extra_groups": user.groups} if user.switch else {}
        if self._cancelled.is_set():
            raise CancelledRunError(f"{argv[0]} was not started: it is no longer wanted")
        try:
            # All this without the lock, which `cancel` takes on the event loop: the program may be on a file system
            # that does not answer. A look at it then keeps a thread, where its execution would keep a process.
            found = shutil.which(argv[0], path=environment["PATH"])
            if found is None and "/" not in argv[0]:
                raise FileNotFoundError(ENOENT, os.strerror(ENOENT), argv[0])
            process: subprocess.Popen[bytes] = subprocess.Popen(
                self._limited(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                cwd="/",
                # Filters that git starts are ended with it.
                start_new_session=True,
                pass_fds=[each for each in (self.kept, descriptor) if each is not None],
                **become,  # type: ignore[call-overload]  # the same three for every overload
            )
        except OSError as error:
            raise RunnerError(f"cannot run {argv[0]}: {error.strerror}; install it") from error
        with self._lock:
            self._process = process
            wanted = not self._cancelled.is_set()
        if not wanted:
            self._end(process)
            raise CancelledRunError(f"{argv[0]} was ended: it is no longer wanted")
        return process

    def _limited(self, argv: Sequence[str]) -> Sequence[str]:
        """Lower the limit of open files by a shell, which becomes the program: this process has threads."""
        if self._open_files is None:
            return argv
        return [_SHELL, "-c", _LIMIT_FILES, str(self._open_files), *argv]

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        cut_off = process.poll() is None or self._cancelled.is_set()
        with self._lock:
            self._process = None
        if process.poll() is None:
            _signal(process, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE)
        if cut_off:
            # With all that it started, which may not have heeded the first signal.
            _signal(process, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()

    def pause(self, seconds: float) -> None:
        """Let time pass between two looks at something.

        Raises
        ------
        CancelledRunError
            If `cancel` was called.
        """
        if self._cancelled.wait(seconds):
            raise CancelledRunError("it is no longer wanted")

    def cancel(self) -> None:
        """End what runs, and start nothing more."""
        with self._lock:
            self._cancelled.set()
            process = self._process
            if process is None or process.poll() is not None:
                return
            _signal(process, signal.SIGTERM)
        # Its output is still waited for if the program, or what it started, ignores that.
        timer = threading.Timer(_GRACE, self._kill, [process])
        timer.daemon = True
        timer.start()

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            if self._process is process:
                _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # Another process group may have the number of one that is gone.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
