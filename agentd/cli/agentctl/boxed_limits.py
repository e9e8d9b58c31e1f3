"""Hold a command in an agent's sandbox to the agent's limits, in a control group beside those of its runs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from agentd.limits.ways import Groups, Surroundings, apply, legacy_groups, unified_groups
from agentd.model.limits import Limits
from agentd.process.cgroups.group import Group

_REMOVE_TRIES, _REMOVE_PAUSE = 50, 0.02


@contextmanager
def held(limits: Limits, daemon: int | None, extra: int) -> Iterator[dict[str, str]]:
    """Be in a group that limits, with all that is started meanwhile; gives which limits do not hold, and why.

    Parameters
    ----------
    daemon
        Process of agentd, below whose group it is made; without one, below our own.
    extra
        Processes of the sandbox, which do not count against the agent's.
    """
    if limits.pid_limit is not None:
        ours = sum(1 for _ in Path("/proc/self/task").iterdir())
        limits = replace(limits, pid_limit=limits.pid_limit + extra + ours)
    if not limits.declared():
        yield {}
        return
    process = Path("/proc/self" if daemon is None else f"/proc/{daemon}")
    found = [find(Surroundings.of(process)) for find in (unified_groups, legacy_groups)]
    way = next((each for each in found if isinstance(each, Groups)), None)
    if way is None:
        yield dict.fromkeys(limits.declared(), "; ".join(map(str, found)))
        return
    before = Surroundings.of()
    group = way.of(f"try-{os.getpid()}")
    try:
        way.make_ready()
        group.make()
        failed = apply(group, limits, everything=False)
        group.join(os.getpid())
    except OSError as error:
        failed = dict.fromkeys(limits.declared(), f"{error.filename or way.enforcer}: {error.strerror}")
    try:
        yield {name: way.lacks.get(name, reason) for name, reason in failed.items()}
    finally:
        _leave(group, before)


def _leave(group: Group, before: Surroundings) -> None:
    """Go back to where we were, and remove the group; where that fails it stays, empty."""
    for controller in group.folders:
        place = before.places.get(controller)
        # The root, if the group that we were in is not in sight.
        former = before.folder(controller) or (None if place is None else place.folder)
        if former is not None:
            with suppress(OSError):
                (former / "cgroup.procs").write_text(str(os.getpid()))
    for _ in range(_REMOVE_TRIES):
        try:
            group.remove()
        except OSError:
            # What the sandbox ended with is still on its way out.
            time.sleep(_REMOVE_PAUSE)  # noqa: TID251 (at the end of a command)
        else:
            return
