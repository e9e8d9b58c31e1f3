"""Hides where an agent is about to work from the sandboxes that run already: they were made before it was declared."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from agentd.files.links import inside
from agentd.files.worker import in_thread
from agentd.model.spec import AgentSpec, AgentType, SandboxKind
from agentd.model.user import AgentUser
from agentd.sandbox.granted import Granted
from agentd.sandbox.rules import Access, Rule

log = structlog.get_logger(__name__)

_PROGRAM: Final = "agentd.sandbox.cover_program"
_LIMIT: Final = 5.0
"""Seconds; it takes 0.05."""


@dataclass(frozen=True, slots=True)
class Boxed:
    """A sandboxed agent that runs."""

    spec: AgentSpec
    pid: int
    """Of bubblewrap."""


class Coverings:
    """Knows what each sandbox that runs hides.

    Parameters
    ----------
    user
        Whom the agents run as.
    """

    def __init__(self, user: AgentUser) -> None:
        self._user = user
        self._hidden: dict[str, frozenset[Path]] = {}
        """What the sandbox of an agent hides; missing for one that a former daemon made."""

    def note(self, agent: str, rules: Iterable[Rule]) -> None:
        """Remember what the sandbox of a launch hides."""
        self._hidden[agent] = frozenset(rule.path for rule in rules if rule.access in (Access.HIDDEN, Access.EMPTY))

    async def cover(self, spec: AgentSpec, running: Iterable[Boxed]) -> None:
        """Hide where an agent works from the sandboxes of others that show it.

        What a program in one has open there stays open to it. Where it fails that is logged, and nobody is stopped.
        """
        others = [each for each in running if each.spec.name != spec.name]
        if not others:
            return
        await in_thread("covering", partial(self._cover, spec, others))

    def _cover(self, spec: AgentSpec, others: Iterable[Boxed]) -> None:
        root = Path(os.path.realpath(Granted.of(spec).root))
        showing = [each for each in others if self._shows(each, root)]
        able = [each for each in showing if each.spec.sandbox.kind is not SandboxKind.GVISOR]
        failed = {each.pid: "gVisor's mounts cannot be changed" for each in showing if each not in able}
        if able:
            failed |= self._run({each.pid: root for each in able})
        for each in showing:
            if each.pid in failed:
                log.warning("sandbox_shows", agent=each.spec.name, path=str(root), reason=failed[each.pid])
            else:
                self._hidden[each.spec.name] = frozenset({root, *self._hidden.get(each.spec.name, ())})
                log.info("sandbox_covered", agent=each.spec.name, path=str(root))

    def _shows(self, boxed: Boxed, root: Path) -> bool:
        hidden = self._hidden.get(boxed.spec.name)
        if hidden is None:
            hidden = self._hidden[boxed.spec.name] = _mounted_in(boxed.pid)
        # First, since that is so for all that were declared before: 300 agents make 90 000 looks.
        if not hidden.isdisjoint((root, *root.parents)):
            return False
        granted = Granted.of(boxed.spec)
        given = (os.path.realpath(path) for path in (granted.root, *granted.readable, *granted.writable))
        return not any(inside(root, Path(path)) for path in given)

    def _run(self, wanted: dict[int, Path]) -> dict[int, str]:
        """Cover a path in each sandbox; say which failed, and why."""
        lines = b"".join(b"%d %s\n" % (pid, os.fsencode(path)) for pid, path in wanted.items())
        argv = (sys.executable, "-P", "-m", _PROGRAM, str(self._user.uid), str(self._user.gid))
        try:
            done = subprocess.run(argv, input=lines, capture_output=True, timeout=_LIMIT, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return dict.fromkeys(wanted, str(error))
        if done.returncode == 0:
            return {}
        said = [line.partition(" ") for line in done.stderr.decode("utf-8", "replace").splitlines()]
        reasons = {int(pid): reason for pid, _, reason in said if pid.isdecimal() and int(pid) in wanted}
        return reasons or dict.fromkeys(wanted, said[-1][2] if said else f"exit status {done.returncode}")


def is_boxed(spec: AgentSpec) -> bool:
    """Whether an agent has a sandbox."""
    return spec.type is AgentType.SANDBOXED


def _mounted_in(bubblewrap: int) -> frozenset[Path]:
    """What stands by itself in a sandbox: a former daemon hid something there, or granted it."""
    try:
        [child] = Path(f"/proc/{bubblewrap}/task/{bubblewrap}/children").read_text().split()
        lines = Path(f"/proc/{child}/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    except (OSError, ValueError):
        return frozenset()
    fields = [line.split(" ") for line in lines]
    return frozenset(Path(each[4]) for each in fields if each[each.index("-") + 1] == "tmpfs" and each[4] != "/")
