"""Looks at paths that users name, from the event loop: in threads of their own, each step within a limit of time.

A thread that is kept by a file system that does not answer is given up and replaced; what it hangs at is asked by
nobody else until it returns, or until something else is mounted there; a second later it is asked once more, as that
may have happened just before it was given up. The threads are daemonic, so that a process can
end beside them: the threads of `asyncio.to_thread` are joined when the loop and when the interpreter ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Generic, TypeVar

import structlog

from agentd.files.answering import LIMIT, GivenUpError, NotAnsweringError, Way
from agentd.files.mounts import mount_of
from agentd.files.worker import settle

log = structlog.get_logger(__name__)

_AT_ONCE: Final = 8
"""Threads that look, as long as they answer."""

_MOST_STUCK: Final = 64
"""Threads that may be stuck; each hangs at a path of its own. With more, nothing is looked at until one returns."""

_NOTICEABLE: Final = 1.0
"""Seconds from which on people are told how long a look takes."""

_LATE: Final = 0.5
"""Seconds by which the event loop may be late before its own clock says nothing about others."""

_MOUNT_LOOK: Final = 1.0
"""Seconds between two looks at what is mounted, while something does not answer."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SlowLook:
    """A look that takes its time."""

    path: str
    """What does not answer."""
    seconds: float


@dataclass(slots=True, eq=False)
class _Look(Generic[T]):
    job: Callable[[Way], T]
    way: Way
    future: asyncio.Future[T]
    timer: asyncio.TimerHandle | None = None
    begun: float | None = None
    made: bool = False
    visit: _Visit | None = None


@dataclass(slots=True, eq=False)
class _Visit:
    """Looks that one thread makes, one after the other, and hands back together."""

    looks: deque[_Look[object]]
    """Those to come."""
    made: list[Callable[[], None]] = field(default_factory=list)
    """What the event loop is to be told of those made."""


@dataclass(slots=True)
class _Hang:
    """Something that does not answer."""

    look: _Look[object]
    mount: str | None
    """What was mounted there when it was given up; another mount may answer."""
    sure: bool
    """Whether it is this mount that hangs, and not one that was unmounted before the look was given up."""
    looked: float = field(default_factory=time.monotonic)


