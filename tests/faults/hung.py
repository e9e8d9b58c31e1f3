"""File systems under paths that users name (jcard, secrets, prompt, workdir, PATH, repo) do not answer for a while."""

from __future__ import annotations

import contextlib
import http
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from tests.faults.kills import operate
from tests.faults.machine import no_mounts
from tests.faults.waits import pause
from tests.faults.world import BOUND, BrokenPromiseError, World
from tests.support.hung import HungMount, why_not
from tests.worktrees.repositories import commit, git

_QUICK = 1.0
"""Seconds within which the API answers, whatever hangs."""
_LASTING = (0.0, 0.2, 1.0, 2.5, 4.0)
"""Seconds that it lasts after what is done meanwhile; agentd gives a look up after two."""
_END = 15.0
"""Seconds in which agentd ends, its agents included, whose longest grace period is 3 s."""
_PLACES = ("workdir", "prompt", "path", "repo", "secret")
"""Each a folder of its own, and an agent that needs it."""
_STEPS = ("launch", "running", "stopping", "killed", "SIGTERM")


def lacks_hanging() -> str | None:
    """What the machine lacks."""
    return why_not() or no_mounts()


def prepare_hung(world: World) -> None:
    """Declare an agent for each kind of path."""
    daemon = world.daemon
    daemon.jcard = daemon.folder / "conf" / "jcard.toml"
    daemon.jcard.parent.mkdir()
    for place in _PLACES:
        _folder(world, place).mkdir(parents=True)
    (_folder(world, "workdir") / "desk").mkdir()
    (_folder(world, "prompt") / "prompt.md").write_text("Work.")
    (_folder(world, "path") / "sh").symlink_to("/bin/sh")
    (_folder(world, "secret") / "value").write_text("value")
    (daemon.secrets / "HUNG").symlink_to(_folder(world, "secret") / "value")
    repo = _folder(world, "repo") / "main"
    repo.mkdir()
    git(repo, "init", "--quiet", "--initial-branch=main")
    (repo / "a.txt").write_text("a\n")
    commit(repo, "first")
    here = str(world.marks_folder)
    _declare(world, checkout={"workdir": str(_folder(world, "workdir") / "desk")})
    _declare(world, checkout={"workdir": here, "prompt_file": str(_folder(world, "prompt") / "prompt.md")})
    _declare(world, path=f"{_folder(world, 'path')}:/usr/bin:/bin")
    _declare(world, checkout={"repo": str(repo), "isolation": "worktree", "branch": "work"})
    _declare(world, secrets=("HUNG",))
    world.write()


def _folder(world: World, place: str) -> Path:
    return world.daemon.folder / "mnt" / place


def _declare(world: World, **values: object) -> None:
    agent = world.add()
    world.agents[agent.name] = replace(agent, **values)  # type: ignore[arg-type]  # fields of Declared


def _needing(world: World) -> list[str]:
    """The agents that need one of the folders."""
    return [name for name, agent in world.agents.items() if agent.checkout or agent.path or agent.secrets]


@dataclass(frozen=True, slots=True)
class _Fault:
    """What one round does."""

    places: tuple[str, ...]
    step: str
    lasting: float
    gone: bool
    """Whether it is unmounted while those who hang in it hang on."""
    started_in_it: bool
    """Whether agentd is started again while it hangs."""

    @classmethod
    def drawn(cls, chance: Random) -> _Fault:
        """Draw one."""
        return cls(
            tuple(chance.sample((*_PLACES, "conf", "secrets"), chance.choice((1, 1, 2, 3, 7)))),
            chance.choice(_STEPS),
            chance.choice(_LASTING),
            chance.random() < 0.3,
            chance.random() < 0.7,
        )

    @property
    def can_edit(self) -> bool:
        """Whether the jcard can be written while it lasts."""
        return "conf" not in self.places


def hung_paths(world: World) -> str:
    """File systems under paths that users name do not answer for a while, at any step."""
    fault, daemon, chance = _Fault.drawn(world.chance), world.daemon, world.chance
    needing = _needing(world)
    victim, touched = chance.choice(needing), set(needing)
    others = [name for name in world.running() if name not in touched and world.agents[name].restart == "always"]
    other = chance.choice(others) if others else None
    for name in needing:
        world.toll_of(name)
    if fault.step == "stopping":
        world.change(victim)
        world.write()
    with _hanging(world, fault) as let_go:
        if fault.step == "launch":
            world.kill(victim)
            if fault.can_edit:
                world.change(chance.choice(needing))
                world.write()
        if fault.step in ("killed", "SIGTERM"):
            _end(world, fault)
        else:
            _go_on(world, other, touched)
            if fault.can_edit:
                operate(world, touched)
        _watch(world, fault.lasting)
        let_go()
        if not daemon.running:
            daemon.start()
        _watch(world, 0.2)
        for name in needing:
            world.toll_of(name)
        world.converge()
    return f"{fault.step} {' '.join(sorted(fault.places))}{' gone' if fault.gone else ''}"


@contextlib.contextmanager
def _hanging(world: World, fault: _Fault) -> Iterator[Callable[[], None]]:
    """Let the folders hang; gives what lets them go, which the end does in any case."""
    folders = {"conf": world.daemon.jcard.parent, "secrets": world.daemon.secrets}
    mounts: list[HungMount] = []

    def let_go() -> None:
        for mount in mounts:
            if fault.gone:
                mount.detach()
            else:
                mount.release()

    try:
        for place in fault.places:
            mount = HungMount(folders.get(place) or _folder(world, place))
            mounts.append(mount)
        yield let_go
    finally:
        for mount in mounts:
            mount.release()


def _end(world: World, fault: _Fault) -> None:
    """End agentd while it hangs, and perhaps start it."""
    daemon = world.daemon
    # So that it hangs in it by now.
    _watch(world, 0.3)
    if fault.step == "killed":
        daemon.kill()
    else:
        world.unknown_toll()
        assert daemon.process is not None
        daemon.signal(signal.SIGTERM)
        try:
            status = daemon.process.wait(_END)
        except subprocess.TimeoutExpired:
            raise BrokenPromiseError(f"agentd did not end within {_END:g} s\n{world.explain()}") from None
        if status != 0:
            raise BrokenPromiseError(f"agentd ended with status {status}\n{world.explain()}")
    if fault.started_in_it:
        daemon.start()


def _go_on(world: World, other: str | None, touched: set[str]) -> None:
    """See that an agent that needs nothing of it is restarted meanwhile."""
    if other is None:
        return
    touched.add(other)
    before = world.current(other).run_id
    world.kill(other)
    world.await_true(
        lambda: world.current(other).run_id != before, f"{other}, which needs nothing of it, goes on", BOUND
    )


def _watch(world: World, seconds: float) -> None:
    """Hold the API to answering at once for so long.

    Raises
    ------
    BrokenPromiseError
        If two answers in a row are late: one may be, on a machine that is busy.
    """
    if not world.daemon.running:
        pause(seconds)
        return
    until, late = time.monotonic() + seconds, 0
    while True:
        begun = time.monotonic()
        answer = world.daemon.request("GET", "/v1/agents")
        took = time.monotonic() - begun
        late = late + 1 if took > _QUICK or answer.status != http.HTTPStatus.OK else 0
        if late > 1:
            raise BrokenPromiseError(f"the API took {took:.1f} s to say {answer.status}\n{world.explain()}")
        if time.monotonic() > until and not late:
            return
        pause(0.05)
