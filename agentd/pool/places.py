"""The folder that a worker is to work in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from agentd.files.answering import within
from agentd.model.pool import WorkerIsolation
from agentd.pool.around import Around
from agentd.pool.checking import EXAMPLE
from agentd.pool.errors import Code, PoolError
from agentd.pool.worker_file import Place
from agentd.process.runner import RunnerError
from agentd.text.quoting import quote
from agentd.worktrees.git import GitError


def find_place(around: Around, repo: str, isolation: WorkerIsolation) -> Place:
    """Find the folder, and the repository that it is in; blocks.

    Raises
    ------
    PoolError
        If there is no such folder, or no repository where the isolation needs one.
    """
    folder = Path(os.path.realpath(Path(repo).expanduser()))
    try:
        there = bool(repo) and within(folder, folder.is_dir)
    except OSError as error:
        raise PoolError(Code.INVALID_ARGUMENT, f"repo: {folder}: {error.strerror}", EXAMPLE, repo=repo) from None
    if not there:
        what = "a file" if repo and folder.exists() else "not there"
        raise PoolError(
            Code.INVALID_ARGUMENT, f"repo: expected a folder, {quote(repo)} is {what}", EXAMPLE, repo=str(folder)
        )
    root, head, reason = _repository(around, folder)
    if isolation is not WorkerIsolation.NONE and (root is None or head is None):
        why = reason or "it has no commit"
        raise PoolError(
            Code.INVALID_ARGUMENT,
            f"repo: isolation {isolation} needs a git repository with a commit, and {folder} is none: {why}",
            f"agentctl spawn --isolation none --repo {repo} ...",
            repo=str(folder),
        )
    return Place(folder, root, head)


def _repository(around: Around, folder: Path) -> tuple[Path | None, str | None, str | None]:
    git = around.git(folder)
    try:
        asked = git.finish("rev-parse", "--show-toplevel")
        if asked.status != 0:
            return None, None, asked.reason
        root = Path(os.path.realpath(os.fsdecode(asked.out.rstrip(b"\n"))))
        return root, git.commit("HEAD"), None
    except (GitError, RunnerError) as error:
        return None, None, str(error)


def allowed_inside(place: Place, paths: Sequence[str]) -> tuple[str, ...]:
    """Give the paths relative to the repository.

    Raises
    ------
    PoolError
        If one leads out of it.
    """
    root = place.root or place.folder
    found = []
    for path in paths:
        real = Path(os.path.realpath(place.folder / path))
        if not path or not real.is_relative_to(root):
            raise PoolError(
                Code.INVALID_ARGUMENT,
                f"allowed path: expected a path in {root}, found {quote(path)}",
                f"{EXAMPLE} --allowed-path src",
                path=path,
            )
        found.append(str(real.relative_to(root)))
    return tuple(dict.fromkeys(found))
