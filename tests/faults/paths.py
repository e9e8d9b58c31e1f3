"""Paths of agentd's own are removed, moved or replaced: sockets, locks, records, reports, the FIFO, and their folders.

At any step, in any order, while agentd, its tmux client, the tmux server or a launcher lives or dies. What must hold is
told by the agents' marks and by the process table: no run is doubled, none that nobody ended is lost, and no second
tmux server stands beside the first.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.faults.kills import await_death, operate
from tests.faults.points import POINTS, Point
from tests.faults.tmux import client_of
from tests.faults.waits import pause
from tests.faults.world import BOUND, BrokenPromiseError, World

_INTERVAL = "--interval=300ms"
_REACHED = 0.5
"""Seconds in which a step is reached, or is not in this round."""
_START = 20.0
_BUSY, _DEFAULT_GRACE = 0.5, 30.0


def prepare_paths(world: World) -> None:
    """Look for lost paths often, and judge the number of tmux servers."""
    world.daemon.flags = (*world.daemon.flags, _INTERVAL)
    world.judges.append(lambda: _too_many_servers(world))


@dataclass(frozen=True, slots=True)
class _Fault:
    """What one round does."""

    targets: tuple[str, ...]
    way: str
    """``removed``, ``moved`` or ``replaced``."""
    obstacle: str
    """What replaces them."""
    fate: str
    """Agentd's."""
    also: str
    """Who else is killed."""
    busy: bool
    point: Point

    @classmethod
    def drawn(cls, chance: Random) -> _Fault:
        """Draw one."""
        return cls(
            tuple(chance.sample(sorted(TARGETS), chance.choice((1, 1, 2, 3, len(TARGETS))))),
            chance.choice(("removed", "removed", "moved", "replaced")),
            chance.choice(sorted(_OBSTACLES)),
            chance.choice(("lives", "lives", "SIGKILL before", "SIGKILL after", "at a step", "keep", "SIGTERM")),
            chance.choice(("", "", "", "client", "launcher", "server")),
            chance.random() < _BUSY,
            chance.choice(POINTS),
        )

    def lose(self, world: World) -> list[Callable[[], None]]:
        """Take the paths away; returns what takes away again what was put there instead."""
        aside = world.daemon.folder / "aside"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        give_back: list[Callable[[], None]] = []
        for number, path in enumerate(path for target in self.targets for path in TARGETS[target](world)):
            try:
                if self.way != "removed":
                    path.rename(aside / str(number))
                elif path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
                if self.way == "replaced":
                    give_back.append(_OBSTACLES[self.obstacle](path))
            except OSError:
                # It went with its folder, or by agentd's own hand; or agentd was quicker.
                continue
        return give_back


def lost_paths(world: World) -> str:
    """Its own paths are removed, moved or replaced, whoever lives or dies meanwhile."""
    fault, daemon = _Fault.drawn(world.chance), world.daemon
    victim = world.chance.choice(world.running()) if world.running() else None
    touched: set[str] = set()
    before = {name: world.current(name).pid for name in world.running()}
    if fault.fate == "lives":
        give_back = fault.lose(world)
        _end_also(world, fault.also, victim)
        if fault.busy:
            operate(world, touched)
        if fault.way == "replaced":
            pause(0.1)
    else:
        give_back = _end_daemon(world, fault, touched, before)
        _end_also(world, fault.also, victim)
        _start_beside(world)
    for each in give_back:
        each()
    if not daemon.running:
        daemon.start(ready=False)
    stays = {name: pid for name, pid in before.items() if name not in touched}
    if fault.also in ("server", "launcher") or fault.fate == "SIGTERM":
        stays = {}
    world.await_true(lambda: _all_shown(world, stays), "every run goes on, supervised")
    # How often and why agents were restarted was told by what is gone.
    world.unknown_toll()
    # An agent whose record is gone has the default grace period until it is declared.
    world.converge(BOUND + _DEFAULT_GRACE)
    return " ".join((fault.way, fault.obstacle if fault.way == "replaced" else "", "agentd", fault.fate, fault.also))


def _end_daemon(world: World, fault: _Fault, touched: set[str], before: dict[str, int]) -> list[Callable[[], None]]:
    """End agentd, and lose the paths before or after that."""
    daemon, give_back = world.daemon, list[Callable[[], None]]()
    lost = fault.fate not in ("at a step", "SIGKILL before")
    if fault.fate == "at a step":
        daemon.trigger.arm(fault.point, 1)
        operate(world, touched)
        await_death(world, _REACHED)
    elif fault.fate == "SIGKILL after":
        if fault.busy:
            operate(world, touched)
        give_back = fault.lose(world)
    elif fault.fate in ("keep", "SIGTERM"):
        # It ends in order, whatever is gone when it is told to.
        if fault.fate == "keep":
            daemon.kill()
            daemon.start("--on-shutdown=keep", ready=False)
            world.await_true(lambda: _all_shown(world, before), "every run was adopted")
        give_back = fault.lose(world)
        daemon.signal(signal.SIGTERM)
        await_death(world, _START)
    daemon.kill()
    daemon.trigger.disarm()
    return give_back if lost else fault.lose(world)


