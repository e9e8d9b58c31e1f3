"""Daemons that several tests look at, and daemons of another kind."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import pytest

from tests.support.daemon import Daemon
from tests.support.forked import launch_of

D = TypeVar("D", bound=Daemon)


class MakeDaemon(Protocol):
    """Makes daemons of any kind that are not started yet."""

    def __call__(self, kind: Callable[[Path], D], /) -> D: ...


@contextlib.contextmanager
def held_to_leaving_nothing(folder: Path, numbers: Iterator[int]) -> Iterator[MakeDaemon]:
    """Give a maker of daemons, which are ended when the context ends."""
    daemons: list[Daemon] = []

    def make(kind: Callable[[Path], D]) -> D:
        own = folder / str(next(numbers))
        own.mkdir()
        daemon = kind(own)
        daemons.append(daemon)
        return daemon

    yield make
    problems = [problem for daemon in daemons for problem in daemon.close()]
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="module")
def shared_daemon_factory(
    request: pytest.FixtureRequest, session_folder: Path, _numbers: Iterator[int]
) -> Iterator[Callable[[], Daemon]]:
    """Make daemons for all tests of a module, which only look at what their own agents do."""
    with held_to_leaving_nothing(session_folder, _numbers) as make:
        yield lambda: make(lambda folder: Daemon(folder, launch_of(request)))


@pytest.fixture
def daemon_of(session_folder: Path, _numbers: Iterator[int]) -> Iterator[MakeDaemon]:
    """Make daemons that are started in another way."""
    with held_to_leaving_nothing(session_folder, _numbers) as make:
        yield make
