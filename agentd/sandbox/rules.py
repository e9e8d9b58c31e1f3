"""What a sandbox holds, whatever it is made with. Pure.

The root is read-only. On top of it come mounts, those of outer folders before those inside: the deepest rule that holds
for a path decides. Every path is a real one, without symlinks; whoever resolves them says why that is safe (`paths`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Access(Enum):
    """What is to be at a path."""

    EMPTY = 0
    """An empty folder of the sandbox's own."""
    PROCESSES = 1
    """The sandbox's own processes, as /proc shows them."""
    DEVICES = 2
    """The few that every program needs, and the agent's terminal."""
    READ = 3
    """What `Rule.source` holds, read-only."""
    WRITE = 4
    """What `Rule.source` holds."""
    HIDDEN = 5
    """Something of agentd's, or of another agent's, that is not to be seen: an empty folder that nobody can fill."""
    HIDDEN_FILE = 6
    LINK = 7
    """A symlink to `Rule.source`."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What is to be at one path."""

    path: Path
    access: Access
    source: Path | None = None
    """If that is not `path`."""

    @property
    def shows_host(self) -> bool:
        """Whether what the host has below this path is there in the sandbox, too."""
        return self.access in (Access.READ, Access.WRITE) and self.source in (None, self.path)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What one agent may read, write and reach."""

    rules: tuple[Rule, ...]
    """Of two for the same path the later counts."""
    workdir: Path
    network: bool
    """Whether it is the host's; else there is none but a loopback interface of its own."""
    proxied: bool = False
    """Whether somebody outside is to serve that interface."""


def mounts(rules: Iterable[Rule]) -> list[Rule]:
    """Order the rules, leave out what an outer one hides already, and keep names in place that lead to hidden ones.

    A mount keeps its own name from being moved or removed, but not the names of the folders on the way to it. So where
    something hidden is deeper in what the agent may write, each folder in between is made a mount as well.
    """
    wanted = {rule.path: rule for rule in rules}
    chosen: dict[Path, Rule] = {}
    for rule in sorted(wanted.values(), key=lambda each: (len(each.path.parts), each.path)):
        around = next((chosen[parent] for parent in rule.path.parents if parent in chosen), None)
        hidden = rule.access in (Access.HIDDEN, Access.HIDDEN_FILE)
        if hidden and around is not None and not around.shows_host:
            continue
        if around is not None and around.access is Access.WRITE and hidden:
            for between in reversed(rule.path.parents):
                if around.path in between.parents and between not in chosen:
                    inside = (around.source or around.path) / between.relative_to(around.path)
                    chosen[between] = Rule(between, Access.WRITE, inside)
        chosen[rule.path] = rule
    return sorted(chosen.values(), key=lambda each: (len(each.path.parts), each.path))
