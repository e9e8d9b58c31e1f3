"""What is added to a launch so that the run can be watched and talked to: by command line, environment and one file.

The user's own settings, hooks and login are not touched. Nothing here is a part of the launch that is declared: that
something is added, or not, restarts no agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agentd.model.spec import ForkPoint

HOOK_VARIABLE = "AGENTD_HOOK"
"""Environment variable that tells an agent the socket at which it, or a hook of it, may say what it does."""


COPY = ".jsonl"
"""After a run's id, the name of `LaunchFacts.copy`: Claude Code takes a file for a conversation by this ending."""

SANDBOXED = "sandboxed"
"""In the memo of a run in a sandbox: its home is what agentd sees of it from outside."""

HOOKED = "agentd-hooks"
"""In the memo of such a run, if it has a socket for hooks of its own."""


@dataclass(frozen=True, slots=True)
class LaunchFacts:
    """A run, as whoever watches it needs to know it."""

    agent: str
    run_id: str
    harness: str
    argv: tuple[str, ...] = field(repr=False)
    """The command line as declared, program first."""
    environment: Mapping[str, str] = field(repr=False)
    """The whole one."""
    workdir: Path
    home: Path
    """What ``HOME`` is for it."""
    stays: bool
    """Whether the program is to stay and take messages; a one-shot run keeps its command line."""
    file: Path
    """Where the file of `Additions` is going to stand; readable by the agents' user alone."""
    socket: Path
    """Where the program may make a socket of its own, the same in all runs of the agent."""
    resume: str | None = None
    """Id of the conversation that it is to go on with."""
    fork: ForkPoint | None = None
    """What its conversation is to begin with; ``None`` if it goes on with one."""
    home_inside: Path | None = None
    """What `home` is in the sandbox of the program, if it has one. Then the command line, `file` and `socket` are of
    inside, and all else is of outside."""
    on_loopback: bool = True
    """Whether what it serves on its loopback interface is reached from outside of its sandbox."""

    @property
    def copy(self) -> Path:
        """Where the program may keep a file of its own until the run has ended."""
        return (self.home_inside or self.file.parent) / (self.run_id + COPY)

    def outside(self, path: Path) -> Path | None:
        """Find what the program calls by a path; ``None`` if that is not kept for us to see."""
        if self.home_inside is None:
            return path
        return self.home / path.relative_to(self.home_inside) if path.is_relative_to(self.home_inside) else None

    def inside(self, path: Path) -> Path:
        """Say how the program calls what is ours to see."""
        if self.home_inside is None or not path.is_relative_to(self.home):
            return path
        return self.home_inside / path.relative_to(self.home)

    @property
    def hook_socket(self) -> str | None:
        """The socket for hooks; ``None`` if there is none."""
        return self.environment.get(HOOK_VARIABLE)


@dataclass(frozen=True, slots=True)
class Additions:
    """What is added to a launch."""

    argv: tuple[str, ...] = field(repr=False)
    """The whole command line in place of the declared one."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables beside the declared ones, which win."""
    amended: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables in place of those of the same name: what is declared, and something beside it."""
    file: bytes | None = field(default=None, repr=False)
    """Content of `LaunchFacts.file`, if the program needs one."""
    memo: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What a later daemon must know to go on watching: an id, a port. Kept in the runtime directory; no file is read
    for what stands here."""
    forks: bool = False
    """Whether its conversation begins as `LaunchFacts.fork` says."""
