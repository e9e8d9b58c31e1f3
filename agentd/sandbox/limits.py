"""Limits of one run's memory and processes, by control groups (version 1) that only root can change.

The launcher joins them before it becomes the sandbox: the agents' user may write ``cgroup.procs`` of the run's own
groups and of no other, so nothing leaves them. Version 2 lets a user move a process only within what was delegated to
that user, which tmux and agentd would both have to be in; there the limits are not enforced, and that is said.

Source: the kernel's Documentation/admin-guide/cgroup-v1/{cgroups,memory,pids}.rst.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from agentd.model.limits import Limits as Declared
from agentd.model.user import AgentUser

log = structlog.get_logger(__name__)

_MEMORY, _PIDS = "memory", "pids"
_FOLDER: Final = "agentd"
_OF_SANDBOX: Final = 2
"""Processes of the sandbox itself, which do not count against the agent's."""


@dataclass(frozen=True, slots=True)
class Enforced:
    """What was set for a run."""

    joined_by: tuple[str, ...] = ()
    """Files that a process joins the groups by."""
    missing: tuple[str, ...] = ()
    """Fields of the jcard that nothing enforces."""


class Limits:
    """Makes the groups of runs, and removes them.

    Parameters
    ----------
    user
        Whom the agents run as.
    proc
        Where the kernel says what is mounted and where we are.
    """

    def __init__(self, user: AgentUser, proc: Path = Path("/proc/self")) -> None:
        self._user = user
        self._bases = _bases(proc) if os.geteuid() == 0 else {}

    @property
    def missing(self) -> tuple[str, ...]:
        """Fields that cannot be enforced on this machine."""
        return tuple(field for field, name in (("memory", _MEMORY), ("pid_limit", _PIDS)) if name not in self._bases)

    def make(self, run_id: str, spec: Declared) -> Enforced:
        """Make the groups of a run that is about to be launched."""
        joined, missing = [], list(self.missing)
        for field, name, values in (
            ("memory", _MEMORY, {"memory.limit_in_bytes": spec.memory, "memory.memsw.limit_in_bytes": spec.memory}),
            ("pid_limit", _PIDS, {"pids.max": (spec.pid_limit or 0) + _OF_SANDBOX}),
        ):
            if name not in self._bases:
                continue
            group = self._bases[name] / run_id
            try:
                group.mkdir(parents=True, exist_ok=True)
                for file, value in values.items():
                    # Swap is counted only where the kernel was told to.
                    if (group / file).exists():
                        (group / file).write_text(str(value))
                os.chown(group / "cgroup.procs", self._user.uid, -1)
            except OSError as error:
                log.warning("limit_not_set", run=run_id, group=str(group), error=error.strerror)
                missing.append(field)
                continue
            joined.append(str(group / "cgroup.procs"))
        return Enforced(tuple(joined), tuple(missing))

    def ran_out_of_memory(self, run_id: str) -> bool:
        """Whether the kernel ended a process of a run, its agent or a child, for want of memory."""
        if _MEMORY not in self._bases:
            return False
        try:
            lines = (self._bases[_MEMORY] / run_id / "memory.oom_control").read_text().splitlines()
        except OSError:
            return False
        return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in lines)

    def remove(self, run_id: str) -> None:
        """Remove the groups of a run that has ended."""
        for base in self._bases.values():
            try:
                (base / run_id).rmdir()
            except FileNotFoundError:
                continue
            except OSError as error:
                log.warning("limit_not_removed", run=run_id, group=str(base / run_id), error=error.strerror)


def _bases(proc: Path) -> dict[str, Path]:
    """Where groups are made: below the one that agentd is in, whose limits hold as well."""
    try:
        mounts = (proc / "mountinfo").read_text(errors="replace").splitlines()
        groups = (proc / "cgroup").read_text(errors="replace").splitlines()
    except OSError:
        return {}
    own = {name: path for line in groups for _, names, path in [line.split(":", 2)] for name in names.split(",")}
    found = {}
    for line in mounts:
        mount, _, filesystem = line.partition(" - ")
        kind, _, options = (*filesystem.split(" "), "", "")[:3]
        root, folder = mount.split(" ")[3:5]
        for name in {_MEMORY, _PIDS} & set(options.split(",")) if kind == "cgroup" else ():
            path = own.get(name, "/")
            below = os.path.relpath(path, root) if path.startswith(root) else "."
            base = Path(folder) / below
            if os.access(base, os.W_OK):
                found[name] = base / _FOLDER
    return found