class Looks:
    """Makes looks.

    Parameters
    ----------
    on_answer
        Called, in the event loop, when something answers again that did not.
    limit
        Seconds for each step of a look.
    """

    def __init__(self, on_answer: Callable[[], None] = lambda: None, limit: float = LIMIT) -> None:
        self._on_answer = on_answer
        self._limit = limit
        self._jobs: queue.SimpleQueue[_Visit | None] = queue.SimpleQueue()
        self._joined: list[_Look[object]] = []
        """Those that wait for others to go with."""
        self._threads = 0
        """Those that are not stuck."""
        self._visits: set[_Visit] = set()
        """Those not made yet, of which no look is stuck."""
        self._waiting: set[_Look[object]] = set()
        self._hangs: dict[str, _Hang] = {}
        self._again: dict[str, tuple[str | None, float]] = {}
        """Where something hung that is asked once more: what was mounted then, and when."""
        self._stuck: set[_Look[object]] = set()
        self.mount_look = _MOUNT_LOOK

    async def look(self, path: str | Path, job: Callable[[], T], *, joined: bool = False) -> T:
        """Do a job that touches a path.

        Raises
        ------
        NotAnsweringError
            If the path does not answer in time, or is known not to.
        BaseException
            Whatever `job` raises.
        """

        def go(way: Way) -> T:
            way.to(path)
            return job()

        return await self.along(go, joined=joined)

    def along(self, job: Callable[[Way], T], *, joined: bool = False) -> asyncio.Future[T]:
        """Do a job that says itself, by its way, which paths it is about to touch.

        Parameters
        ----------
        joined
            Whether it goes with all other looks of this moment that are to be joined, in one thread: for what is short
            and made again and again. A change of threads and back costs 1 ms of CPU on a quiet virtual machine.

        The future fails with `NotAnsweringError` if one of them does not answer in time, or is known not to, and with
        whatever `job` raises.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._submit(_Look(job, Way(self._is_unanswered), future), joined=joined)  # type: ignore[arg-type]  # its future's alone
        return future

    async def each(
        self, paths: Sequence[Path] | Callable[[Way], Sequence[Path]], job: Callable[[Path], T], *, joined: bool = False
    ) -> dict[Path, T | NotAnsweringError]:
        """Do the same job at many paths, of which none waits for one that does not answer.

        They are looked at in one go, which costs one change of threads; after a step that takes too long, the rest are
        looked at each by itself. What `job` raises is raised; `NotAnsweringError` is an answer.

        Parameters
        ----------
        paths
            Or what lists them, in the same go.
        joined
            As for `along`.

        Raises
        ------
        NotAnsweringError
            If it does not answer what is listed.
        """
        found: dict[Path, T | NotAnsweringError] = {}
        listed: list[Path] = []

        def go(way: Way) -> None:
            listed.extend(paths(way) if callable(paths) else paths)
            for path in listed:
                try:
                    way.to(path)
                    result: T | NotAnsweringError = job(path)
                except NotAnsweringError as error:
                    result = error
                if way.given_up:
                    return
                found[path] = result

        if not paths:
            return found
        try:
            await self.along(go, joined=joined)
        except NotAnsweringError as error:
            rest = [path for path in listed if path not in found]
            if not rest:
                raise
            found[rest[0]] = error
            answers = await asyncio.gather(
                *(self.look(path, lambda path=path: job(path)) for path in rest[1:]),  # type: ignore[misc]  # bound early
                return_exceptions=True,
            )
            for path, answer in zip(rest[1:], answers, strict=True):
                if isinstance(answer, BaseException) and not isinstance(answer, NotAnsweringError):
                    raise answer from None
                found[path] = answer
        return found

    def slow(self) -> tuple[SlowLook, ...]:
        """The looks that take longer than people expect, the slowest first."""
        now = time.monotonic()
        looks = [look for look in (*self._waiting, *self._stuck) if look.begun is not None and not look.made]
        longest: dict[str, float] = {}
        for look in looks:
            seconds = now - look.way.since
            if seconds >= _NOTICEABLE:
                longest[look.way.at] = max(seconds, longest.get(look.way.at, 0.0))
        slow = [SlowLook(path, seconds) for path, seconds in longest.items()]
        return tuple(sorted(slow, key=lambda each: -each.seconds))

    @property
    def stuck(self) -> tuple[str, ...]:
        """Where threads hang that were given up."""
        return tuple(sorted({look.way.at for look in self._stuck}))

    def leave(self, status: int) -> None:
        """End the process with `status`, after all that it owns was closed, if a thread hangs: else nothing would."""
        self.close()
        if self._stuck:
            log.warning("ends_beside_hung_reads", paths=self.stuck, status=status)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def close(self) -> None:
        """Let the threads go that can."""
        for _ in range(self._threads):
            self._jobs.put(None)

    # -- in the event loop

    def _submit(self, look: _Look[object], *, joined: bool) -> None:
        loop = asyncio.get_running_loop()
        self._waiting.add(look)
        look.timer = loop.call_later(self._limit, self._check, look)
        if not joined:
            self._send([look])
            return
        if not self._joined:
            loop.call_soon(self._send_joined, 0)
        self._joined.append(look)

    def _send_joined(self, before: int) -> None:
        """Send what is to go together, once no other look came in a turn of the event loop."""
        if len(self._joined) > before:
            asyncio.get_running_loop().call_soon(self._send_joined, len(self._joined))
            return
        joined, self._joined = self._joined, []
        self._send(joined)

    def _send(self, looks: Iterable[_Look[object]]) -> None:
        visit = _Visit(deque(looks))
        for look in visit.looks:
            look.visit = visit
        self._visits.add(visit)
        self._jobs.put(visit)
        self._add_threads()

    def _add_threads(self) -> None:
        while self._threads < min(_AT_ONCE, len(self._visits)) and len(self._stuck) <= _MOST_STUCK:
            threading.Thread(target=self._work, name="look", daemon=True).start()
            self._threads += 1

    def _check(self, look: _Look[object]) -> None:
        """See whether a look goes on."""
        loop, now = asyncio.get_running_loop(), time.monotonic()
        if look.made and look.visit is not None:
            # It only waits for those that went with it.
            self._hand_back(look.visit)
            return
        if look.begun is None and len(self._stuck) > _MOST_STUCK:
            self._waiting.discard(look)
            look.way.given_up = True
            settle(look.future, None, NotAnsweringError(self.stuck[0]))
            return
        assert look.timer is not None
        if loop.time() > look.timer.when() + _LATE:
            # The whole process was stopped, or kept from running: what has answered meanwhile is not taken yet.
            look.timer = loop.call_later(self._limit, self._check, look)
            return
        due = (now if look.begun is None else look.way.since) + self._limit
        if due > now:
            look.timer = loop.call_later(due - now, self._check, look)
            return
        look.way.given_up = True
        at = look.way.at
        self._waiting.discard(look)
        self._leave(look)
        self._stuck.add(look)
        self._threads -= 1
        if at not in self._hangs:
            mount = mount_of(at)
            before, asked = self._again.pop(at, (None, 0.0))
            # Of a look that began with the question, not of one that hangs days later.
            sure = before == mount and look.way.since <= asked + self._limit / 2
            self._hangs[at] = _Hang(look, mount, sure)
            log.warning("path_not_answering", path=at, seconds=round(now - look.way.since, 1))
        settle(look.future, None, NotAnsweringError(at))
        self._add_threads()

    def _leave(self, stuck: _Look[object]) -> None:
        """Go on without the thread that is stuck in one look of its visit."""
        visit = stuck.visit
        assert visit is not None
        self._visits.discard(visit)
        self._hand_back(visit)
        rest = []
        with contextlib.suppress(IndexError):
            # The thread may have gone on just now, and takes from the same end.
            while True:
                rest.append(visit.looks.popleft())
        if rest:
            self._send(rest)

    def _hand_back(self, visit: _Visit) -> None:
        made, visit.made = visit.made, []
        for tell in made:
            tell()

    def _come_back(self, visit: _Visit) -> None:
        self._visits.discard(visit)
        self._hand_back(visit)

    def _returned(self, look: _Look[object], result: object, error: BaseException | None, *, goes_on: bool) -> None:
        if look.timer is not None:
            look.timer.cancel()
        self._waiting.discard(look)
        settle(look.future, result, error)
        if look not in self._stuck:
            return
        self._stuck.discard(look)
        self._threads += goes_on
        at = look.way.at
        hang = self._hangs.get(at)
        if hang is not None and hang.look is look:
            del self._hangs[at]
            log.info("path_answers_again", path=at, seconds=round(time.monotonic() - look.way.since, 1))
            self._on_answer()
        self._add_threads()

    # -- in the threads

    def _is_unanswered(self, path: str) -> bool:
        hang = self._hangs.get(path)
        if hang is None:
            return False
        now = time.monotonic()
        if now < hang.looked + self.mount_look:
            return True
        hang.looked = now
        mount = mount_of(path)
        if hang.sure and mount == hang.mount:
            return True
        self._again[path] = mount, now
        self._hangs.pop(path, None)
        return False

    def _work(self) -> None:
        while (visit := self._jobs.get()) is not None:
            loop, goes_on = visit.looks[0].future.get_loop(), True
            while goes_on and visit.looks:
                try:
                    look = visit.looks.popleft()
                except IndexError:
                    break
                if not look.way.given_up:
                    goes_on = self._make(look, visit)
            # The loop may have ended: then nobody waits any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._come_back, visit)
            if not goes_on:
                return

    def _make(self, look: _Look[object], visit: _Visit) -> bool:
        """Make one look; false if it was given up meanwhile, and this thread with it."""
        look.way.since = look.begun = time.monotonic()
        result: object = None
        error: BaseException | None = None
        try:
            result = look.job(look.way)
        except GivenUpError:
            error = None
        except BaseException as problem:  # noqa: BLE001 (handed on to whoever awaits the look)
            error = problem
        goes_on = not look.way.given_up
        visit.made.append(partial(self._returned, look, result, error, goes_on=goes_on))
        look.made = True
        return goes_on
