"""How much CPU the tools of agents have used: one look at all processes, without a fork. Blocks."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from agentd.process.background import serves
from agentd.process.proc import command_of
from agentd.process.usage import SeenProcess, Strangers, Tree, owners_of, read_processes

_TICK: Final = os.sysconf("SC_CLK_TCK")
_INTERPRETER: Final = re.compile(r"node|nodejs|bun|deno|python[0-9.]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Asked:
    """An agent whose CPU is asked for."""

    tree: Tree
    whole: bool
    """Whether its own program counts, too; else only what is below that, and no servers that it talks to."""
    programs: frozenset[str] = frozenset()
    """Names of its own program: that may be several processes, which animate the screen."""


@dataclass(slots=True)
class WorkMeter:
    """Looks at the processes of several agents at once."""

    _strangers: Strangers = field(default_factory=dict)

    def measure(self, asked: Sequence[Asked]) -> Mapping[str, float]:
        """Seconds of CPU by agent, of those processes that there are and of their ended children.

        Raises
        ------
        OSError
            If there is nothing left to look with.
        """
        processes = read_processes()
        owners, self._strangers = owners_of(processes, [each.tree for each in asked], self._strangers)
        by_agent = {each.tree.agent: each for each in asked}
        ticks = dict.fromkeys(by_agent, 0)
        left_out: dict[int, bool] = {}
        for pid, seen in processes.items():
            owner = owners[pid]
            one = None if owner is None else by_agent.get(owner)
            if one is None or pid == one.tree.launcher:
                continue
            if one.whole or not (_is_own(pid, one) or _is_beside(pid, one, processes, left_out)):
                ticks[one.tree.agent] += seen.ticks
        return {agent: found / _TICK for agent, found in ticks.items()}


def _is_own(pid: int, asked: Asked) -> bool:
    return pid == asked.tree.process or runs_one_of(command_of(pid), asked.programs)


def runs_one_of(words: Sequence[bytes], programs: frozenset[str]) -> bool:
    """Whether a command line is that of one of these programs, or of an interpreter with it."""
    shown = [word.decode("utf-8", "replace") for word in words if word]
    if not shown:
        return False
    path = PurePosixPath(shown[0])
    if _INTERPRETER.fullmatch(path.name):
        script = next((word for word in shown[1:] if not word.startswith("-")), "")
        path = PurePosixPath(script)
    return path.stem in programs or path.name in programs or not programs.isdisjoint(path.parts[-4:-1])


def _is_beside(pid: int, asked: Asked, processes: Mapping[int, SeenProcess], left_out: dict[int, bool]) -> bool:
    """Whether a process is, or is below, a server that the agent talks to, or has lost its parents."""
    passed: list[int] = []
    at = pid
    while at not in left_out:
        # Codex' server, whose tools they are, is itself below what its other half talks to.
        if at == asked.tree.launcher or _is_own(at, asked):
            left_out[at] = False
            break
        if at not in processes or at in passed or _talks(at, asked, processes):
            left_out[at] = True
            break
        passed.append(at)
        at = processes[at].parent
    for each in passed:
        left_out[each] = left_out[at]
    return left_out[at]


def _talks(pid: int, asked: Asked, processes: Mapping[int, SeenProcess]) -> bool:
    """Whether the agent's own program talks to a process; a tool's input is ``/dev/null`` or a terminal."""
    return _is_own(processes[pid].parent, asked) and not _is_own(pid, asked) and serves(pid)
