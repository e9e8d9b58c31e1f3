"""Real repositories, and worktrees of theirs that agentd made."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from agentd.model.spec import Checkout
from agentd.model.user import AgentUser
from agentd.process.runner import Runner
from agentd.worktrees.ensure import ensure_worktree
from agentd.worktrees.git import Git
from agentd.worktrees.record import Worktree, read_record

NOW = 1_770_000_000.0


def invoking_user(home: Path) -> AgentUser:
    """Whom the tests run as, with another home."""
    name = pwd.getpwuid(os.geteuid()).pw_name
    return AgentUser(name, os.geteuid(), os.getegid(), tuple(os.getgroups()), home, "/bin/sh", switch=False)


_SETTINGS = (
    *("-c", "user.name=Ada", "-c", "user.email=ada@example.org"),
    # Two more processes after each commit, to look whether there is something to tidy.
    *("-c", "maintenance.auto=false"),
)


def git(at: Path, *arguments: str | Path, check: bool = True) -> str:
    """Run git as an operator would, without anybody's settings."""
    done = subprocess.run(
        ["git", "-C", at, *_SETTINGS, *arguments],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not check or done.returncode == 0, f"git {arguments}: {done.stderr}"
    return done.stdout.removesuffix("\n")


def make_repository(path: Path, **files: str) -> Path:
    """Make a repository with one commit on main."""
    subprocess.run(["git", "init", "-q", "--template=", "-b", "main", path], check=True, capture_output=True)
    for name, text in (files or {"a": "one\ntwo\n"}).items():
        (path / f"{name}.txt").write_text(text)
    (path / ".gitignore").write_text("*.log\nbuild/\n")
    commit(path, "first")
    return path


def commit(at: Path, message: str) -> str:
    """Commit everything, and give the id."""
    git(at, "add", "--all")
    git(at, "commit", "-q", "-m", message)
    return git(at, "rev-parse", "HEAD")


@dataclass
class World:
    """A repository and a folder of worktrees."""

    folder: Path
    repo: Path = field(init=False)
    git: Git = field(init=False)

    def __post_init__(self) -> None:
        self.repo = make_repository(self.folder / "shop")
        self.git = Git(Runner(invoking_user(self.folder), {"PATH": os.environ["PATH"]}), self.folder)

    def checkout(self, name: str = "alice", branch: str | None = "", base: str | None = None) -> Checkout:
        """Declare a worktree; an empty branch is the default one."""
        own = f"agentd/{name}" if branch == "" else branch
        return Checkout(self.repo, self.folder / "worktrees" / name, own, base)

    def make(self, checkout: Checkout | None = None) -> Worktree:
        """Make a worktree, or use it again."""
        checkout = checkout or self.checkout()
        ensure_worktree(self.git, checkout, checkout.path.name, NOW)
        return self.worktree(checkout.path)

    def worktree(self, path: Path) -> Worktree:
        """What is known of a worktree."""
        record = read_record(path)
        assert record is not None
        return Worktree(path, record)

    def close(self) -> None:
        """Remove everything, write-protected or not."""
        subprocess.run(["chmod", "-R", "u+w", self.folder], check=True)
        shutil.rmtree(self.folder)
