"""Check the paths of a git tree before they are written as files: the agents' user can forge any.

git refuses such paths when it adds a file (``verify_path``), but not when it lists a forged tree.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from agentd.text.quoting import quote
from agentd.worktrees.git import GitError

LINK: Final = "120000"
EXECUTABLE: Final = "100755"
SUBMODULE: Final = "160000"
_FILE: Final = "100644"
# Group-writable, as git wrote it long ago.
_MODES: Final = frozenset({_FILE, EXECUTABLE, LINK, SUBMODULE, "100664"})

LONGEST_PATH: Final = 4096
"""Bytes (PATH_MAX)."""
_LONGEST_NAME: Final = 255
"""Bytes (NAME_MAX)."""
_DEEPEST: Final = 200
_MOST: Final = 100_000
"""Files that differ."""

_ENTRY: Final = re.compile(r"([0-7]{6}) (?:blob|commit) ([0-9a-f]{40}(?:[0-9a-f]{24})?)\t(.+)", re.ASCII | re.DOTALL)
_IGNORED_BY_HFS: Final = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
_GIT_FOLDERS: Final = frozenset({".git", "git~1"})
"""Names of the git directory; on Windows it also has the second."""


@dataclass(frozen=True, slots=True)
class TreeFile:
    """One file of a tree."""

    path: str
    mode: str
    """git's mode: `LINK`, `EXECUTABLE`, `SUBMODULE`, or another for plain files."""
    object: str


def tree_file(entry: str) -> TreeFile:
    """Parse an entry of ``ls-tree -r -z``.

    Raises
    ------
    GitError
        If it is not one.
    """
    found = _ENTRY.fullmatch(entry)
    if found is None or found[1] not in _MODES:
        raise GitError(f"git listed {quote(entry)} as a file of the worktree, which is not one")
    return TreeFile(found[3], found[1], found[2])


def check_files(files: Iterable[TreeFile]) -> None:
    """Check that files can be written into one folder, and nowhere else.

    Raises
    ------
    GitError
        If a path leads out of the folder or into the git directory, occurs twice, or leads through another file.
    """
    paths: set[str] = set()
    for file in files:
        problem = _problem(file.path) or ("occurs twice" if file.path in paths else None)
        if problem is not None:
            raise GitError(f"the worktree has the path {quote(file.path)}, which {problem}: nothing is taken from it")
        paths.add(file.path)
        if len(paths) > _MOST:
            raise GitError(f"more than {_MOST} files of the worktree differ: nothing is taken from it")
    for path in paths:
        through = next((folder for folder in _folders(path) if folder in paths), None)
        if through is not None:
            raise GitError(
                f"the worktree has the path {quote(path)}, and {quote(through)} as a file: nothing is taken from it"
            )


def leads_outside(link: TreeFile, target: bytes, links: Mapping[str, TreeFile]) -> bool:
    """Whether a link leads, or may lead, out of the folder that it is written into.

    Parameters
    ----------
    link
        The link; its path was checked.
    target
        Its target.
    links
        All links that are written, by `folded` path; a link through another one counts as leading out.
    """
    text = os.fsdecode(target)
    if text.startswith("/") or not text or "\0" in text or len(target) > LONGEST_PATH:
        return True
    at = link.path.split("/")[:-1]
    for part in text.split("/"):
        if part in ("", "."):
            continue
        if at and folded("/".join(at)) in links:
            return True
        if part == "..":
            if not at:
                return True
            at.pop()
        else:
            at.append(part)
    return False


def folded(path: str) -> str:
    """Normalise a path for file systems that ignore case and Unicode composition."""
    return unicodedata.normalize("NFC", path).casefold()


def _folders(path: str) -> Iterable[str]:
    parts = path.split("/")
    return ("/".join(parts[:length]) for length in range(1, len(parts)))


def _problem(path: str) -> str | None:
    parts = path.split("/")
    if path.startswith("/"):
        return "is absolute"
    if any(part in ("", ".", "..") for part in parts):
        return 'has an empty, "." or ".." part'
    if any(_is_git_folder(part) for part in parts):
        return "leads into a folder of git's own"
    if len(os.fsencode(path)) > LONGEST_PATH or any(len(os.fsencode(part)) > _LONGEST_NAME for part in parts):
        return "is too long"
    return "is too deep" if len(parts) > _DEEPEST else None


def _is_git_folder(name: str) -> bool:
    """Whether any file system takes this for the name of the git directory."""
    plain = _IGNORED_BY_HFS.sub("", name)
    # Windows ends a name at a colon, and ignores dots and spaces at its end.
    return any(folded(re.split(r"[:\\]", text)[0].rstrip(". ")) in _GIT_FOLDERS for text in (name, plain))
