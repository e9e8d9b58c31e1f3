"""The agent of a sandbox that bubblewrap made, as the host sees it: it has another pid inside.

bubblewrap is what agentd launched. Its one child is the first process inside, and the child of that the agent, which
the sandbox's shell became: the second process inside.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from agentd.process.identity import ProcessIdentity
from agentd.process.proc import PROC, children_of, read_bytes

_AGENT: Final = 2
"""Its pid inside."""


@dataclass(frozen=True, slots=True)
class BoxedAgent:
    """The agent of a sandbox."""

    process: ProcessIdentity
    """As the host sees it."""
    pid_inside: int

    @property
    def inside(self) -> ProcessIdentity:
        """As itself sees it: its clock is the host's."""
        return ProcessIdentity(self.pid_inside, self.process.started)


def agent_in(bubblewrap: ProcessIdentity) -> BoxedAgent | None:
    """Find the agent in its sandbox; ``None`` if there is none (yet)."""
    if not bubblewrap.alive():
        return None
    for first in children_of(bubblewrap.pid):
        depth = len(_pids(first))
        for pid in children_of(first):
            process, pids = ProcessIdentity.of(pid), _pids(pid)
            # One of a namespace that the agent made is deeper.
            if process is not None and len(pids) == depth and pids[-1:] == [_AGENT]:
                return BoxedAgent(process, _AGENT)
    return None


def _pids(pid: int) -> list[int]:
    """The pids that a process has, from our namespace to its innermost one."""
    for line in (read_bytes(f"{PROC}/{pid}/status", 65536) or b"").splitlines():
        name, _, numbers = line.partition(b":")
        if name == b"NSpid":
            return [*map(int, numbers.split())]
    return []


def open_root(boxed: BoxedAgent) -> int:
    """Open what the agent sees as the root folder.

    Raises
    ------
    OSError
        If it has ended, or may not be looked into.
    """
    root = os.open(f"{PROC}/{boxed.process.pid}/root", os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", 0))
    if not boxed.process.alive():
        os.close(root)
        raise ProcessLookupError("the agent has ended")
    return root
