"""Keeps a node of Ray beside an agentd, and the host's Node on it; each start has a deadline. Blocks."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Final, NoReturn

from agentd.fleet.guarding import Guard
from agentd.fleet.leftovers import FolderInUseError, end_left, take_over
from agentd.fleet.progress import Progress, progress_file, read_progress, write_progress
from agentd.fleet.ray_node import RayNode, ray_environment
from agentd.process.identity import ProcessIdentity
from agentd.text.durations import format_duration

_ACTORS: Final = (sys.executable, "-P", "-m", "agentd.fleet.starting")
_STARTED: Final = "Ray runtime started"
_STOP: Final = 15.0
"""Seconds for Ray to end, or for the actors on a node that goes on."""
_LOOK: Final = 2.0
"""Seconds between two looks whether the Node is there."""
_SILENT: Final = 60.0
"""Seconds that it may be gone: Ray starts it again within some."""


_MOST_SAID: Final = 300
"""Characters of a line of Ray's."""


class _Told(Enum):
    """What may happen meanwhile."""

    SIGNAL = auto()
    RAY_IS_THERE = auto()
    RAY_ENDED = auto()
    ACTORS_ARE_THERE = auto()
    ACTORS_FAILED = auto()


class _StoppedError(Exception):
    """Somebody ended us by a signal."""


class _GaveUpError(Exception):
    """Why it does not go on; the text says so."""


@dataclass(slots=True)
class Running:
    """What agentd-fleet does until a signal.

    Parameters
    ----------
    start
        For `agentd.fleet.starting`.
    fleet_socket
        Which the Node serves.
    within
        Seconds for Ray and the Node to start.
    beside
        Whether the node of Ray is there already, and somebody else's: it goes on.
    """

    node: RayNode
    start: Mapping[str, object]
    guard: Guard
    fleet_socket: Path
    within: float
    beside: bool
    _told: queue.SimpleQueue[_Told] = field(default_factory=queue.SimpleQueue)
    """Not an event: a handler of signals may interrupt whoever waits for one, and must not wait for that."""
    _stopping: threading.Event = field(default_factory=threading.Event)
    _before: str = ""
    """Why the agentd-fleet before this one gave up."""
    _refused: str = ""
    """Why the actors were not started, where it is us who say so."""

    def run(self) -> int:
        """Run a host until then, or until Ray or the Node ends; return the exit status."""
        if not self.beside:
            try:
                ended = take_over(self.node.folder)
            except (FolderInUseError, OSError) as error:
                return _fails(f"cannot start: {error}")
            if ended:
                _say(f"ended {ended} processes of Ray that a former agentd-fleet had left")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: self._told.put(_Told.SIGNAL))
        former = read_progress(progress_file(self.fleet_socket))
        self._before = "" if former is None else former.failed
        # Before Ray, which may find nobody: a host that is cut off is the very one that needs it.
        threading.Thread(target=self.guard.run, args=(self._stopping,), daemon=True, name="fleet-guard").start()
        try:
            (self._use_ray if self.beside else self._keep_ray)()
        except _StoppedError:
            self._write(None)
            return 0
        except _GaveUpError as error:
            self._write(_progress("", 0.0, str(error)))
            return _fails(str(error))
        finally:
            self._stopping.set()

    def _keep_ray(self) -> NoReturn:
        self._tell("Ray to start", self.within)
        until = time.monotonic() + self.within
        ray = _Ray(self.node, self._told)
        try:
            if self._next(until) is None:
                raise _GaveUpError(f"Ray did not start within {format_duration(self.within)}")
            self._have_node(until)
            self._watch()
        except _GaveUpError as error:
            raise _GaveUpError("; ".join([str(error), *self._more(ray.said)])) from None
        finally:
            ray.end()
            if left := end_left(self.node.folder, ray.session):
                _say(f"ended {left} processes that Ray had left")

    def _use_ray(self) -> NoReturn:
        try:
            self._have_node(time.monotonic() + self.within)
            self._watch()
        except _StoppedError:
            self._stop_actors()
            raise

    def _next(self, until: float) -> _Told | None:
        """Wait for what happens next; ``None`` if nothing does."""
        try:
            told = self._told.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            return None
        match told:
            case _Told.SIGNAL:
                raise _StoppedError
            case _Told.RAY_ENDED:
                raise _GaveUpError("Ray has ended")
            case _Told.ACTORS_FAILED:
                raise _GaveUpError(self._refused or "Ray did not start the Node")
            case _:
                return told

    def _have_node(self, until: float) -> None:
        self._tell("the Node to start", self.within)
        process = self._start_actors(self.start)
        try:
            told = self._next(until)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        if told is None:
            raise _GaveUpError(f"Ray did not start the Node within {format_duration(self.within)}")
        self._before = ""
        self._write(None)
        _say(f"{self.node.ip} is a host of the fleet at {self.node.address}")

    def _start_actors(self, start: Mapping[str, object]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            _ACTORS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ray_environment(os.environ)
        )

        def wait() -> None:
            self._refused = process.communicate(json.dumps(start))[0].strip()
            self._told.put(_Told.ACTORS_FAILED if process.returncode else _Told.ACTORS_ARE_THERE)

        threading.Thread(target=wait, daemon=True, name="fleet-start").start()
        return process

    def _stop_actors(self) -> None:
        given = json.dumps({**self.start, "stop": True})
        try:
            subprocess.run(
                _ACTORS, input=given, stdout=sys.stderr, text=True, env=ray_environment(os.environ), timeout=_STOP,
                check=True,
            )  # fmt: skip
        except subprocess.SubprocessError:
            raise _GaveUpError(f"the Node goes on: it could not be ended within {_STOP:g} s") from None

    def _watch(self) -> NoReturn:
        """See that the Node is there, for as long as it is."""
        heard, silent = time.monotonic(), False
        while True:
            self._next(time.monotonic() + _LOOK)
            now = time.monotonic()
            if _answers(self.fleet_socket):
                if silent:
                    self._write(None)
                heard, silent = now, False
            elif now >= heard + _SILENT:
                raise _GaveUpError(f"Ray did not start the Node again within {format_duration(_SILENT)}")
            elif not silent:
                self._tell("Ray to start the Node again", _SILENT)
                silent = True

    def _more(self, said: str) -> Iterator[str]:
        """Where there is more to read."""
        if said:
            yield f"it said last: {said}"
        logs = self.node.folder / "session_latest/logs"
        if logs.exists():
            yield f"its logs are in {logs}"

    def _tell(self, doing: str, limit: float) -> None:
        self._write(_progress(doing, limit, self._before))

    def _write(self, progress: Progress | None) -> None:
        try:
            write_progress(progress_file(self.fleet_socket), progress)
        except OSError as error:
            _say(f"cannot tell agentctl how far this is: {error}")


