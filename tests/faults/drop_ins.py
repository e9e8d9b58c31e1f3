"""Drop-ins are half written, renamed, removed, copied, unmounted, not renewed, and agentd is killed at every step.

Each agent but one has a file of its own. What a fault does not concern goes on untouched: the model knows how often
each agent was started, and holds agentd to it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping

from tests.faults.files import GARBAGE
from tests.faults.kills import await_death
from tests.faults.machine import mount, no_mounts, unmount
from tests.faults.points import Point, Trigger
from tests.faults.waits import pause
from tests.faults.world import World

_FOLDER, _FILES = "agentd.jcard.drop_in_folder", "agentd.daemon.config_files"
_INPUTS, _RECONCILER = "agentd.daemon.inputs", "agentd.supervise.reconciler"

POINTS = (
    Point("listed", _FOLDER, "_Look._list"),
    Point("file_read", _FOLDER, "_Look._read"),
    Point("looked", _FOLDER, "_Look.at"),
    Point("loaded", _FILES, "ConfigFiles._load", answered=True),
    Point("merged", _FILES, "ConfigFiles.merged"),
    Point("read", _FILES, "ConfigFiles.read"),
    Point("understood", _INPUTS, "Inputs.understand"),
    Point("before_taken", _INPUTS, "Inputs.take", before=True),
    Point("taken", _INPUTS, "Inputs.take"),
    Point("before_declared", _RECONCILER, "Reconciler.declare", before=True),
    Point("declared", _RECONCILER, "Reconciler.declare"),
    Point("before_kept", "agentd.daemon.folder_record", "FolderRecord.keep", before=True),
    Point("kept", "agentd.daemon.folder_record", "FolderRecord.keep"),
)
_REACHED = 0.8
"""Seconds in which a point that will be passed is passed."""
_STANDS = 0.25
"""Seconds after which a change that stands for 0.1 s has stopped what it stops."""
_FEWEST = 4
_GARBAGE = (
    b"",
    b"[[agents]]\nname = ",
    b"\xff\xfe\x00",
    b"agents = 3\n",
    b"[[agents]]\nharness = 'custom'\nname = 1\n",
)
_LEASE = '[drop_in]\nlease = "300ms"\n\n'

Mend = Callable[[], None]


def prepare_drop_ins(world: World) -> None:
    """Give each agent but the first a file of its own."""
    world.daemon.trigger = Trigger(POINTS)
    for name in list(world.agents)[1:]:
        world.drop_ins[name] = f"{name}.toml"
    world.write()
    world.judges.append(lambda: _amiss(world))


def broken_drop_ins(world: World) -> str:
    """Break one drop-in or all, kill agentd at a step of reading them, and mend what was broken."""
    chance, daemon = world.chance, world.daemon
    while len(world.agents) < _FEWEST:
        agent = world.add()
        world.drop_ins[agent.name] = chance.choice(("", "team/", "other/")) + f"{agent.name}.toml"
    for name, agent in list(world.agents.items()):
        if not agent.runs or not agent.enabled:
            world.change(name)
    world.write()
    world.converge()
    _seen(world)
    fault = chance.choice([name for name in sorted(_FAULTS) if name not in _MOUNTED or no_mounts() is None])
    victim = chance.choice(sorted(world.drop_ins))
    point = chance.choice((None, *POINTS))
    if point is not None:
        daemon.trigger.arm(point, chance.choice((1, 1, 2)))
    mend = _FAULTS[fault](world, victim)
    reached = False
    if point is not None:
        reached = await_death(world, _REACHED)
        daemon.kill()
        daemon.trigger.disarm()
        daemon.start(ready=False)
        _seen(world)
    pause(_STANDS)
    world.converge()
    mend()
    world.converge()
    step = "" if point is None else f", killed at {point.name}" if reached else ", killed"
    return f"{fault}{step}"


def _seen(world: World) -> None:
    """Wait until agentd has read the files."""

    def probe() -> bool:
        try:
            return bool(world.daemon.health()["config"]["files"])
        except (OSError, AssertionError, ValueError):
            return False

    world.await_true(probe, "agentd has read the files")


def _half_written(world: World, victim: str) -> Mend:
    path, text = world.daemon.drop_ins / world.drop_ins[victim], world.drop_in_text(victim).encode()
    # As in `tests.faults.files`: a half that could be a whole takes effect.
    half = text.find(b'"', len(text) // 2) + 1
    path.write_bytes(text[:half])
    return lambda: _rewritten(world, victim)


def _garbage(world: World, victim: str) -> Mend:
    path = world.daemon.drop_ins / world.drop_ins[victim]
    for _ in range(world.chance.randrange(1, 20)):
        path.write_bytes(world.chance.choice(GARBAGE))
        pause(0.005)
    return lambda: _rewritten(world, victim)


def _renamed(world: World, victim: str) -> Mend:
    folder, former = world.daemon.drop_ins, world.drop_ins[victim]
    name = f"{world.chance.choice(('', 'team/', 'new/'))}{victim}-{world.chance.randrange(1000)}.toml"
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / former).rename(folder / name)
    world.drop_ins[victim] = name
    return _nothing


def _copied(world: World, victim: str) -> Mend:
    """Under a name that comes later, so that the copy is in error until the first is removed."""
    folder, former = world.daemon.drop_ins, world.drop_ins[victim]
    copy = f"zz-{victim}-{world.chance.randrange(1000)}.toml"
    shutil.copy(folder / former, folder / f".{copy}")
    (folder / f".{copy}").rename(folder / copy)
    pause(world.chance.choice((0.0, 0.05, 0.2)))
    (folder / former).unlink()
    world.drop_ins[victim] = copy
    return _nothing


def _removed(world: World, victim: str) -> Mend:
    path = world.daemon.drop_ins / world.drop_ins.pop(victim)
    world.remove(victim)
    if path.parent != world.daemon.drop_ins and not [other for other in path.parent.iterdir() if other != path]:
        shutil.rmtree(path.parent)
    else:
        path.unlink()
    return _nothing


def _moved_away(world: World, _victim: str) -> Mend:
    folder = world.daemon.drop_ins
    away = folder.with_name("jcard.away")
    folder.rename(away)
    _change_in_jcard(world)

    def back() -> None:
        away.rename(folder)

    return back


def _unmounted(world: World, _victim: str) -> Mend:
    """A mount of the same device: the folder that is left is empty, and tells nothing by that."""
    folder = world.daemon.drop_ins
    store = folder.with_name("jcard.store")
    folder.rename(store)
    folder.mkdir()
    mount("--bind", str(store), str(folder))
    pause(_STANDS)
    try:
        if world.daemon.running:
            _seen(world)
    finally:
        unmount(folder)
    _change_in_jcard(world)

    def back() -> None:
        folder.rmdir()
        store.rename(folder)

    return back


def _lease_lost(world: World, victim: str) -> Mend:
    file = world.drop_ins.pop(victim)
    agent = world.agents[victim]
    world.daemon.write_drop_in(file, _LEASE + world.drop_in_text(victim))
    world.remove(victim)

    def renew() -> None:
        world.agents[victim], world.drop_ins[victim] = agent, file
        world.change(victim)
        world.daemon.write_drop_in(file, world.drop_in_text(victim))

    return renew


_FAULTS: Mapping[str, Callable[[World, str], Mend]] = {
    "half written": _half_written,
    "garbage": _garbage,
    "renamed": _renamed,
    "copied": _copied,
    "removed": _removed,
    "folder moved away": _moved_away,
    "folder unmounted": _unmounted,
    "lease lost": _lease_lost,
}
_MOUNTED = frozenset({"folder unmounted"})


def _rewritten(world: World, victim: str) -> None:
    world.change(victim)
    world.daemon.write_drop_in(world.drop_ins[victim], world.drop_in_text(victim))


def _change_in_jcard(world: World) -> None:
    """Change an agent that has no drop-in: the jcard is followed whatever becomes of the folder."""
    for name in world.agents:
        if name not in world.drop_ins:
            world.change(name)
    world.daemon.write_jcard(world.text())


def _nothing() -> None:
    """There is nothing to mend."""


def _amiss(world: World) -> Iterator[str]:
    """Where agentd says that an agent is declared by another file than it is."""
    folder = world.daemon.drop_ins
    if not folder.exists() or not any(folder.iterdir()):
        return
    for name, agent in world.daemon.agents().items():
        expected = world.daemon.jcard if name not in world.drop_ins else folder / world.drop_ins[name]
        if agent["source"] != str(expected):
            yield f"{name}: shown to be declared by {agent['source']}, it is {expected}"
