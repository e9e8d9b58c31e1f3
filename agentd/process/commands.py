"""The processes of agents by command: one look at all, without a fork. Blocks.

It reads /proc/PID/stat of every process, as `agentd.process.usage` does, and of the agents' own also the command line
and where input and output lead.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from agentd.model.processes import CommandProcesses, ProcessKind
from agentd.process.background import serves
from agentd.process.identity import ProcessIdentity
from agentd.process.proc import command_of, run_id_of
from agentd.process.usage import SeenProcess, Strangers, Tree, owners_of, read_processes

_LONGEST: Final = 40
_INTERPRETER: Final = re.compile(
    r"(?:python|ruby|perl|lua)[0-9.]*|node|nodejs|bun|bunx|deno|npm|npx|pnpm|yarn|uv|uvx|(?:ba|da|z|fi)?sh", re.ASCII
)
_WORD: Final = re.compile(r"[A-Za-z0-9@_.+/~-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class AgentProcess:
    """One process of an agent."""

    identity: ProcessIdentity
    parent: int
    command: str
    kind: ProcessKind
    memory_bytes: int


@dataclass(slots=True)
class CommandLooks:
    """Looks at the processes of all agents at once."""

    _strangers: Strangers = field(default_factory=dict)

    def look(self, trees: Sequence[Tree]) -> Mapping[str, Sequence[AgentProcess]]:
        """Give the processes of each agent that runs, by its name.

        Raises
        ------
        OSError
            If there is nothing left to look with.
        """
        processes = read_processes()
        owners, self._strangers = owners_of(processes, trees, self._strangers)
        by_agent = {tree.agent: tree for tree in trees if tree.process is not None}
        found: dict[str, list[AgentProcess]] = {agent: [] for agent in by_agent}
        for pid, seen in processes.items():
            tree = by_agent.get(owners[pid] or "")
            if tree is None or pid == tree.launcher:
                continue
            command = name_of(command_of(pid))
            if command is not None:
                kind = _kind(seen, tree, processes)
                identity = ProcessIdentity(pid, seen.started)
                found[tree.agent].append(AgentProcess(identity, seen.parent, command, kind, seen.memory))
        return found


def _kind(seen: SeenProcess, tree: Tree, processes: Mapping[int, SeenProcess]) -> ProcessKind:
    if seen.pid == tree.process:
        return ProcessKind.AGENT
    if tree.launcher not in _above(seen, processes):
        return ProcessKind.ORPHAN
    return ProcessKind.SERVER if serves(seen.pid) else ProcessKind.TOOL


def _above(seen: SeenProcess, processes: Mapping[int, SeenProcess]) -> Iterator[int]:
    passed: set[int] = set()
    while seen.parent in processes and seen.parent not in passed:
        passed.add(seen.parent)
        yield seen.parent
        seen = processes[seen.parent]


def name_of(words: Sequence[bytes]) -> str | None:
    """Name a command by its program, and of an interpreter by its script too; ``None`` for no command line.

    Nothing else of its arguments is told: they may hold secrets, and so may a script given on the command line.
    """
    shown = [word.decode("utf-8", "replace") for word in words if word]
    if not shown:
        return None
    if len(shown) == 1:
        # Some programs write all into one word, "npm exec tool", as a title.
        shown = shown[0].split()[:3] or shown
    program = _short(shown[0])
    if not _INTERPRETER.fullmatch(program):
        return program
    rest = shown[1:]
    if rest[:1] in (["exec"], ["run"], ["x"]):
        program, rest = f"{program} {rest[0]}", rest[1:]
    script = next(iter(rest), "")
    if program.startswith("python") and script == "-m" and len(rest) > 1:
        script = rest[1]
    plain = not script.startswith("-") and _WORD.fullmatch(script) is not None
    return f"{program} {_short(script)}" if plain else program


def _short(word: str) -> str:
    last = word.rstrip(":").rpartition("/")[2] or word
    return last if len(last) <= _LONGEST else f"{last[: _LONGEST - 1]}…"


def by_command(processes: Sequence[AgentProcess]) -> list[CommandProcesses]:
    """Sum processes up by command and kind, those with the most memory first."""
    groups: dict[tuple[str, ProcessKind], list[AgentProcess]] = defaultdict(list)
    for each in processes:
        groups[each.command, each.kind].append(each)
    summed = [
        CommandProcesses(
            command,
            kind.value,
            len(group),
            sum(each.memory_bytes for each in group),
            sorted(each.identity.pid for each in group),
        )
        for (command, kind), group in groups.items()
    ]
    return sorted(summed, key=lambda each: (-each.memory_bytes, each.command, each.kind))


def reapable(run_id: str, processes: Sequence[AgentProcess], idle: float) -> list[AgentProcess]:
    """Give the orphans that are proven to be the run's, and that none of its processes talks to.

    Proven by the run's mark in the environment that a process was started with. One that began in the last `idle`
    seconds is none that a turn has left.
    """
    orphans = {each.identity.pid: each for each in processes if each.kind is ProcessKind.ORPHAN}
    known = [each.identity.pid for each in processes]
    return [
        each
        for pid, each in orphans.items()
        if run_id_of(pid) == run_id
        and each.identity.age() >= idle
        and not _talked_to(pid, set(known) - _below(pid, orphans))
    ]


def _below(pid: int, processes: Mapping[int, AgentProcess]) -> set[int]:
    """A process and those below it."""
    found = {pid}
    while more := {each for each, process in processes.items() if process.parent in found} - found:
        found |= more
    return found


def _talked_to(pid: int, others: Collection[int]) -> bool:
    """Whether another process holds the other end of what a server reads or writes; true where that is not told."""
    if not serves(pid):
        return False
    ends = {link for link in (_link(f"/proc/{pid}/fd/{number}") for number in (0, 1)) if link}
    if any(link.startswith("socket:") for link in ends):
        return True
    return any(link in ends for other in others for link in _links(other))


def _links(pid: int) -> Iterator[str]:
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208 (paths cost more than the files)
    except OSError:
        return
    for number in numbers:
        yield _link(f"/proc/{pid}/fd/{number}")


def _link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 (paths cost more than the files)
    except OSError:
        return ""
