"""From an agent's definition and what is on this machine to its sandbox. Looks at paths: never on the event loop."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from agentd.files.links import Go, Look, followed, inside
from agentd.files.permissions import closed_folder
from agentd.files.planted import not_in
from agentd.launch.hooks_folder import INSIDE
from agentd.model.spec import AgentSpec, Network
from agentd.model.user import AgentUser
from agentd.sandbox.granted import Granted
from agentd.sandbox.paths import identity, real, resolved
from agentd.sandbox.pinned import Pinned
from agentd.sandbox.programs import program_rules
from agentd.sandbox.repository import repository_rules
from agentd.sandbox.rules import Access, Rule, Sandbox
from agentd.sandbox.support import SandboxError, Support

TRUSTED: Final = Path("/run/agentd/trusted.pem")
"""Where a sandbox has the authorities that it trusts, if it does not just trust the system's."""
_PROCESSES, _DEVICES = Path("/proc"), Path("/dev")
_SYSTEM: Final = tuple(map(Path, ("/usr", "/etc", "/bin", "/sbin", "/lib", "/lib64", "/nix", "/proc", "/dev", "/sys")))
"""Without these nothing runs: a folder that holds one of them is never hidden as a whole."""


@dataclass(frozen=True, slots=True)
class Own:
    """What belongs to agentd; nothing of it is seen in a sandbox."""

    folders: tuple[Path, ...]
    """No agent works in these: state, secrets, launch scripts, worktrees and homes."""
    entries: tuple[Path, ...]
    """Single files and folders in places where an agent may work: the jcard, its drop-ins, and the sockets. The folder
    that each is in is hidden where no agent needs it."""
    data_dir: Path
    """One of the folders: where the worktrees and workspaces are that agentd makes."""
    runtime: Path
    """Another one: where the launch scripts are."""


@dataclass(frozen=True, slots=True)
class Composed:
    """A sandbox, and what must still be so when it is made."""

    sandbox: Sandbox
    pinned: Pinned
    pid_limit: int | None = None
    """Processes that the agent may have."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What is the same for all agents."""

    own: Own
    support: Support
    user: AgentUser


@dataclass(frozen=True, slots=True)
class Command:
    """What is to run in a sandbox."""

    program: str
    """Its first word."""
    environment: Mapping[str, str] = field(repr=False)
    home: Path
    """As the sandbox has it."""
    kept_in: Path
    """The folder outside that the home is."""
    proxied: bool = False
    """Whether it reaches by name what is declared."""
    trusted: Path | None = None
    """What is to be at `TRUSTED`."""
    hooks: Path | None = None
    """What is to be at `agentd.launch.hooks_folder.INSIDE`: its own socket for hooks, and nothing else of agentd's."""


@dataclass(frozen=True, slots=True)
class _Around:
    """What stands in the way of showing what a program needs."""

    own: Sequence[Path]
    closed: Sequence[Path]
    given: Sequence[Path]
    user: AgentUser
    refuse: Look

    def follow(self, go: Go, path: Path, look: Look) -> Path:
        """Resolve what a program needs, unless agents decide where that leads."""

        def each(step: Path, entry: os.stat_result) -> None:
            self.refuse(step, entry)
            look(step, entry)

        return followed(path, each, go)

    def misses(self, at: Path) -> bool:
        """Whether the sandbox hides a path that its user may use outside."""
        if any(inside(at, folder) for folder in self.own) or any(inside(at, each) for each in self.given):
            return False
        if not any(inside(at, folder) for folder in self.closed):
            return False
        return at.exists() and closed_folder(at if at.is_dir() else at.parent, self.user) is None

    def holds_hidden(self, at: Path) -> bool:
        """Whether there is in a folder what is hidden for good."""
        return any(inside(folder, at) for folder in self.closed)


