"""Who may do what with a file or folder, by its permission bits."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

from agentd.files.links import followed
from agentd.model.user import AgentUser

_ROOT = 0
_X_ANY = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
_ACL = "system.posix_acl_access"


def may_read(user: AgentUser, found: os.stat_result) -> bool:
    """Whether a user may read a file, or list a folder."""
    return user.uid == _ROOT or _permitted(user, stat.S_IROTH, found)


def may_enter(user: AgentUser, found: os.stat_result) -> bool:
    """Whether a user may enter a folder."""
    return user.uid == _ROOT or _permitted(user, stat.S_IXOTH, found)


def may_fill(user: AgentUser, found: os.stat_result) -> bool:
    """Whether a user may make files in a folder."""
    return may_enter(user, found) and (user.uid == _ROOT or _permitted(user, stat.S_IWOTH, found))


def may_execute(user: AgentUser, found: os.stat_result) -> bool:
    """Whether a user may execute a file; root only what somebody may."""
    return bool(found.st_mode & _X_ANY) if user.uid == _ROOT else _permitted(user, stat.S_IXOTH, found)


def may_change(user: AgentUser, found: os.stat_result) -> bool:
    """Whether a user may write a file or folder, or give itself the right to."""
    return user.uid in {_ROOT, found.st_uid} or _permitted(user, stat.S_IWOTH, found)


def is_private(found: os.stat_result, uid: int) -> bool:
    """Whether nobody but a user (and root) may do anything with what is theirs."""
    return found.st_uid == uid and not found.st_mode & (stat.S_IRWXG | stat.S_IRWXO)


def _permitted(user: AgentUser, bit: int, found: os.stat_result) -> bool:
    """Whether the class of users that decides, by the first that fits, has a right; `bit` is that of others."""
    if user.uid == found.st_uid:
        return bool(found.st_mode & bit << 6)
    if found.st_gid == user.gid or found.st_gid in user.groups:
        return bool(found.st_mode & bit << 3)
    return bool(found.st_mode & bit)


def closed_folder(folder: Path, user: AgentUser) -> Path | None:
    """Name the first folder, from the root down to `folder` itself, that the user may not enter.

    Raises
    ------
    OSError
        If one of them cannot be looked at.
    """
    resolved = folder.resolve()
    for each in (*reversed(resolved.parents), resolved):
        if not may_enter(user, each.stat()):
            return each
    return None


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
        return f"is owned by user {user_name(found.st_uid)}"
    if not found.st_mode & (stat.S_IWOTH | stat.S_IWGRP) or _is_read_only(path):
        return None
    if found.st_mode & stat.S_IWOTH:
        return "may be written by everybody"
    if found.st_gid != _ROOT:
        return f"may be written by group {group_name(found.st_gid)}"
    # With an access control list, the group's bits are the most that anybody named in it gets.
    return "may be written by those in its access control list" if _has_list(path) else None


def replaced_by_others(folder: Path, around: os.stat_result, entry: os.stat_result) -> str | None:
    """Say whether a folder lets others put another file in the place of an entry, which is no symlink or not followed.

    Parameters
    ----------
    around, entry
        What ``stat`` says of the folder, and ``lstat`` of the entry.
    """
    reason = changed_by_others(folder, around)
    # In a sticky folder, such as /nix/store, only their owners replace entries.
    if reason is None or (around.st_mode & stat.S_ISVTX and _is_ours(around) and _is_ours(entry)):
        return None
    return f"{folder} {reason}"


def bent_by_others(link: Path) -> str | None:
    """Say which folder lets others make a symlink lead elsewhere; that of the symlink itself is not looked at.

    Raises
    ------
    OSError
        If the way cannot be followed.
    """
    start = link.parent.resolve() / link.name
    reasons: list[str | None] = []

    def look(step: Path, entry: os.stat_result) -> None:
        if reasons:
            reasons.append(replaced_by_others(step.parent, step.parent.stat(), entry))
        elif step == start:
            reasons.append(None)

    followed(start, look)
    return next(filter(None, reasons), None)


def _is_ours(found: os.stat_result) -> bool:
    return found.st_uid in {_ROOT, os.geteuid()}


def _is_read_only(path: str | int | Path) -> bool:
    """Whether it is mounted so: the folder of a ConfigMap is, and may by its bits be written by everybody."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _has_list(path: str | int | Path) -> bool:
    try:
        return _ACL in os.listxattr(path)
    except OSError:
        return False


def user_name(uid: int) -> str:
    """Give the name of a user, or the number of one without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """Give the name of a group, or the number of one without a name."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
