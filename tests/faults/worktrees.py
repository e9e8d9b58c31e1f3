"""Worktrees: agentd, agentctl or git dies while one is made, moved, set aside or removed; no work may be lost."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from agentd.cli.agentctl.entry import main as agentctl
from tests.faults.failing_git import HOLD, KILL, LATE, REFUSE, GitFault
from tests.faults.forked import ForkedDaemon, ForkedProcess
from tests.faults.points import Point, Trigger
from tests.faults.trees import Trees
from tests.faults.waits import pause
from tests.faults.worktree_points import WORKTREE_POINTS
from tests.faults.world import World
from tests.worktrees.repositories import commit, git

_REACHED = 1.5
"""Seconds in which a step that will be passed is passed."""
_CLEANED = 20.0
_FEW, _MANY = 2, 5
"""Agents with a worktree."""
_KINDS = ("file", "change", "staged", "commit", "detached commit")
"""What an agent may have done."""
_STEPS = {"worktree add": 10, "worktree move": 1, "worktree remove": 8, "worktree unlock": 1}
"""Calls of one kind that change files, of git told these words."""
_OTHERS = 3


@dataclass(frozen=True, slots=True)
class _Doing:
    """What is done with a worktree, and where it can go wrong."""

    points: tuple[str, ...]
    """First words of the names of fault points."""
    commands: tuple[str, ...]
    """What git is told."""


_MAKE = _Doing(("make",), ("worktree add", "worktree add", "worktree unlock"))
_ASIDE = _Doing(("aside", "aside", "make"), ("worktree move", "worktree move", "worktree add"))
_REPLACE = _Doing(("remove", "remove", "make"), ("worktree remove", "update-ref -d", "worktree add"))
_BASE = _Doing(
    ("base", "remove", "make"), ("update-ref --no-deref", "update-ref -d", "worktree remove", "worktree add")
)
_REMOVE = _Doing(("remove",), ("worktree remove", "update-ref -d"))
_RESTORE = _Doing(("restore",), ("worktree add", "update-ref -m", "read-tree", "worktree unlock"))
_SAVE = _Doing(("remove",), ("worktree remove", "update-ref -d", "update-ref -m", "add --all", "commit-tree"))


def prepare_worktrees(world: World) -> None:
    """Make two repositories, and agents with worktrees of them."""
    world.daemon.trigger = Trigger(WORKTREE_POINTS)
    trees = Trees(world)
    for isolation in ("worktree", "worktree", "read_only"):
        _add(world, trees, isolation)
    world.write()


def trees_of(world: World) -> Trees:
    """What is known of the worktrees of a world."""
    return next(judge for judge in world.judges if isinstance(judge, Trees))


def broken_worktrees(world: World) -> str:
    """agentd, agentctl or git is killed, hangs or refuses while worktrees are made, moved, set aside or removed."""
    trees, chance = trees_of(world), world.chance
    for name, agent in trees.agents().items():
        # Drawn for all, as who has a branch by now may have depended on how far git had come.
        works, kind = chance.random() < 0.4, chance.choice(_KINDS)
        if works and _isolation(agent.checkout) == "worktree":
            trees.work_in(name, kind)
    clean = chance.random() < 0.3
    if len(trees.agents()) >= _MANY or (clean and len(trees.agents()) > _FEW):
        return _cleaned(world, trees)
    before = dict(world.agents)
    way = chance.choice(("add", "branch", "branch", "repo", "base", "main", "isolation"))
    name, doing = _edit(world, trees, "add" if clean else way)
    touched = [each for each, agent in world.agents.items() if agent != before.get(each)]
    way = _broken_daemon(world, trees, name, doing, touched)
    world.converge()
    _await_git(world, trees)
    return way


def _await_git(world: World, trees: Trees) -> None:
    """Wait for a git that outlived whoever started it: the end of the world would find it."""
    world.await_true(lambda: not trees.git.held, "git that was held has gone on")


def _broken_daemon(world: World, trees: Trees, name: str, doing: _Doing, touched: list[str]) -> str:
    """Let agentd or its git fail at what was declared, then start agentd if it is dead."""
    chance, daemon = world.chance, world.daemon
    fault = _draw(world, doing)
    edited_again, in_its_absence = chance.random() < 0.6, chance.random() < 0.3
    if isinstance(fault, Point):
        daemon.trigger.arm(fault, 1)
    else:
        trees.git.arm(fault)
        for each in touched:
            # Any of them may have to try again.
            world.toll_of(each)
    world.write()
    dies = isinstance(fault, Point) or fault.both
    reached = _ends(daemon, _REACHED) if dies else _taken(trees)
    if isinstance(fault, GitFault) and fault.action == HOLD and reached:
        # It has to get there first; where it is killed then, by agentd or alone, depends on how fast that was.
        pause(0.2)
        if edited_again:
            _edit(world, trees, "branch", name)
            world.toll_of(name)
            world.write()
        else:
            daemon.kill()
    elif dies or not reached:
        daemon.kill()
    daemon.trigger.disarm()
    if not daemon.running:
        if in_its_absence:
            _edit(world, trees, "branch", name)
            world.toll_of(name)
            world.write()
        daemon.start(ready=False)
    trees.git.disarm()
    return f"{fault.name if isinstance(fault, Point) else fault}{'' if reached else ' (not passed)'}"


def _taken(trees: Trees) -> bool:
    try:
        trees.world.await_true(lambda: trees.git.taken, "git was run", _REACHED)
    except AssertionError:
        return False
    return True


def _draw(world: World, doing: _Doing) -> Point | GitFault:
    chance = world.chance
    kind = chance.choice(doing.points)
    point = chance.choice([point for point in WORKTREE_POINTS if point.step == kind])
    command = chance.choice(doing.commands)
    step = chance.randint(1, _STEPS.get(command, _OTHERS))
    both, late = chance.random() < 0.3, chance.uniform(0.05, 1.0)
    match chance.choice(("point", "point", "point", KILL, KILL, HOLD, LATE, REFUSE)):
        case "point":
            return point
        case str(action) if action == LATE:
            return GitFault(command, LATE, late, both=True)
        case action:
            return GitFault(command, action, step, both=both and action == KILL)


def _ends(daemon: ForkedDaemon, patience: float) -> bool:
    assert daemon.process is not None
    try:
        daemon.process.wait(patience)
    except subprocess.TimeoutExpired:
        return False
    return True


# -- what is declared


def _isolation(checkout: Mapping[str, str] | None) -> str:
    return "" if checkout is None else checkout["isolation"]


def _add(world: World, trees: Trees, isolation: str) -> str:
    agent = world.add()
    checkout = {"repo": str(world.chance.choice(trees.repositories)), "isolation": isolation}
    if isolation == "worktree":
        checkout["branch"] = trees.fresh_branch()
    world.agents[agent.name] = replace(agent, checkout=checkout)
    trees.expected[agent.name] = trees.start_of(checkout)
    return agent.name


def _edit(world: World, trees: Trees, what: str, name: str = "") -> tuple[str, _Doing]:
    """Declare something else of a worktree's agent; says which, and what follows from it."""
    chance = world.chance
    name = name or chance.choice(sorted(trees.agents()))
    if what == "add":
        return _add(world, trees, chance.choice(("worktree", "worktree", "read_only"))), _MAKE
    checkout = dict(world.agents[name].checkout or {})
    if what == "main":
        _commit_to_main(world, trees, Path(checkout["repo"]))
        world.change(name)
        return name, _REPLACE
    worked = name not in trees.expected
    if what == "base":
        if checkout.pop("base", None) is None:
            checkout["base"] = chance.choice(("old", "main~1"))
    else:
        checkout = _another(trees, checkout, what)
        trees.detached.discard(name)
    world.agents[name] = replace(world.agents[name], checkout=checkout)
    if what != "base" or not worked:
        trees.expected[name] = trees.start_of(checkout)
    world.change(name)
    return name, _BASE if what == "base" else _ASIDE if worked else _REPLACE


