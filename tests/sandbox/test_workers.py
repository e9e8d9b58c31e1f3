"""Workers in a sandbox: one that only reads, and one with a worktree of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentd.model.pool import WorkerEvent, WorkerIsolation
from agentd.pool.collecting import collect
from agentd.pool.transcripts import transcript
from tests.pool.conftest import World, jcard_of
from tests.sandbox.conftest import Sandboxed
from tests.sandbox.test_worktree import git, repo

__all__ = ["repo"]


@pytest.fixture
def world(sandboxed: Sandboxed, repo: Path) -> World:
    """The daemon, and a repository with a file, both of the agents' user."""
    (repo / "a.txt").write_text("one\n")
    sandboxed.give(repo / "a.txt")
    git(sandboxed, repo, "add", ".")
    git(sandboxed, repo, "commit", "-q", "-m", "second")
    (sandboxed.daemon.folder / "outside").write_text("out of sight\n")
    sandboxed.start(jcard_of())
    return World(sandboxed.daemon, repo)


def output_of(world: World, task: str, isolation: WorkerIsolation) -> tuple[str, str]:
    """Have a worker run a script, and give its id and what it printed."""
    worker = world.spawn(task, isolation, provider="shell").id
    seen = world.observe(worker, WorkerEvent.EXITED)
    assert seen.exit is not None
    assert seen.exit.code == 0, (seen, world.run(lambda pool: transcript(pool, worker)))
    return worker, "\n".join(world.run(lambda pool: transcript(pool, worker)).lines)


@pytest.mark.thorough
def test_one_that_only_reads_cannot_change_what_it_reads(world: World, tmp_path: Path) -> None:
    task = (
        f"cat a.txt; echo two >>a.txt; touch new.txt; touch {world.repo}/x; cat {world.daemon.folder}/outside; exit 0"
    )
    worker, printed = output_of(world, task, WorkerIsolation.READ_ONLY)
    assert "one" in printed
    assert "Read-only file system" in printed
    assert "out of sight" not in printed
    assert [path.name for path in world.repo.iterdir() if path.name != ".git"] == ["a.txt"]
    assert (world.repo / "a.txt").read_text() == "one\n"
    work = world.run(lambda pool: collect(pool, worker, tmp_path / "out"))
    assert (work.patch_bytes, list(work.files)) == (0, [])


def test_one_in_a_sandbox_changes_its_worktree_alone(world: World, sandboxed: Sandboxed, tmp_path: Path) -> None:
    task = f"echo two >>a.txt; echo made >new.txt; touch {world.repo}/x; cat {world.daemon.folder}/outside; exit 0"
    worker, printed = output_of(world, task, WorkerIsolation.SANDBOXED)
    assert "out of sight" not in printed
    assert not (world.repo / "x").exists()
    assert (world.repo / "a.txt").read_text() == "one\n"
    work = world.run(lambda pool: collect(pool, worker, tmp_path / "out"))
    assert sorted(each.path for each in work.files) == ["a.txt", "new.txt"]
    patch = Path(str(work.patch)).read_bytes()
    (world.repo / "p").write_bytes(patch)
    git(sandboxed, world.repo, "apply", "--index", str(world.repo / "p"))
    assert (world.repo / "a.txt").read_text() == "one\ntwo\n"
