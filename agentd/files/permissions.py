"""Who may change a file or folder, by its permission bits."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

_ROOT = 0
_ACL = "system.posix_acl_access"
_MOST_LINKS = 40
"""As many as Linux follows."""


def changed_by_others(path: str | int | Path, found: os.stat_result) -> str | None:
    """Say who, apart from root and the user we run as, may write a file or fill a folder; ``None`` if nobody.

    Parameters
    ----------
    path
        The file or folder, or a descriptor of it.
    found
        What ``stat`` says of it.
    """
    if not _is_ours(found):
        return f"is owned by user {_user(found.st_uid)}"
    if found.st_mode & stat.S_IWOTH:
        return "may be written by everybody"
    if not found.st_mode & stat.S_IWGRP:
        return None
    if found.st_gid != _ROOT:
        return f"may be written by group {_group(found.st_gid)}"
    # With an access control list, the group's bits are the most that anybody named in it gets.
    return "may be written by those in its access control list" if _has_list(path) else None


def replaced_by_others(folder: Path, name: str) -> str | None:
    """Say which folder lets others put another file in the place of an entry, or of what its symlinks lead to.

    Folders above `folder` are not looked at, unless a symlink leads there.

    Raises
    ------
    OSError
        If the way cannot be followed.
    """
    at, left, links = folder, [name], 0
    while left:
        part = left.pop()
        if part == "..":
            at = at.parent
            continue
        step = at / part
        entry, around = step.lstat(), at.stat()
        reason = changed_by_others(at, around)
        # In a sticky folder, such as /nix/store, only their owners replace entries.
        if reason is not None and not (around.st_mode & stat.S_ISVTX and _is_ours(around) and _is_ours(entry)):
            return f"{at} {reason}"
        if not stat.S_ISLNK(entry.st_mode):
            at = step
            continue
        links += 1
        if links > _MOST_LINKS:
            return f"{folder / name} leads through too many symlinks"
        target = step.readlink()
        left += reversed(target.parts[1:] if target.is_absolute() else target.parts)
        at = Path("/") if target.is_absolute() else at
    return None


def _is_ours(found: os.stat_result) -> bool:
    return found.st_uid in {_ROOT, os.geteuid()}


def _has_list(path: str | int | Path) -> bool:
    try:
        return _ACL in os.listxattr(path)
    except OSError:
        return False


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