def _another(trees: Trees, checkout: Mapping[str, str], what: str) -> dict[str, str]:
    """Declare another repository, branch or isolation."""
    repo, isolation = checkout["repo"], checkout["isolation"]
    if what == "repo":
        repo = next(str(each) for each in trees.repositories if str(each) != repo)
    if what == "isolation":
        isolation = "read_only" if isolation == "worktree" else "worktree"
    if what == "branch":
        isolation = "worktree"
    branch = {"branch": trees.fresh_branch()} if isolation == "worktree" else {}
    base = {"base": checkout["base"]} if "base" in checkout else {}
    return {"repo": repo, "isolation": isolation, **branch, **base}


def _commit_to_main(world: World, trees: Trees, repo: Path) -> None:
    """Let the base of read-only checkouts move on."""
    (repo / "a.txt").write_text(f"{git(repo, 'rev-parse', 'HEAD')}\n")
    commit(repo, "another")
    for name, agent in trees.agents().items():
        if agent.checkout is not None and agent.checkout["repo"] == str(repo) and "branch" not in agent.checkout:
            trees.expected[name] = trees.start_of(agent.checkout)
            world.change(name)


# -- agentctl worktrees clean


def _cleaned(world: World, trees: Trees) -> str:
    """Remove agents, kill the cleaning of their worktrees, and clean again or declare them again."""
    chance = world.chance
    force, again = chance.random() < 0.6, chance.random() < 0.3
    names = chance.sample(sorted(trees.agents()), min(len(trees.agents()) - 1, chance.choice((1, 2))))
    fault = _draw(world, _SAVE if force else _REMOVE)
    former = {name: world.agents[name] for name in names}
    before = {name: trees.files(name) for name in names}
    for name in names:
        world.remove(name)
    world.write()
    world.converge()
    trigger = Trigger(WORKTREE_POINTS)
    if isinstance(fault, Point):
        trigger.arm(fault, 1)
    else:
        trees.git.arm(fault)
    process = _clean(world, trigger, force=force)
    if isinstance(fault, GitFault) and fault.action == HOLD and _taken(trees):
        pause(0.2)
        process.kill()
    reached = process.wait(_CLEANED) < 0 or trees.git.taken
    trigger.disarm()
    trees.git.disarm()
    if again:
        for name, agent in former.items():
            world.agents[name] = agent
            if name in trees.expected:
                trees.expected[name] = None
            else:
                trees.detached.add(name)
            world.change(name)
        world.write()
        world.converge()
    else:
        world.await_true(lambda: _clean_again(world, trees, force=force), "cleaning ends well")
        if force:
            _restored(world, trees, before)
        world.converge()
    _await_git(world, trees)
    return f"{fault.name if isinstance(fault, Point) else fault}{'' if reached else ' (not passed)'}"