def _progress(doing: str, limit: float, failed: str) -> Progress:
    own = ProcessIdentity.of(os.getpid())
    started = None if own is None else own.started
    return Progress(os.getpid(), started or 0, doing, time.time(), limit, failed)


class _Ray:
    """A node of Ray, whose output goes to stderr."""

    def __init__(self, node: RayNode, told: queue.SimpleQueue[_Told]) -> None:
        self._told = told
        self.said = ""
        """Its last line."""
        self._process = subprocess.Popen(
            node.command(str(Path(sys.executable).with_name("ray"))), env=ray_environment(os.environ),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            encoding="utf-8", errors="replace",
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True, name="fleet-ray-output")
        self._reader.start()
        threading.Thread(target=self._wait, daemon=True, name="fleet-ray").start()

    @property
    def session(self) -> int:
        """All that it starts is in it."""
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stdout is not None, "it is a pipe"
        for line in self._process.stdout:
            sys.stderr.write(line)
            sys.stderr.flush()
            self.said = line.strip()[:_MOST_SAID] or self.said
            if _STARTED in line:
                self._told.put(_Told.RAY_IS_THERE)

    def _wait(self) -> None:
        self._process.wait()
        self._reader.join(1.0)
        self._told.put(_Told.RAY_ENDED)

    def end(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(_STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _say(line: str) -> None:
    sys.stderr.write(f"agentd-fleet: {line}\n")
    sys.stderr.flush()


def _fails(why: str) -> int:
    _say(why)
    return 1


def _answers(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_LOOK)
            probe.connect(str(path))
    except OSError:
        return False
    return True
