"""Starts that go wrong: two daemons at once, and what is no socket of ours at a socket's path."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.faults.kills import operate
from tests.faults.world import BrokenPromiseError, World

_REFUSAL = 20.0
"""Seconds; a program that is no tmux gets 10 s to greet."""


def daemons_at_once(world: World) -> str:
    """Several daemons are started at once: one stays, and the agents notice nothing."""
    daemon, count, killed = world.daemon, world.chance.choice((2, 2, 3)), world.chance.random() < 0.7
    if killed:
        daemon.kill()
    others = [daemon.fork() for _ in range(count)]
    contenders = others if killed else [*others, daemon.process]
    world.await_true(lambda: sum(each is not None and each.poll() is None for each in contenders) == 1, "one is left")
    for each in contenders:
        if each is not None and each.poll() is None:
            daemon.process = each
        elif each is not None and each.returncode != 1:
            raise BrokenPromiseError(f"a second agentd ended with status {each.returncode}, expected 1")
    operate(world, set())
    world.converge()
    return f"{count} after a crash" if killed else f"{count} beside one that runs"


def something_at_the_path(world: World) -> str:
    """A folder, a file, a FIFO or a foreign program stands where a socket should be: refused, and nothing is lost."""
    daemon, chance = world.daemon, world.chance
    path = chance.choice((daemon.api_socket, daemon.api_socket, daemon.tmux_socket))
    kinds = sorted(_OBSTACLES) if path == daemon.api_socket else sorted({*_OBSTACLES} - {"a foreign program"})
    kind = chance.choice(kinds)
    daemon.kill()
    aside = path.with_name("aside")
    path.rename(aside)
    remove = _OBSTACLES[kind](path)
    try:
        daemon.start(ready=False)
        assert daemon.process is not None
        status = daemon.process.wait(_REFUSAL)
        if status != 1:
            raise BrokenPromiseError(f"{kind} at {path}: agentd ended with status {status}, expected 1")
    except subprocess.TimeoutExpired:
        raise BrokenPromiseError(f"{kind} at {path}: agentd started nevertheless") from None
    finally:
        remove()
        aside.rename(path)
    daemon.start(ready=False)
    operate(world, set())
    world.converge()
    return f"{kind} for {'the API' if path == daemon.api_socket else 'tmux'}"


def _folder(path: Path) -> Callable[[], None]:
    path.mkdir()
    return path.rmdir


def _file(path: Path) -> Callable[[], None]:
    path.write_text("not a socket")
    return path.unlink


def _fifo(path: Path) -> Callable[[], None]:
    os.mkfifo(path)
    return path.unlink


def _foreign(path: Path) -> Callable[[], None]:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(5)

    def remove() -> None:
        server.close()
        path.unlink()

    return remove


_OBSTACLES: dict[str, Callable[[Path], Callable[[], None]]] = {
    "a folder": _folder,
    "a file": _file,
    "a FIFO": _fifo,
    "a foreign program": _foreign,
}
