"""A real agentd with a provider that needs no key, and a repository."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from agentd.model.pool import WorkerEvent, WorkerIsolation
from agentd.pool.checking import SpawnRequest
from agentd.pool.observing import DEFAULT_EVENTS, observe
from agentd.pool.pool import Pool
from agentd.pool.results.workers import Observation, Spawned
from agentd.pool.spawning import spawn
from agentd.settings.settings import resolve_settings
from tests.support.daemon import Daemon

T = TypeVar("T")

STAND_IN = Path(__file__).parents[2] / "examples/gateway/stand_in.py"
PATIENCE = 60.0
PROVIDER = "stand-in"


def git(folder: Path, *arguments: str) -> str:
    """Run git, with an author."""
    who = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    done = subprocess.run(["git", *who, "-C", folder, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@dataclass(frozen=True, slots=True)
class World:
    """What a test works with."""

    daemon: Daemon
    repo: Path

    def run(self, operation: Callable[[Pool], Awaitable[T]], **environ: str) -> T:
        """Run an operation of the pool."""
        daemon = self.daemon
        flags = {
            "config": str(daemon.jcard),
            "api_socket": str(daemon.api_socket),
            "tmux_socket": str(daemon.tmux_socket),
            "state_dir": str(daemon.folder / "state"),
            "secret_dir": str(daemon.secrets),
        }
        settings = resolve_settings(flags, {"HOME": str(daemon.folder)}, root=False)

        async def work() -> T:
            async with Pool(settings, {**daemon.environment(), **environ}) as pool:
                return await operation(pool)

        return asyncio.run(work())

    def spawn(
        self, task: str, isolation: WorkerIsolation = WorkerIsolation.WORKTREE, provider: str = PROVIDER
    ) -> Spawned:
        """Spawn a worker in the repository."""
        return self.run(lambda pool: spawn(pool, SpawnRequest(provider, task, str(self.repo), isolation)))

    def observe(self, worker: str, *wanted: WorkerEvent, cursor: str | None = None) -> Observation:
        """Wait for an event of a worker."""
        events = wanted or DEFAULT_EVENTS
        return self.run(lambda pool: observe(pool, [worker], events, patience=PATIENCE, cursor=cursor))


def jcard_of(pool: str = "", providers: str = "") -> str:
    """Write a jcard with the stand-in among the providers."""
    return f"""
[pool]
{pool}
[[pool.providers]]
id = "{PROVIDER}"
harness = "custom"
command = ["{sys.executable}", "-I", "-S", "{STAND_IN}"]
[[pool.providers]]
id = "shell"
harness = "custom"
command = ["/bin/sh", "-c"]
{providers}
"""


@pytest.fixture
def world(daemon: Daemon) -> World:
    """A running daemon, and a repository with a commit."""
    repo = daemon.folder / "repo"
    repo.mkdir()
    git(repo, "init", "--quiet")
    (repo / "a.txt").write_text("one\n")
    git(repo, "add", ".")
    git(repo, "commit", "--quiet", "--message", "one")
    daemon.write_jcard(jcard_of())
    daemon.start()
    return World(daemon, repo)
