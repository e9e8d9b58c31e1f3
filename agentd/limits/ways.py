"""The ways to hold a run to its limits, of which the first that there is is taken: systemd, control groups v2, v1."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from agentd.model.limits import LIMIT_FIELDS, Enforcer, Limits
from agentd.process.cgroups.group import CONTROLLERS, Group, LimitError
from agentd.process.cgroups.hierarchies import UNIFIED, Mount, folder_of, folders_of, mounts, paths_of

log = structlog.get_logger(__name__)

_FOLDER: Final = "agentd"
"""Group in which those of the runs are made."""
_LEAF: Final = "agentd-daemon"
"""Group of version 2 for what was in the group above: a group that limits others holds no processes itself."""
_NEEDED: Final = tuple(dict.fromkeys(CONTROLLERS.values()))
_DELEGATED: Final = ("user.delegate", "trusted.delegate")
"""How systemd marks a group that it leaves to its owner; source: systemd.resource-control(5)."""
_BOOTED: Final = Path("/run/systemd/system")
"""There where systemd is the init; source: sd_booted(3)."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Which control groups a process is in, and where they are mounted."""

    places: Mapping[str, Mount]
    paths: Mapping[str, str]

    @classmethod
    def of(cls, process: Path = Path("/proc/self")) -> Surroundings:
        """Read those of a process, by its folder in /proc."""
        return cls(mounts(process / "mountinfo"), paths_of(process / "cgroup"))

    def folder(self, controller: str) -> Path | None:
        """The folder of its group."""
        path = self.paths.get(controller)
        return None if path is None else folder_of(self.places, controller, path)


@dataclass(slots=True)
class Groups:
    """Makes groups in folders that agentd may write."""

    enforcer: Enforcer
    bases: Mapping[str, Path]
    """In which folder those of the runs are made, by controller."""
    lacks: dict[str, str] = field(default_factory=dict)
    """The limits that it cannot hold, and why."""
    above: Path | None = None
    """Group of version 2 that is to be made ready first."""

    def of(self, run_id: str) -> Group:
        """The groups of a run."""
        return Group({controller: base / run_id for controller, base in self.bases.items()})

    def runs(self) -> set[str]:
        """Every run that there is a group of."""
        found: set[str] = set()
        for base in self.bases.values():
            try:
                # Not with pathlib, which asks for each of a group's 80 files whether it is a folder: 1 ms a hierarchy.
                with os.scandir(base) as entries:
                    found |= {entry.name for entry in entries if entry.is_dir()}
            except OSError:
                continue
        return found

    def make_ready(self) -> None:
        """Have groups below limit what is in them: once, before the first is made; blocks."""
        above, self.above = self.above, None
        if above is None:
            return
        runs = above / _FOLDER
        try:
            runs.mkdir(exist_ok=True)
            # Only the root of all may hold processes beside groups.
            if (above / "cgroup.type").exists():
                (above / _LEAF).mkdir(exist_ok=True)
                _empty(above, above / _LEAF)
        except OSError as error:
            log.warning("limits_not_ready", group=str(above), error=error.strerror)
        for controller in _NEEDED:
            try:
                for group in (above, runs):
                    (group / "cgroup.subtree_control").write_text(f"+{controller}")
            except OSError as error:
                reason = f"the controller {controller} cannot be enabled in {above}: {error.strerror}"
                self.lacks |= {name: reason for name in LIMIT_FIELDS if CONTROLLERS[name] == controller}


def _empty(group: Path, leaf: Path) -> None:
    for pid in (group / "cgroup.procs").read_text().split():
        try:
            (leaf / "cgroup.procs").write_text(pid)
        except ProcessLookupError:
            continue


def unified_groups(around: Surroundings, *, booted: bool | None = None) -> Groups | str:
    """Find out whether agentd may make groups of version 2 below its own; else say why not.

    Parameters
    ----------
    booted
        Whether systemd is this machine's init, which then says what is delegated.
    """
    own = around.folder(UNIFIED)
    if own is None:
        return "control groups of version 2 are not mounted"
    if own.name == _LEAF:
        own = own.parent
    if not all(os.access(path, os.W_OK) for path in (own, own / "cgroup.procs", own / "cgroup.subtree_control")):
        return f"agentd's own control group {own} is not delegated to it"
    if (_BOOTED.exists() if booted is None else booted) and not _is_delegated(own):
        return f"agentd's own control group {own} is systemd's: it is not delegated"
    try:
        there = (own / "cgroup.controllers").read_text().split()
    except OSError as error:
        return f"{own}: {error.strerror}"
    if not set(there) & set(_NEEDED):
        return f"{own} has none of the controllers {', '.join(_NEEDED)}"
    lacks = {
        name: f"the controller {controller} is not delegated to {own}"
        for name, controller in CONTROLLERS.items()
        if controller not in there
    }
    return Groups(Enforcer.UNIFIED, {UNIFIED: own / _FOLDER}, lacks, own)


def stay() -> None:
    """Move this process to where it is: the kernel is then ready to move others."""
    around = Surroundings.of()
    folder = around.folder("pids") or around.folder(UNIFIED)
    if folder is not None:
        with suppress(OSError):
            (folder / "cgroup.procs").write_text(str(os.getpid()))


def _is_delegated(group: Path) -> bool:
    for name in _DELEGATED:
        try:
            if os.getxattr(group, name) == b"1":
                return True
        except OSError:
            continue
    return False


def legacy_groups(around: Surroundings) -> Groups | str:
    """Find out whether agentd may make groups of version 1 below its own; else say why not."""
    if os.geteuid() != 0:
        return "only root makes control groups of version 1"
    bases = {}
    for controller in _NEEDED:
        # Below agentd's own, whose limits hold as well; or below the root, if its own is not in sight.
        place = around.places.get(controller)
        own = around.folder(controller) or (None if place is None else place.folder)
        if own is not None and os.access(own, os.W_OK):
            bases[controller] = own / _FOLDER
    if not bases:
        return "no control groups of version 1 are mounted that agentd may write"
    lacks = {
        name: "control groups of version 1 have no memory.high"
        if name == "memory_high"
        else f"the controller {controller} of version 1 is not mounted, or cannot be written"
        for name, controller in CONTROLLERS.items()
        if controller not in bases or name == "memory_high"
    }
    return Groups(Enforcer.LEGACY, bases, lacks)


def scope_groups(around: Surroundings, pid: int, scope: str) -> Group | None:
    """Find the groups that systemd made of a scope and put a process in; ``None`` while it is not in it."""
    paths = {name: path for name, path in paths_of(Path(f"/proc/{pid}/cgroup")).items() if path.endswith(f"/{scope}")}
    return Group(folders_of(around.places, paths)) if paths else None


def apply(group: Group, limits: Limits, *, everything: bool) -> dict[str, str]:
    """Set the limits of a group; says of those that are declared which do not hold, and why.

    Parameters
    ----------
    everything
        Whether to take away what is declared no longer, too.
    """
    failed: dict[str, str] = {}
    declared = limits.declared()
    for name in LIMIT_FIELDS:
        value = declared.get(name)
        if value is None and not everything:
            continue
        try:
            group.limit(name, value)
        except LimitError as error:
            if value is not None:
                failed[name] = str(error)
    return failed


def verify(group: Group, limits: Limits) -> dict[str, str]:
    """Say which of the declared limits a group does not hold, and why."""
    failed: dict[str, str] = {}
    for name, value in limits.declared().items():
        try:
            group.check(name, value)
        except LimitError as error:
            failed[name] = str(error)
    return failed