def _all_shown(world: World, pids: dict[str, int]) -> bool:
    """Whether the API shows these runs.

    Raises
    ------
    BrokenPromiseError
        If one does not live any more.
    """
    for name, pid in pids.items():
        if not Path(f"/proc/{pid}").exists():
            raise BrokenPromiseError(f"{name}: its run, pid {pid}, was lost\n{world.explain()}")
    try:
        if world.daemon.health()["config"]["loaded_at"] is None:
            return False
        told = world.daemon.agents()
    except (OSError, AssertionError, ValueError):
        return False
    return all(name in told and told[name]["pid"] == pid for name, pid in pids.items())


def _start_beside(world: World) -> None:
    """Start agentd on what is there: it runs, or it says that it cannot."""
    daemon = world.daemon
    daemon.start(ready=False)
    assert daemon.process is not None
    try:
        status = daemon.process.wait(1.0)
    except subprocess.TimeoutExpired:
        return
    if status != 1:
        raise BrokenPromiseError(f"agentd ended with status {status}, expected that it runs, or 1\n{world.explain()}")


def _end_also(world: World, what: str, victim: str | None) -> None:
    if what == "client" and (client := client_of(world)) is not None:
        _kill(client)
    elif what == "server":
        for pid in servers(world):
            _kill(pid)
    elif what == "launcher" and victim is not None:
        status = Path(f"/proc/{world.current(victim).pid}/stat")
        if status.exists():
            _kill(_parent(int(status.parent.name)))


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _kill(pid: int) -> None:
    if pid > 1 and Path(f"/proc/{pid}").exists():
        os.kill(pid, signal.SIGKILL)


def servers(world: World) -> list[int]:
    """Every tmux server that was told to serve the world's socket."""
    names = [name for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208 (fast)
    found = [int(name) for name in names if _is_server(int(name), world)]
    # A child that has not executed its program yet looks like the server.
    return [pid for pid in found if not Path(f"/proc/{pid}").exists() or _parent(pid) not in found]


def _is_server(pid: int, world: World) -> bool:
    try:
        name = Path(f"/proc/{pid}/comm").read_text()
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return name == "tmux: server\n" and os.fsencode(world.daemon.tmux_socket) in words


def _too_many_servers(world: World) -> Iterator[str]:
    found = servers(world)
    if len(found) != 1:
        yield f"tmux servers {found}, expected one"


# -- what is lost


def _runs(world: World) -> Path:
    socket_path = world.daemon.tmux_socket
    return socket_path.with_name(socket_path.name + ".runs")


def _in_runs(*suffixes: str) -> Callable[[World], Iterable[Path]]:
    def found(world: World) -> Iterable[Path]:
        folder = _runs(world)
        return [path for path in folder.iterdir() if path.name.endswith(suffixes)] if folder.is_dir() else []

    return found


TARGETS: dict[str, Callable[[World], Iterable[Path]]] = {
    "tmux socket": lambda world: [world.daemon.tmux_socket],
    "API socket": lambda world: [world.daemon.api_socket],
    "locks": lambda world: [
        world.daemon.tmux_socket.with_name("tmux.sock.pid"),
        world.daemon.api_socket.with_name("agentd.sock.pid"),
        world.daemon.state / "agentd.pid",
    ],
    "records": _in_runs(".record"),
    "reports": _in_runs(".pid", ".exit"),
    "FIFO": _in_runs("hints"),
    "runtime directory": lambda world: [_runs(world)],
    "folder of the sockets": lambda world: [world.daemon.runtime],
    "journal": lambda world: [world.daemon.state / "journal"],
    "transcripts": lambda world: [world.daemon.state / "agents"],
    "state directory": lambda world: [world.daemon.state],
}


def _unlink(path: Path) -> None:
    """Remove what was put there, unless it went with its folder, or something else has taken its place."""
    with contextlib.suppress(OSError):
        path.unlink()


def _put_file(path: Path) -> Callable[[], None]:
    with path.open("x") as file:
        file.write("a stranger's")
    return lambda: _unlink(path)


def _put_folder(path: Path) -> Callable[[], None]:
    path.mkdir(mode=0o755)
    return lambda: shutil.rmtree(path, ignore_errors=True)


def _put_link(path: Path) -> Callable[[], None]:
    path.symlink_to("nowhere")
    return lambda: _unlink(path)


def _put_socket(path: Path) -> Callable[[], None]:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(5)

    def remove() -> None:
        server.close()
        _unlink(path)

    return remove


_OBSTACLES: dict[str, Callable[[Path], Callable[[], None]]] = {
    "a file": _put_file,
    "a folder": _put_folder,
    "a link": _put_link,
    "a program's socket": _put_socket,
}
