"""The repositories of a world, the work that agents leave in their worktrees, and whether all of it is still there."""

from __future__ import annotations

import json
import stat
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.faults.failing_git import FailingGit
from tests.faults.oracle import lives
from tests.faults.world import Declared, World
from tests.worktrees.repositories import commit, git, make_repository


@dataclass(frozen=True, slots=True)
class Work:
    """Something that an agent did, and that must be found for ever."""

    what: str
    id: str
    """Of the blob or commit."""
    text: str | None = None
    """What a file says that holds it as well as git does; ``None`` once it was committed."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A worktree as git lists it."""

    path: Path
    head: str
    branch: str | None
    notes: tuple[str, ...]
    """Whether it is locked or its folder is missing, in git's words."""


class Trees:
    """What is true of the worktrees of a world."""

    def __init__(self, world: World) -> None:
        folder = world.daemon.folder
        self.world = world
        self.repositories = [make_repository(folder / name, a="1\n", b="2\n", c="3\n") for name in ("shop", "store")]
        for repo in self.repositories:
            git(repo, "branch", "old")
            (repo / "a.txt").write_text("later\n")
            commit(repo, "second")
        self.git = FailingGit(world.daemon.bin, self.repositories)
        self.folder = world.daemon.data / "worktrees"
        self.expected: dict[str, str | None] = {}
        """Commit that the worktree of an agent without work of its own must have checked out; ``None`` for any."""
        self.detached: set[str] = set()
        """Agents that left their branch."""
        self.works: list[Work] = []
        self._branches = 0
        world.judges.append(self)

    def agents(self) -> dict[str, Declared]:
        """The declared agents that have a worktree."""
        return {name: agent for name, agent in self.world.agents.items() if agent.checkout is not None}

    def fresh_branch(self) -> str:
        """A branch that there never was."""
        self._branches += 1
        return f"topic-{self._branches}"

    def files(self, name: str) -> dict[str, str]:
        """The files in the worktree of an agent."""
        return {file.name: file.read_text() for file in sorted((self.folder / name).glob("*.txt"))}

    def start_of(self, checkout: Mapping[str, str]) -> str:
        """The commit that a worktree is to start from."""
        return git(Path(checkout["repo"]), "rev-parse", checkout.get("base", "HEAD"))

    def work_in(self, name: str, kind: str) -> None:
        """Leave work in the worktree of an agent, as it would."""
        tree, number = self.folder / name, len(self.works)
        text = f"work {number} of {name}\n"
        file = tree / f"{number}.txt"
        if kind == "detached commit":
            git(tree, "checkout", "-q", "--detach")
            self.detached.add(name)
        if kind == "change" and name in self.expected:
            # Another time it would undo its own work.
            file = tree / "b.txt"
        file.write_text(text)
        blob = git(tree, "hash-object", file)
        what = f"{kind} in {file}"
        if kind.endswith("commit"):
            git(tree, "add", file)
            git(tree, "commit", "-q", "-m", text, "--only", file)
            self.works += [Work(what, git(tree, "rev-parse", "HEAD")), Work(what, blob)]
        elif kind == "staged":
            git(tree, "add", file)
            file.write_text(text + "and more\n")
            self.works += [Work(what, blob), Work(what, git(tree, "hash-object", file), text + "and more\n")]
        else:
            self.works.append(Work(what, blob, text))
        self.expected.pop(name, None)

    # -- the judgement

    def _broken(self) -> str:
        """Why git cannot list the worktrees of a repository."""
        for repo in self.repositories:
            done = subprocess.run(["git", "-C", repo, "worktree", "list"], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                return done.stderr
        return ""

    def listed(self, repo: Path) -> dict[Path, Listed]:
        """The worktrees of a repository, without its own, by path."""
        found = {}
        for entry in git(repo, "worktree", "list", "--porcelain", "-z").split("\0\0")[1:]:
            lines = entry.strip("\0").split("\0")
            words = dict(line.partition(" ")[::2] for line in lines if line)
            if "worktree" in words:
                path = Path(words["worktree"])
                notes = tuple(line for line in lines if line.startswith(("locked", "prunable")))
                branch = words["branch"].removeprefix("refs/heads/") if "branch" in words else None
                found[path] = Listed(path, words["HEAD"], branch, notes)
        return found

    def __call__(self) -> Iterator[str]:
        """Say what is not as it must be."""
        if broken := self._broken():
            yield f"git lists no worktrees: {broken}"
            return
        listed = {path: (repo, each) for repo in self.repositories for path, each in self.listed(repo).items()}
        for agent in self.agents().values():
            yield from self._amiss_of(agent, listed)
        yield from self._left_over(set(listed))
        for path, (_, each) in listed.items():
            # What a cleaning was killed at is for the next one.
            cut_off = (
                path.with_name(f"{path.name}.json").exists() and not path.exists() and path.name not in self.agents()
            )
            if each.notes and not cut_off:
                yield f"{path}: {', '.join(each.notes)}"
        for repo in self.repositories:
            yield from _unsound(repo)
        yield from self.lost()

    def _amiss_of(self, agent: Declared, listed: dict[Path, tuple[Path, Listed]]) -> Iterator[str]:
        name, path = agent.name, self.folder / agent.name
        assert agent.checkout is not None
        if path not in listed:
            yield f"{name}: no worktree of it is listed"
            return
        repo, found = listed[path]
        if str(repo) != agent.checkout["repo"]:
            yield f"{name}: its worktree is one of {repo}"
        if name not in self.detached and found.branch != agent.checkout.get("branch"):
            yield f"{name}: on {found.branch}, declared is {agent.checkout.get('branch')}"
        if found.head != (self.expected.get(name) or found.head):
            yield f"{name}: at {found.head}, expected {self.expected[name]}"
        if name in self.expected and (dirt := git(path, "status", "--porcelain", check=False)):
            yield f"{name}: not as it was checked out: {dirt}"
        known = (
            json.loads(path.with_name(f"{name}.json").read_text()) if path.with_name(f"{name}.json").exists() else {}
        )
        declared = {"repo": str(repo), "branch": agent.checkout.get("branch"), "base": agent.checkout.get("base")}
        if {key: known.get(key) for key in declared} != declared:
            yield f"{name}: known as {known}"
        if agent.checkout["isolation"] == "read_only" and stat.S_IMODE((path / "a.txt").stat().st_mode) & 0o222:
            yield f"{name}: not write-protected"
        if agent.runs:
            mark = self.world.current(name)
            if lives(mark) and Path(f"/proc/{mark.pid}/cwd").readlink() != path:
                yield f"{name}: works in {Path(f'/proc/{mark.pid}/cwd').readlink()}"

    def _left_over(self, listed: set[Path]) -> Iterator[str]:
        """What is beside the worktrees: each has a record, each record a worktree, and there is nothing else."""
        there = set(self.folder.iterdir()) if self.folder.exists() else set()
        folders = {path for path in there if path.is_dir()}
        records = {path.with_suffix("") for path in there if path.suffix == ".json"}
        # What a cleaning was killed at is for the next one.
        cut_off = {path for path in records - folders if path.name not in self.agents()}
        rubbish = {path.with_name(f"{path.name}~removed") for path in cut_off}
        there, folders = there - rubbish, folders - rubbish
        for path in sorted((folders | records | listed) - cut_off):
            lacks = [
                what for what, where in (("folder", folders), ("record", records), ("git", listed)) if path not in where
            ]
            if lacks:
                yield f"{path} is not known to: {', '.join(lacks)}"
        for path in sorted(there - folders):
            if path.suffix != ".json":
                yield f"left behind: {path}"
        for repo in self.repositories:
            for path in sorted((repo / ".git").rglob("*")):
                # An index of a look that was killed is in nobody's way, and goes with the worktree.
                if path.suffix == ".lock" and not path.name.startswith("agentd-index."):
                    yield f"left behind: {path}"

    def lost(self) -> list[str]:
        """The work that is nowhere any more."""
        known: set[str] = set()
        texts: set[str] = set()
        for repo in self.repositories:
            # Of all worktrees, their HEADs and indexes.
            objects = git(repo, "rev-list", "--objects", "--all", "--indexed-objects")
            known |= {line.partition(" ")[0] for line in objects.splitlines()}
            for path in self.listed(repo):
                texts |= {file.read_text() for file in path.glob("*.txt")}
        return [f"lost: {work.what}" for work in self.works if work.id not in known and work.text not in texts]


def _unsound(repo: Path) -> Iterator[str]:
    done = subprocess.run(
        ["git", "-C", repo, "fsck", "--connectivity-only", "--no-dangling", "--no-progress"],
        capture_output=True,
        text=True,
        check=False,
    )
    # What is wrong with a HEAD is only a notice.
    if done.returncode != 0 or done.stdout.strip() or done.stderr.strip():
        yield f"{repo} is not sound: {done.stdout}{done.stderr}"