def _restored(world: World, trees: Trees, before: Mapping[str, Mapping[str, str]]) -> None:
    """Kill a restoration, restore again, and clean: all that was in a worktree with work must have been there."""
    daemon = world.daemon
    for name in sorted(each for each in before if (daemon.data / "snapshots" / each).exists()):
        trigger, fault = Trigger(WORKTREE_POINTS), _draw(world, _RESTORE)
        if isinstance(fault, Point):
            trigger.arm(fault, 1)
        else:
            trees.git.arm(fault)
        process = _agentctl(world, trigger, "worktrees", "restore", name)
        if isinstance(fault, GitFault) and fault.action == HOLD and _taken(trees):
            pause(0.2)
            process.kill()
        process.wait(_CLEANED)
        trees.git.disarm()
        world.await_true(partial(_restored_again, world, name), f"{name} is restored")
        if (found := trees.files(name)) != before[name]:
            raise AssertionError(f"{name} was restored as {found}, and was {before[name]}")
        world.await_true(lambda: _clean_again(world, trees, force=True), "what was restored is removed again")


def _restored_again(world: World, name: str) -> bool:
    return _agentctl(world, Trigger(WORKTREE_POINTS), "worktrees", "restore", name).wait(_CLEANED) == 0


def _clean(world: World, trigger: Trigger, *, force: bool) -> ForkedProcess:
    return _agentctl(world, trigger, "worktrees", "clean", *(["--force"] if force else []))


def _agentctl(world: World, trigger: Trigger, *argv: str) -> ForkedProcess:
    daemon = world.daemon
    environment = daemon.environment(
        AGENTD_API_SOCKET=str(daemon.api_socket),
        AGENTD_TMUX_SOCKET=str(daemon.tmux_socket),
        AGENTD_CONFIG=str(daemon.jcard),
        AGENTD_DATA_DIR=str(daemon.data),
    )
    return daemon.fork_program(agentctl, list(argv), environment, trigger, daemon.folder / "agentctl.log")


def _clean_again(world: World, trees: Trees, *, force: bool) -> bool:
    """Clean, and say whether all is gone that had to go."""
    status = _clean(world, Trigger(WORKTREE_POINTS), force=force).wait(_CLEANED)
    left = {path.name for path in trees.folder.iterdir() if path.is_dir()} - set(trees.agents())
    may_stay = set() if force else {name for name in left if name not in trees.expected}
    return status == 0 and left <= may_stay
