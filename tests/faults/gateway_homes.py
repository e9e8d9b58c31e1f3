"""What the gateway of a world stands on: a program, forked or installed, and a database; and what befalls them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from agentd.gateway import command_line
from agentd.gateway import run as _imported_before_the_fork  # noqa: F401
from agentd.gateway.store import postgresql as _this_too  # noqa: F401
from tests.faults.limits import filled
from tests.faults.machine import mount_small, no_mounts, unmount
from tests.faults.points import Trigger
from tests.faults.world import World
from tests.support import postgresql
from tests.support.daemon import Running, launch_program
from tests.support.installed import WAYS, Installation

_DISK: Final = 8 << 20
"""Bytes of a disk for a database alone."""


class Home:
    """A forked gateway with SQLite in the state directory."""

    name = "plain"
    victims: tuple[str, ...] = ("point", "point", "point", "clock", "database", "deleted")
    """What befalls it, beside the ends of processes."""

    def __init__(self, world: World) -> None:
        self.world = world

    @classmethod
    def lacking(cls) -> bool:
        """Whether the machine cannot have one."""
        return False

    def arguments(self) -> Sequence[str]:
        """Give what its command line says of it."""
        return ()

    def launch(self, argv: Sequence[str], environment: Mapping[str, str], trigger: Trigger, log: Path) -> Running:
        """Start it."""
        return self.world.daemon.fork_program(command_line.main, argv, environment, trigger, log)

    @contextlib.contextmanager
    def troubled(self) -> Iterator[None]:
        """Have its own trouble while the context is open."""
        yield


class OnSmallDisk(Home):
    """Its database is on a disk that fills up."""

    name = "small disk"
    victims: tuple[str, ...] = ("point", *["trouble"] * 5)

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._folder = world.daemon.folder.with_name(f"{world.daemon.folder.name}-database")
        mount_small(self._folder, _DISK)
        world.at_the_end.append(self._give_back)

    def _give_back(self) -> None:
        unmount(self._folder)
        self._folder.rmdir()

    @classmethod
    def lacking(cls) -> bool:
        return no_mounts() is not None

    def arguments(self) -> Sequence[str]:
        return (f"--database=sqlite:///{self._folder}/gateway.db",)

    @contextlib.contextmanager
    def troubled(self) -> Iterator[None]:
        with filled(self._folder, _DISK):
            yield


class OnPostgreSQL(Home):
    """Its database is a server's, which crashes."""

    name = "PostgreSQL"
    victims: tuple[str, ...] = ("point", "point", "clock", *["trouble"] * 4)

    def __init__(self, world: World) -> None:
        super().__init__(world)
        served = contextlib.ExitStack()
        self._server = served.enter_context(postgresql.serving(world.daemon.folder))
        self._url = asyncio.run(self._server.database())
        world.at_the_end.append(served.close)

    @classmethod
    def lacking(cls) -> bool:
        return postgresql.programs() is None

    def arguments(self) -> Sequence[str]:
        return (f"--database={self._url}",)

    @contextlib.contextmanager
    def troubled(self) -> Iterator[None]:
        self._server.crash()
        try:
            yield
        finally:
            self._server.start()


class Installed(Home):
    """A program whose package is removed or replaced under it, and then is another version."""

    name = "installed"
    victims: tuple[str, ...] = ("trouble", "trouble")

    def __init__(self, world: World) -> None:
        super().__init__(world)
        folder = world.daemon.folder / "installed"
        folder.mkdir()
        self._installation = Installation(folder, module="agentd.gateway.command_line")

    def launch(self, argv: Sequence[str], environment: Mapping[str, str], trigger: Trigger, log: Path) -> Running:
        del trigger
        with log.open("ab") as output:
            return launch_program(
                [*self._installation.command(), *argv], env=environment, cwd=self.world.daemon.folder, log=output
            )

    @contextlib.contextmanager
    def troubled(self) -> Iterator[None]:
        WAYS[self.world.chance.choice(sorted(WAYS))](self._installation)
        try:
            yield
        finally:
            self._installation.renew(f"0.1.{self.world.chance.randrange(100)}")


def home_of(world: World) -> Home:
    """Choose one of those that the machine can have."""
    kinds = [kind for kind in (Home, Home, OnSmallDisk, OnPostgreSQL, Installed) if not kind.lacking()]
    kind = world.chance.choice(kinds)
    return kind(world)
