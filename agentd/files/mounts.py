"""What is mounted where, as the kernel lists it: to look at that touches none of the mounts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

_DESCRIPTORS = Path("/proc/self/fdinfo")
_MOUNT_ID = re.compile(r"^mnt_id:\s*(\d+)$", re.MULTILINE)
_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")
_POINT = 4


def mount_of(path: str) -> str | None:
    """Name the mount that a path without links is on, so that another one mounted there is told from it.

    ``None`` where the system does not say.
    """
    best, found = "", None
    for fields, point in _mounts():
        inside = path == point or path.startswith(point if point == "/" else f"{point}/")
        # Of several at one place, the last covers the others.
        if inside and len(point) >= len(best):
            best, found = point, " ".join(fields[:3])
    return found


def mount_id(descriptor: int) -> int | None:
    """Give the number of the mount that an open file is on; ``None`` where the system does not say."""
    try:
        match = _MOUNT_ID.search((_DESCRIPTORS / str(descriptor)).read_text("ascii"))
    except OSError:
        return None
    return None if match is None else int(match[1])


def mount_point(number: int | None) -> str | None:
    """Give the folder that a mount is mounted on, by its number; ``None`` where the system does not say."""
    return next((point for fields, point in _mounts() if fields[0] == str(number)), None)


def _mounts() -> Iterator[tuple[Sequence[str], str]]:
    """Give the fields of each mount, and the folder it is mounted on."""
    try:
        lines = _MOUNTS.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        fields = line.split(" ", _POINT + 1)
        yield fields, _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[_POINT])
