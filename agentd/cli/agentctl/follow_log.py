"""Follow an agent's output, over its restarts."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections import deque

from agentd.cli.agentctl.client import NOT_FOUND, ApiError, view
from agentd.cli.agentctl.command import CommandError, Invocation
from agentd.cli.agentctl.lookup import agent_path
from agentd.cli.agentctl.transcripts import Transcripts
from agentd.cli.agentctl.waiting import ENDED
from agentd.model.run_view import RunView
from agentd.model.status import AgentStatus
from agentd.recording.transcripts.rendering import Rendering
from agentd.text.quoting import printable
from agentd.text.terminal import harmless

_SETTLE = 0.3
"""Seconds after which lines that a program could still change are printed."""
_NEXT_LOOK = 0.25
"""Seconds between two questions for another run."""
_SIZES_AGE = 1.0
"""Seconds after which a terminal's sizes are read again."""


def follow_log(transcripts: Transcripts, run: RunView, invocation: Invocation) -> None:
    """Print a run's output as it comes, then that of the next run, until the agent ends for good.

    Raises
    ------
    UnreachableError
        If the daemon goes away.
    ApiError
        If it answers with an error.
    """
    arguments = invocation.arguments
    named = arguments.number is not None or arguments.previous
    lines: int | None = arguments.lines
    while True:
        printer = _Raw() if arguments.raw else _Lines(run)
        printer.begin(transcripts, run, lines)
        ended = _follow_run(transcripts, run, printer)
        printer.end()
        if ended is None:
            why = " here: its host is another one, or does not answer" if transcripts.may_move else ""
            invocation.warn(f"run {run.run} of {printable(run.agent)} is no longer kept{why}")
        following = None if named else _next(transcripts, run)
        if following is None:
            reason = "" if ended is None or ended.reason is None else f": {printable(ended.reason)}"
            invocation.warn(f"run {run.run} of {printable(run.agent)} has ended{reason}")
            return
        invocation.warn(f"run {run.run} of {printable(run.agent)} has ended; run {following.run} follows")
        run, lines = following, None


def _follow_run(transcripts: Transcripts, run: RunView, printer: _Printer) -> RunView | None:
    """Print output until the run has ended, and return it as it is then; ``None`` if it is no longer kept."""
    while True:
        try:
            with transcripts.api.stream(transcripts.path(run, offset=printer.position, follow=1)) as stream:
                while (data := stream.read(_SETTLE)) != b"":
                    printer.take(data)
        except ApiError:
            if not transcripts.may_move:
                raise
        # The daemon also ends a stream whose client reads nothing for a while, such as a pager.
        now = next((each for each in _kept(transcripts) if each.run_id == run.run_id), None)
        if now is None or (now.end is not None and printer.position >= now.end_byte):
            return now


def _next(transcripts: Transcripts, run: RunView) -> RunView | None:
    """Wait for the run after this one; ``None`` if there will be none."""
    while True:
        # In this order: once an agent is done, no further run is added.
        done = _is_done(transcripts, run.agent)
        following = next((each for each in _kept(transcripts) if _is_later(transcripts, each, run)), None)
        if following is not None or done:
            return following
        time.sleep(_NEXT_LOOK)  # noqa: TID251 (a person waits)


def _is_later(transcripts: Transcripts, one: RunView, other: RunView) -> bool:
    if transcripts.may_move:
        # Each host counts its own runs.
        return one.run_id != other.run_id and one.start >= other.start
    return one.run > other.run


def _kept(transcripts: Transcripts) -> list[RunView]:
    """List the runs that are kept; of an agent of a fleet once a host has it."""
    while True:
        try:
            return transcripts.runs()
        except (ApiError, CommandError):
            if not transcripts.may_move:
                raise
            if not transcripts.is_wished_for():
                return []
        time.sleep(_NEXT_LOOK)  # noqa: TID251 (a person waits)


def _is_done(transcripts: Transcripts, name: str) -> bool:
    try:
        agent = view(AgentStatus, transcripts.api.get(agent_path(name)))
    except ApiError as error:
        if transcripts.may_move:
            return not transcripts.is_wished_for()
        if error.status == NOT_FOUND:
            return True
        raise
    return agent.state in ENDED


class _Printer(ABC):
    """Prints output, and keeps the position in it."""

    position = 0
    """Offset in the run's output."""

    @abstractmethod
    def begin(self, transcripts: Transcripts, run: RunView, lines: int | None) -> None:
        """Print the last lines so far (``None``: all)."""

    @abstractmethod
    def take(self, data: bytes | None) -> None:
        """Print new output; ``None`` is a pause in it."""

    def end(self) -> None:  # noqa: B027 (of raw output nothing is left)
        """Print what is left."""


class _Raw(_Printer):
    def begin(self, transcripts: Transcripts, run: RunView, lines: int | None) -> None:
        for data in transcripts.raw(run, lines):
            sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        self.position = run.end_byte

    def take(self, data: bytes | None) -> None:
        if data:
            self.position += len(data)
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()


class _Lines(_Printer):
    def __init__(self, run: RunView) -> None:
        self._run = run
        self._transcripts: Transcripts | None = None
        self._looked = time.monotonic()
        self._rendering: Rendering

    def begin(self, transcripts: Transcripts, run: RunView, lines: int | None) -> None:
        kept: deque[str] = deque(maxlen=lines)
        start = run.first_byte if lines is None else transcripts.start_of(run, lines)
        self._transcripts, self._rendering = transcripts, Rendering(run, start)
        for data in transcripts.read(run, start, run.end_byte):
            kept.extend(self._rendering.feed(data))
            kept.extend(self._rendering.settled())
            if lines is None:
                self._print(list(kept))
                kept.clear()
        # Lines that could still change count as read too.
        kept.extend(self._rendering.settled())
        self._print(list(kept))
        self.position = run.end_byte

    def take(self, data: bytes | None) -> None:
        if data:
            self._learn_sizes()
            self.position += len(data)
            self._print(self._rendering.feed(data))
        self._print(self._rendering.settled())

    def _learn_sizes(self) -> None:
        """Read the terminal's sizes again, if that is due."""
        now = time.monotonic()
        if self._transcripts is None or now - self._looked < _SIZES_AGE:
            return
        self._looked = now
        run = next((each for each in self._transcripts.runs() if each.run == self._run.run), None)
        if run is not None:
            self._rendering.learn(run)

    def end(self) -> None:
        self._print(self._rendering.rest())

    def _print(self, lines: list[str]) -> None:
        for line in lines:
            print(harmless(line))
        sys.stdout.flush()
