"""git runs as the agents' user, who can have it say anything: that is an error of git's, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Unpack

import pytest

from agentd.process.runner import Finished, Runner, RunnerError, RunOptions
from agentd.worktrees.changes import read_changes
from agentd.worktrees.ensure import ensure_worktree
from agentd.worktrees.git import Git, GitError
from agentd.worktrees.inspect import inspect
from agentd.worktrees.record import RecordError, Worktree
from agentd.worktrees.removal import Allowed, remove
from tests.worktrees.repositories import NOW, World, invoking_user

_OBJECT = b"0123456789abcdef0123456789abcdef01234567"
_ANSWERS = (
    *(b"", b"\n", b"\0", b"\xff\xfe", b"x", b"-1\n", b"9" * 5000, b"1e3\n", b"/\0/\n", b"$(id)\n", b"\x1b[2J\n"),
    *(_OBJECT + b"\n", _OBJECT + b" missing\n", _OBJECT + b" blob 99999999999999999999\n", _OBJECT + b" blob 3\nab"),
    *(
        b"100644 blob " + _OBJECT + b"\t../../x\0",
        b"120000 blob " + _OBJECT + b"\tl\0",
        b"M\0",
        b"A\0x\0",
        b"1\t1\tx\0",
    ),
    *(
        b"?? ../x/\0",
        b"!!\0",
        b"S /etc/shadow\0",
        b"worktree \0HEAD x\0locked\0\0",
        b"refs/heads/x\n",
        b"--output=/x\n",
    ),
)


class LyingRunner(Runner):
    """Runs the true program, or answers anything in its place."""

    def __init__(self, world: World, chance: random.Random) -> None:
        super().__init__(invoking_user(world.folder), {"PATH": "/usr/bin:/bin"})
        self._chance = chance
        self._true = world.git.runner

    def run(self, argv: Sequence[str], **options: Unpack[RunOptions]) -> Finished:
        if argv[0] != "git" or self._chance.random() < 0.6:
            return self._true.run(argv, **options)
        take = options.get("take")
        answer = b"".join(self._chance.choices(_ANSWERS, k=self._chance.choice((1, 1, 2, 5))))
        if take is not None:
            take(answer)
        return Finished(self._chance.choice((0, 0, 0, 0, 1, 128, -9)), b"" if take else answer, "fatal: \x1b[2J")


def everything(git: Git, worktree: Worktree) -> None:
    changes = read_changes(git, worktree)
    files = changes.files()
    changes.commits()
    changes.patch()
    found = changes.tree_files(frozenset(file.path for file in files))
    changes.read(found, lambda _: lambda _: None, 10_000)


@pytest.mark.timeout(60)
def test_whatever_git_says_is_at_worst_an_error_of_its_own(world: World, tmp_path: Path) -> None:
    chance = random.Random(1)
    worktree = world.make()
    (worktree.path / "new.txt").write_text("work\n")
    lying = Git(LyingRunner(world, chance), world.folder)
    doings: list[Callable[[], object]] = [
        lambda: everything(lying, worktree),
        lambda: inspect(lying, worktree),
        lambda: ensure_worktree(lying, world.checkout(base="main"), "alice", NOW),
        lambda: remove(lying, worktree, Allowed(), NOW),
    ]
    errors = []
    for _ in range(120):
        try:
            chance.choice(doings)()
        except (GitError, RecordError, RunnerError) as error:
            errors.append(str(error))
    assert len(errors) > 20
    assert max(map(len, errors)) < 4000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w"]
