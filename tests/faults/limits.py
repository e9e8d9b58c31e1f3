"""Nothing left: file descriptors, processes, terminals, inotify, disk space, a disk that can be written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.faults.kills import operate
from tests.faults.machine import (
    make_immutable,
    mount,
    mount_small,
    processes_limited,
    unmount,
    without_inotify,
)
from tests.faults.waits import pause
from tests.faults.world import World
from tests.support.descriptors import descriptors_limited
from tests.support.processes import marked

_SIZE = 4 * 1024 * 1024
"""Bytes of a small disk; a world with eight agents needs a tenth of it."""
_TERMINALS = 24


def _under(world: World, lasting: float, *, killed: bool = False, spared: Iterable[str] = ()) -> None:
    """Act while something is short; what was touched may have been tried several times."""
    touched = set(spared)
    if killed:
        world.daemon.kill()
    for _ in range(2):
        operate(world, touched)
    if killed:
        world.daemon.start(ready=False)
    pause(lasting)
    for name in touched & set(world.agents) - set(spared):
        world.toll_of(name)


def no_descriptors(world: World) -> str:
    """Agentd has no file descriptors left."""
    chance, pid = world.chance, world.daemon.pid
    room, lasting = chance.choice((0, 0, 1, 3, 6)), chance.uniform(0.1, 0.6)
    ending = world.add("plain", "no").name
    world.write()
    world.converge()
    with descriptors_limited(pid, room):
        world.end(ending, 3)
        _under(world, lasting, spared={ending})
    world.converge()
    world.remove(ending)
    world.write()
    world.converge()
    return f"room for {room} more"


def no_processes(world: World) -> str:
    """Neither agentd nor tmux can start processes."""
    room, lasting = world.chance.choice((0, 0, 1, 2)), world.chance.uniform(0.1, 0.6)
    pids = [process.pid for process in marked(str(world.daemon.bin))]
    with processes_limited(pids, room):
        _under(world, lasting)
    world.converge()
    return f"room for {room} more"


def prepare_terminals(world: World) -> None:
    """Give the world terminals of its own, and few."""
    if not Path("/dev/pts/.faults").exists() and os.environ.get("AGENTD_FAULTS_TERMINALS") is None:
        mount("-t", "devpts", "-o", f"newinstance,max={_TERMINALS},mode=600,ptmxmode=666", "devpts", "/dev/pts")
        mount("--bind", "/dev/pts/ptmx", "/dev/ptmx")
        os.environ["AGENTD_FAULTS_TERMINALS"] = str(_TERMINALS)
    assert world.agents


def no_terminals(world: World) -> str:
    """There are no pseudo-terminals left."""
    lasting = world.chance.uniform(0.1, 0.6)
    opened: list[int] = []
    try:
        with suppress(OSError):
            for _ in range(_TERMINALS + 1):
                opened += os.openpty()
            raise AssertionError("there are more terminals than was asked for")
        _under(world, lasting)
    finally:
        for descriptor in opened:
            os.close(descriptor)
    world.converge()
    return f"{len(opened) // 2} taken"


def prepare_no_inotify(world: World) -> None:
    """Start agentd where there are no inotify instances."""
    world.daemon.before_start = without_inotify
    world.daemon.flags = (*world.daemon.flags, "--interval=300ms")


def no_inotify(world: World) -> str:
    """There is no inotify: changes are seen at the resync interval."""
    operate(world, set())
    world.converge()
    return "not watched"


def prepare_small_disk(world: World) -> None:
    """Put runtime, state and sockets on small disks."""
    daemon = world.daemon
    disks = daemon.folder.with_name(f"{daemon.folder.name}-disks")
    disks.mkdir()
    daemon.runtime, daemon.state = disks / "run", disks / "state"
    daemon.api_socket, daemon.tmux_socket = daemon.runtime / "agentd.sock", daemon.runtime / "tmux.sock"
    for folder in (daemon.runtime, daemon.state):
        mount_small(folder, _SIZE)
    world.at_the_end.append(lambda: _give_back(disks))


def _give_back(disks: Path) -> None:
    for folder in disks.iterdir():
        unmount(folder)
        folder.rmdir()
    disks.rmdir()


@contextmanager
def filled(folder: Path, size: int) -> Iterator[None]:
    """Fill a small disk while the context is open."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            for block in (65536, 4096, 1):
                with suppress(OSError):
                    while file.tell() <= size:
                        file.write(b"x" * block)
            if os.statvfs(folder).f_bavail:
                raise AssertionError(f"{folder} could not be filled")
            yield
        finally:
            path.unlink()


@contextmanager
def _read_only(folder: Path) -> Iterator[None]:
    # Not mounted anew as read-only, which is refused while anybody has a file open for writing.
    folders = [folder, *(path for path in folder.iterdir() if path.is_dir())]
    for each in folders:
        make_immutable(each, immutable=True)
    try:
        with suppress(PermissionError):
            (folder / "probe").touch()
            raise AssertionError(f"{folder} can still be written")
        yield
    finally:
        for each in folders:
            make_immutable(each, immutable=False)


def _answers(world: World) -> bool:
    try:
        return world.daemon.health()["pid"] == world.daemon.pid
    except (OSError, AssertionError):
        return False


def no_disk(world: World) -> str:
    """The disk of runtime or state is full, or takes no new files, while agentd acts or is killed."""
    chance, daemon = world.chance, world.daemon
    way, killed, lasting = chance.choice(("full", "immutable")), chance.random() < 0.3, chance.uniform(0.1, 0.6)
    folder = chance.choice((daemon.runtime, daemon.runtime, daemon.state))
    with filled(folder, _SIZE) if way == "full" else _read_only(folder):
        _under(world, lasting, killed=killed)
    # Started where nothing could be written it may have refused to, at once or a moment later.
    world.await_true(lambda: not daemon.running or _answers(world), "agentd answers, or has ended")
    if not daemon.running:
        daemon.start(ready=False)
    world.converge()
    where = "runtime" if folder == daemon.runtime else "state"
    return f"{where} {way}{', agentd killed' if killed else ''}"
