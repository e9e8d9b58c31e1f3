"""Where control groups are: version 2 in one tree, version 1 in a tree for each controller.

Source: cgroups(7), proc(5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

UNIFIED: Final = ""
"""Name of the tree of version 2 among the controllers of version 1: /proc/PID/cgroup gives it none."""


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a tree is mounted."""

    folder: Path
    root: str
    """The group that the folder shows."""


def mounts(mountinfo: Path) -> Mapping[str, Mount]:
    """Find where each controller of version 1, and version 2, is mounted; nothing where that cannot be read."""
    found: dict[str, Mount] = {}
    try:
        lines = mountinfo.read_text(errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        mount, _, filesystem = line.partition(" - ")
        kind, _, options = (*filesystem.split(" "), "", "")[:3]
        fields = mount.split(" ")
        for name in {"cgroup2": [UNIFIED], "cgroup": options.split(",")}.get(kind, []):
            found.setdefault(name, Mount(Path(fields[4]), fields[3]))
    return found


def paths_of(cgroup: Path) -> Mapping[str, str]:
    """Read which group a process is in, by controller, from its /proc/PID/cgroup; nothing if it is gone."""
    try:
        lines = cgroup.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    groups = (line.split(":", 2) for line in lines)
    return {name: group[2] for group in groups for name in group[1].split(",")}


def folder_of(places: Mapping[str, Mount], name: str, path: str) -> Path | None:
    """Find the folder of a group, if it is below what is mounted."""
    place = places.get(name)
    if place is None or not path.startswith(place.root):
        return None
    return place.folder / path[len(place.root) :].lstrip("/")


def folders_of(places: Mapping[str, Mount], paths: Mapping[str, str]) -> Mapping[str, Path]:
    """Find the folder of each group that is below what is mounted."""
    found = ((name, folder_of(places, name, path)) for name, path in paths.items())
    return {name: folder for name, folder in found if folder is not None}
