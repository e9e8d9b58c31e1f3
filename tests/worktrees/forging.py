"""What an agent can make of its own index and objects, that git itself would never write."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from tests.worktrees.repositories import git

_CHECKSUM = 20
"""Bytes of SHA-1 at the end of an index."""


def add_under(tree: Path, path: bytes, content: bytes, mode: str = "100644") -> None:
    """Have the index of a worktree name a path that git would refuse, and that is not looked for in the folder."""
    innocent = b"-" * len(path)
    blob = object_of(tree, "blob", content)
    git(tree, "update-index", "--add", "--cacheinfo", f"{mode},{blob},{innocent.decode()}")
    git(tree, "update-index", "--skip-worktree", "--", innocent.decode())
    _rewrite(tree, innocent, path)


def have_tree(tree: Path, forged: str) -> None:
    """Have the index of a worktree say that it is written as this tree already."""
    git(tree, "read-tree", "HEAD")
    for path in tree.iterdir():
        # git looks again into what may have changed since it wrote the index, and then trusts it no longer.
        os.utime(path, (1_000_000_000, 1_000_000_000))
    git(tree, "update-index", "--refresh")
    honest = bytes.fromhex(git(tree, "write-tree"))
    _rewrite(tree, honest, bytes.fromhex(forged))


def tree_of(tree: Path, *entries: tuple[str, bytes, str]) -> str:
    """Write a tree of entries (mode, name, object) as they are."""
    content = b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(found) for mode, name, found in entries)
    return object_of(tree, "tree", content)


def object_of(tree: Path, kind: str, content: bytes) -> str:
    """Write an object, whatever git thinks of it."""
    done = subprocess.run(
        ["git", "-C", tree, "hash-object", "-t", kind, "-w", "--literally", "--stdin"],
        input=content,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        capture_output=True,
        check=True,
    )
    return done.stdout.decode().strip()


def _rewrite(tree: Path, old: bytes, new: bytes) -> None:
    index = Path(git(tree, "rev-parse", "--absolute-git-dir")) / "index"
    data = index.read_bytes()[:-_CHECKSUM]
    assert data.count(old) == 1
    data = data.replace(old, new)
    index.write_bytes(data + hashlib.sha1(data, usedforsecurity=False).digest())
