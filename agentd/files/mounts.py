"""What is mounted where, as the kernel lists it: to look at that touches none of the mounts."""

from __future__ import annotations

import re
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")
_POINT = 4


def mount_of(path: str) -> str | None:
    """Name the mount that a path without links is on, so that another one mounted there is told from it.

    ``None`` where the system does not say.
    """
    try:
        lines = _MOUNTS.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    best, found = "", None
    for line in lines:
        fields = line.split(" ", _POINT + 1)
        point = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[_POINT])
        inside = path == point or path.startswith(point if point == "/" else f"{point}/")
        # Of several at one place, the last covers the others.
        if inside and len(point) >= len(best):
            best, found = point, " ".join(fields[:3])
    return found