def compose(spec: AgentSpec, command: Command, others: Sequence[Granted], ground: Ground, go: Go) -> Composed:
    """Work out what an agent may read, write and reach.

    Parameters
    ----------
    others
        What other agents may use.

    Raises
    ------
    SandboxError
        If something is not as it must be.
    """
    own, support, user = ground.own, ground.support, ground.user
    granted = Granted.of(spec)
    workdir = resolved(spec.workdir, "the workdir", user, go)
    base = workdir if spec.checkout is None else resolved(granted.root, "the worktree", user, go)
    writable = [resolved(path, "the writable path", user, go) for path in granted.writable]
    readable = [resolved(path, "the read-only path", user, go) for path in granted.readable]
    given = [base, *writable, *readable]
    made_for_it = spec.checkout is not None or spec.role is not None
    folders = [real(folder) for folder in own.folders]
    for path in given:
        for folder in folders:
            if inside(path, folder) and not (made_for_it and path == base and folder == real(own.data_dir)):
                raise SandboxError(f"{path} is in {folder}, which is agentd's own: no sandboxed agent may have it")
    hidden = [
        *_hidden(folders, given),
        *_entries(own.entries, given),
        *_others([other.root for other in others], given),
    ]
    rules = [
        Rule(_PROCESSES, Access.PROCESSES),
        Rule(_DEVICES, Access.DEVICES),
        *(Rule(path, Access.EMPTY) for path in support.private),
        *hidden,
        Rule(command.home, Access.WRITE, command.kept_in),
        *(Rule(path, Access.READ) for path in support.system),
    ]
    closed = [_PROCESSES, _DEVICES, *support.private, command.home, *(rule.path for rule in hidden)]

    planted = not_in((place for each in (granted, *others) for place in each.places), user)
    around = _Around(folders, closed, given, user, planted)
    follow = partial(around.follow, go)
    rules += program_rules(
        command.program, command.environment, spec.workdir, around.misses, around.holds_hidden, follow
    )
    rules += [Rule(path, Access.READ) for path in readable]
    if spec.checkout is not None:
        rules += repository_rules(spec.checkout.repo, base, read_only=granted.root_read_only, go=go)
    rules += [Rule(path, Access.WRITE) for path in writable]
    rules.append(Rule(base, Access.READ if granted.root_read_only else Access.WRITE))
    if command.trusted is not None:
        rules.append(Rule(TRUSTED, Access.READ, command.trusted))
    if command.hooks is not None:
        rules.append(Rule(INSIDE, Access.READ, command.hooks))
    pinned = Pinned(tuple((str(path), identity(path)) for path in dict.fromkeys(given)), support.stat)
    sandbox = Sandbox(tuple(rules), workdir, spec.sandbox.network is Network.HOST, command.proxied)
    return Composed(sandbox, pinned, spec.policy.limits.pid_limit)


def _hidden(folders: Iterable[Path], given: Iterable[Path]) -> Iterable[Rule]:
    for folder in folders:
        if holds_system(folder):
            raise SandboxError(f"{folder} is agentd's own and the system's, too: give agentd another folder")
        if folder.exists() or any(inside(folder, path) for path in given):
            yield Rule(folder, Access.HIDDEN)


def _entries(entries: Iterable[Path], given: Iterable[Path]) -> Iterable[Rule]:
    """Hide each with the folder that it is in, or by itself where that folder is needed.

    What is not there yet is made, empty, where the agent could make it: a drop-in would start another agent.
    """
    for entry in entries:
        folder = real(entry.parent)
        if not (holds_system(folder) or folder in given):
            if folder.exists():
                yield Rule(folder, Access.HIDDEN)
            if not any(inside(folder, path) for path in given):
                continue
        path = folder / entry.name
        folder_there = path.is_dir() or (not path.exists() and entry.suffix == ".d")
        access = Access.HIDDEN if folder_there else Access.HIDDEN_FILE
        if path.exists() or any(inside(path, each) for each in given):
            yield Rule(path, access)
        target = real(path)
        if target != path and target.exists():
            yield Rule(target, Access.HIDDEN if target.is_dir() else Access.HIDDEN_FILE)


def _others(others: Iterable[Path], given: Iterable[Path]) -> Iterable[Rule]:
    """Hide where other agents work, unless this one was given that, or a folder that it is in."""
    for other in sorted(set(map(real, others))):
        if not holds_system(other) and other.is_dir() and not any(inside(other, path) for path in given):
            yield Rule(other, Access.HIDDEN)


def holds_system(folder: Path) -> bool:
    """Whether the system does not work without what is in a folder."""
    return any(inside(part, folder) for part in _SYSTEM)


def in_system(folder: Path) -> bool:
    """Whether a folder is a part of the system."""
    return any(inside(folder, part) for part in _SYSTEM)
