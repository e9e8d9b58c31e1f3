"""Fault points: the steps of agentd at which it is killed, by name, chosen from outside.

agentd knows nothing of them. The fault runs start it as a fork of a process in which the functions named here are
wrapped; when the chosen one is passed for the chosen time, the process kills itself.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import mmap
import os
import signal
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Function = Callable[..., object]


def _always(*_: object) -> bool:
    return True


def _sends(*words: bytes) -> Callable[..., bool]:
    """Whether a connection is about to send one of these tmux commands."""

    def sends(connection: object, *_: object) -> bool:
        unsent = b"".join(getattr(connection, "_unsent", ()))
        return any(word in unsent for word in words)

    return sends


@dataclass(frozen=True, slots=True)
class Point:
    """A step: before or after a function of agentd."""

    name: str
    module: str
    function: str
    """With its class, if it is a method."""
    before: bool = False
    when: Callable[..., bool] = _always
    """Asked with the arguments before the call."""
    answered: bool = False
    """Whether only calls count that gave an answer."""

    @property
    def step(self) -> str:
        """What agentd is doing then: launch, exit, stop, restart, adoption or shutdown, say."""
        return self.name.partition(".")[0]


_AGENT, _RUN = "agentd.supervise.agent", "agentd.supervise.run_handle"
_TRANSITIONS, _RECONCILER = "agentd.supervise.transitions", "agentd.supervise.reconciler"
_RUNDIR, _SERVER = "agentd.launch.rundir", "agentd.tmux.server"
_CONNECTION, _REAPER = "agentd.tmux.connection", "agentd.process.reaper"

POINTS = (
    Point("launch.begun", _AGENT, "Agent._launch", before=True),
    Point("launch.allowed", _AGENT, "Agent._open", before=True),
    Point("launch.before_record", _RUNDIR, "RuntimeDirectory.write_record", before=True),
    Point("launch.after_record", _RUNDIR, "RuntimeDirectory.write_record"),
    Point("launch.before_script", _RUNDIR, "RuntimeDirectory.write_script", before=True),
    Point("launch.after_script", _RUNDIR, "RuntimeDirectory.write_script"),
    Point("launch.before_request", _SERVER, "TmuxServer.new_session", before=True),
    Point("launch.pane_requested", _CONNECTION, "ControlConnection._flush", when=_sends(b"new-session")),
    Point("launch.pane_open", _SERVER, "TmuxServer.new_session"),
    Point("launch.opened", _TRANSITIONS, "launch_opened"),
    Point("launch.process_seen", _RUNDIR, "RuntimeDirectory.read_process", answered=True),
    Point("launch.started", _TRANSITIONS, "started"),
    Point("launch.script_removed", _RUNDIR, "RuntimeDirectory.remove_script"),
    Point("launch.done", _AGENT, "Agent._open"),
    Point("exit.seen", _RUN, "RunHandle._process_ended", before=True),
    Point("exit.read", _RUNDIR, "RuntimeDirectory.read_exit", answered=True),
    Point("exit.decided", _TRANSITIONS, "exited"),
    Point("exit.before_recorded", _AGENT, "Agent.record", before=True),
    Point("exit.recorded", _AGENT, "Agent.record"),
    Point("stop.key_sent", _CONNECTION, "ControlConnection._flush", when=_sends(b"send-keys")),
    Point("stop.key_typed", _SERVER, "TmuxServer.send_key"),
    Point("stop.terminated", _AGENT, "terminate"),
    Point("stop.killing", _AGENT, "Agent._kill", before=True),
    Point("stop.killed", _AGENT, "Agent._kill"),
    Point("stop.before_reaping", _AGENT, "Agent._reap", before=True),
    Point("stop.tree_found", _REAPER, "end_found"),
    Point("stop.reaped", _AGENT, "Agent._reap"),
    Point("stop.before_close", _SERVER, "TmuxServer.kill_pane", before=True),
    Point("stop.close_sent", _CONNECTION, "ControlConnection._flush", when=_sends(b"kill-pane")),
    Point("stop.closed", _SERVER, "TmuxServer.kill_pane"),
    Point("stop.forgotten", _AGENT, "forget_run"),
    Point("stop.stopped", _TRANSITIONS, "stopped"),
    Point("restart.reaped", _AGENT, "Agent._reap"),
    Point("restart.prepared", _AGENT, "prepare"),
    Point("restart.before_request", _SERVER, "TmuxServer.respawn", before=True),
    Point("restart.requested", _CONNECTION, "ControlConnection._flush", when=_sends(b"respawn-pane")),
    Point("restart.pane_open", _SERVER, "TmuxServer.respawn"),
    Point("restart.before_forgotten", _AGENT, "forget_run", before=True),
    Point("restart.run_removed", _RUNDIR, "RuntimeDirectory.remove_run"),
    Point("restart.forgotten", _AGENT, "forget_run"),
    Point("restart.started", _TRANSITIONS, "started"),
    Point("adoption.prepared", _RUNDIR, "RuntimeDirectory.prepare"),
    Point("adoption.listening", _RUNDIR, "RuntimeDirectory.listen"),
    Point("adoption.greeted", _CONNECTION, "ControlConnection.open"),
    Point("adoption.connected", "agentd.tmux.reconnecting", "ReconnectingClient.connect"),
    Point("adoption.key_read", _SERVER, "TmuxServer.get_global"),
    Point("adoption.listed", _SERVER, "TmuxServer.list_launched_panes"),
    Point("adoption.pane_adopted", "agentd.supervise.adoption", "Adoption._adopt_pane"),
    Point("adoption.ended_read", _SERVER, "TmuxServer.list_globals"),
    Point("adoption.cleaned", _RUNDIR, "RuntimeDirectory.remove_all_but"),
    Point("adoption.done", _RECONCILER, "Reconciler.adopt"),
    Point("adoption.api_open", "agentd.api.socket_file", "ApiSocket.bind"),
    Point("adoption.first_pass", _RECONCILER, "Reconciler.reconcile"),
    Point("adoption.observed", "agentd.supervise.pane_observer", "PaneObserver.observe"),
    Point("shutdown.announced", _RUNDIR, "RuntimeDirectory.announce_closing"),
    Point("shutdown.withdrawn", _TRANSITIONS, "withdraw"),
    Point("shutdown.agents_stopped", _RECONCILER, "Reconciler.shut_down"),
    Point("shutdown.before_server", _SERVER, "TmuxServer.kill_server", before=True),
    Point("shutdown.server_ended", _SERVER, "TmuxServer.kill_server"),
    Point("shutdown.folder_removed", _RUNDIR, "RuntimeDirectory.remove"),
)
BY_NAME = {point.name: point for point in POINTS}

_LAYOUT = struct.Struct("iiid")
_NONE = -1


class Trigger:
    """What a forked process is to suffer, in memory that it shares with the process that started it.

    Parameters
    ----------
    points
        Those that it may be killed at.
    """

    def __init__(self, points: Sequence[Point] = POINTS) -> None:
        self._points = points
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)
        self._armed = 0
        """How often it was armed, where it is; which time it counts, in the process that is to suffer."""
        self._passes = 0
        """What that process has counted."""
        self.disarm()

    def arm(self, point: Point, passes: int) -> None:
        """Kill it when it passes this point for the so-manyeth time from now on."""
        self._armed += 1
        self._write(self._points.index(point), passes, self.clock_offset)

    def disarm(self) -> None:
        """Let it live."""
        self._write(_NONE, 0, 0.0)

    @property
    def clock_offset(self) -> float:
        """Seconds by which its wall clock is wrong."""
        return float(_LAYOUT.unpack_from(self._memory)[3])

    @clock_offset.setter
    def clock_offset(self, seconds: float) -> None:
        index, passes, _, _ = _LAYOUT.unpack_from(self._memory)
        self._write(index, passes, seconds)

    def _write(self, index: int, passes: int, offset: float) -> None:
        _LAYOUT.pack_into(self._memory, 0, index, passes, self._armed, offset)

    def passed(self, index: int) -> None:
        """Count a pass of a point, and die of it if it is the one.

        The count is this process's own: written to the memory, it could arm again what was just disarmed.
        """
        point, passes, armed, _ = _LAYOUT.unpack_from(self._memory)
        if point != index:
            return
        if armed != self._armed:
            self._armed, self._passes = armed, 0
        self._passes += 1
        if self._passes >= passes:
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Wrap every point's function, and the wall clock, in this process."""
        for index, point in enumerate(self._points):
            owner, name = _owner(point)
            setattr(owner, name, _wrapped(owner, name, point, functools.partial(self.passed, index)))
        wall = time.time
        time.time = lambda: wall() + self.clock_offset


def _owner(point: Point) -> tuple[object, str]:
    owner: object = importlib.import_module(point.module)
    *classes, name = point.function.split(".")
    for each in classes:
        owner = getattr(owner, each)
    return owner, name


def _wrapped(owner: object, name: str, point: Point, passed: Callable[[], None]) -> object:
    found = vars(owner)[name]
    if isinstance(found, classmethod):
        return classmethod(_around(found.__func__, point, passed))
    return _around(found, point, passed)


def _around(function: Function, point: Point, passed: Callable[[], None]) -> Function:
    def before(*args: object) -> bool:
        counts = point.when(*args)
        if counts and point.before:
            passed()
        return counts and not point.before

    def after(counts: bool, answer: object) -> object:
        if counts and (answer is not None or not point.answered):
            passed()
        return answer

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*args: object, **options: object) -> object:
            counts = before(*args)
            return after(counts, await function(*args, **options))

        return awaited

    @functools.wraps(function)
    def called(*args: object, **options: object) -> object:
        counts = before(*args)
        return after(counts, function(*args, **options))

    return called
