"""The jcard and the secrets are replaced 100 times a second, in every way, with garbage in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.faults.waits import pause
from tests.faults.world import World
from tests.support.agents import jcard

_PACE = 0.01
GARBAGE = (
    b"",
    b"[[agents]]\nname = ",
    b"\xff\xfe\x00",
    b"agents = 3\n",
    b"[[agents]]\nharness = 'custom'\nname = 1\n",
)


def by_rename(path: Path, content: bytes) -> None:
    """Replace a file as editors do."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.rename(path)


def by_truncation(path: Path, content: bytes) -> None:
    """Write over a file, with a moment between its halves.

    The first ends inside a string: a half that could be a whole may take effect once it has stood for 0.1 s, which on a
    loaded machine it might.
    """
    half = content.find(b'"', len(content) // 2) + 1
    with path.open("wb", buffering=0) as file:
        file.write(content[:half])
        pause(0.002)
        file.write(content[half:])


def by_symlink(path: Path, content: bytes) -> None:
    """Swap a symlink, as config managers do."""
    number = time.monotonic_ns()
    target = path.with_name(f"..{path.name}-{number}")
    target.write_bytes(content)
    link = path.with_name(f".{path.name}.link")
    link.symlink_to(target.name)
    former = path.readlink() if path.is_symlink() else None
    link.rename(path)
    if former is not None:
        path.with_name(str(former)).unlink(missing_ok=True)


def by_absence(path: Path, content: bytes) -> None:
    """Remove a file, and write it a moment later."""
    path.unlink(missing_ok=True)
    pause(0.002)
    path.write_bytes(content)


_WAYS: dict[str, Callable[[Path, bytes], None]] = {
    "rename": by_rename,
    "truncate": by_truncation,
    "symlink": by_symlink,
    "remove": by_absence,
}


def jcard_storm(world: World) -> str:
    """The jcard is replaced 100 times a second, with garbage in between; agents it leaves alone are left alone."""
    chance = world.chance
    way = chance.choice((*_WAYS, "all"))
    count = chance.randrange(30, 100)
    victims = chance.sample(sorted(world.agents), min(2, len(world.agents)))
    agents = dict(world.agents)
    for number in range(count):
        write = _WAYS[way if way != "all" else chance.choice(sorted(_WAYS))]
        for name in victims:
            agents[name] = replace(agents[name], generation=world.agents[name].generation + 1 + number, enabled=True)
        text = jcard(*(agent.table(world.marks_folder) for agent in agents.values())).encode()
        write(world.daemon.jcard, chance.choice(GARBAGE) if chance.random() < 0.3 else text)
        pause(_PACE)
    for name in victims:
        world.agents[name] = replace(world.agents[name], generation=world.agents[name].generation + count)
        world.change(name)
    world.write()
    world.converge()
    return way


def secrets_storm(world: World) -> str:
    """A secret is replaced 100 times a second; who does not receive it is left alone, who does has the last value."""
    chance = world.chance
    way, count = chance.choice((*_WAYS, "all", "..data")), chance.randrange(30, 100)
    agent = world.add("plain")
    world.agents[agent.name] = replace(agent, secrets=("TOKEN",), starts=None)
    world.write()
    path = world.daemon.secrets / "TOKEN"
    for number in range(count):
        value = b"" if chance.random() < 0.1 else f"value-{number}".encode()
        if way == "..data":
            _swap_folder(world.daemon.secrets, value)
        else:
            _WAYS[way if way != "all" else chance.choice(sorted(_WAYS))](path, value)
        pause(_PACE)
    last = f"last-{count}"
    path.unlink(missing_ok=True)
    by_rename(path, last.encode())
    world.await_true(lambda: _has(world, agent.name, last), "the agent has the last value of its secret")
    world.remove(agent.name)
    world.write()
    world.converge()
    return way


def _swap_folder(folder: Path, value: bytes) -> None:
    """Replace the secret as Kubernetes does: a folder behind a symlink behind a symlink."""
    number = time.monotonic_ns()
    data, link, path = folder / f"..{number}", folder / "..data", folder / "TOKEN"
    data.mkdir()
    (data / "TOKEN").write_bytes(value)
    fresh = folder / "..data_tmp"
    fresh.symlink_to(data.name)
    fresh.rename(link)
    if not path.is_symlink() or path.readlink() != Path("..data/TOKEN"):
        path.unlink(missing_ok=True)
        path.symlink_to("..data/TOKEN")


def _has(world: World, name: str, value: str) -> bool:
    marks = world.marks.of(name)
    try:
        return bool(marks) and f"\0TOKEN={value}\0".encode() in Path(f"/proc/{marks[-1].pid}/environ").read_bytes()
    except OSError:
        return False
