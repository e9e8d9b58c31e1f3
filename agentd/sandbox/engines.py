"""What sandboxes are made with on this machine: looks for it, and tries it. Blocks: never on the event loop."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agentd.launch.launcher import Wrapper
from agentd.model.spec import SandboxKind
from agentd.model.user import AgentUser
from agentd.sandbox.bubblewrap import Bubblewrap, Gate
from agentd.sandbox.compose import Composed
from agentd.sandbox.gvisor import NEEDED, RUNSC, GVisor, Tools, version_of
from agentd.sandbox.seccomp import ARCHITECTURES, terminal_filter
from agentd.sandbox.support import SandboxError, Support, attempt, look_at_system
from agentd.settings.settings import Runsc

_BUBBLEWRAP = "bwrap"


@dataclass(frozen=True, slots=True)
class Engine:
    """What sandboxes are made with."""

    kind: SandboxKind
    program: str
    support: Support
    wrap: Callable[[Composed, Path, Path | None], Wrapper]
    """Gives what executes an agent in a composed sandbox, for a launch script in a folder. A second path is what those
    of its FIFOs begin with, if its loopback interface is to be served; raises `SandboxError` where this cannot be."""


@dataclass(frozen=True, slots=True)
class Where:
    """What sandboxes are looked for with."""

    user: AgentUser
    environ: Mapping[str, str]
    """The daemon's environment."""
    runsc: Runsc = field(default_factory=Runsc)
    sysctls: Path = Path("/proc/sys")
    """Where the kernel's settings are."""

    def find(self, program: str) -> str | None:
        """Find a program on agentd's PATH."""
        return shutil.which(program, path=self.path)

    @property
    def path(self) -> str:
        """Agentd's PATH."""
        return self.environ.get("PATH", os.defpath)


def look(kind: SandboxKind | None, where: Where) -> Engine:
    """Find out what sandboxes of a kind are made with, and try it; blocks for some seconds at most.

    Parameters
    ----------
    kind
        ``None`` for the first that there is.

    Raises
    ------
    SandboxError
        If no sandbox can be made for this user.
    """
    if kind is None:
        there = where.find(_BUBBLEWRAP) is None and (where.runsc.path or where.find(RUNSC)) is not None
        kind = SandboxKind.GVISOR if there else SandboxKind.BUBBLEWRAP
    return _LOOKS[kind](where, look_at_system(where.user, where.environ))


def _bubblewrap(where: Where, support: Support) -> Engine:
    program = where.find(_BUBBLEWRAP)
    if program is None:
        raise SandboxError(
            f"a sandbox needs bubblewrap, and there is no {_BUBBLEWRAP} on agentd's PATH ({where.path}): "
            "apt-get install bubblewrap"
        )
    if platform.machine() not in ARCHITECTURES:
        known = " and ".join(sorted(ARCHITECTURES))
        raise SandboxError(f"a sandbox needs a machine of type {known}, and this is {platform.machine()}")
    argv = [
        *(program, "--unshare-user", "--unshare-pid", "--unshare-ipc", "--ro-bind", "/", "/"),
        *("--proc", "/proc", "--dev", "/dev", "--"),
        *(support.env, "--default-signal=INT", support.stat, "-c", "%d:%i", "/"),
    ]
    attempt(argv, where.user, where.environ, where.sysctls)

    def wrap(composed: Composed, _runtime: Path, pipes: Path | None) -> Bubblewrap:
        gate = None if pipes is None else Gate(pipes, support.timeout, support.head)
        return Bubblewrap(composed.sandbox, program, terminal_filter(), support.env, composed.pinned, gate)

    return Engine(SandboxKind.BUBBLEWRAP, program, support, wrap)


def _gvisor(where: Where, support: Support) -> Engine:
    wanted = where.runsc.path
    program = where.find(RUNSC) if wanted is None else str(wanted)
    if program is None:
        raise SandboxError(
            f"a sandbox by gVisor needs runsc of {NEEDED} or later, and there is none on agentd's PATH ({where.path}): "
            "install it from gvisor.dev (on Debian 12, apt-get install -t bookworm-backports runsc)"
        )
    said = attempt([program, "--version"], where.user, where.environ, where.sysctls).decode(errors="replace")
    version = version_of(said)
    if version is None or version < NEEDED:
        found = (said.splitlines() or ["nothing"])[0].strip()
        raise SandboxError(
            f"a sandbox by gVisor needs runsc of {NEEDED} or later, and {program} says {found!r}: "
            "install a later one (on Debian 12, apt-get install -t bookworm-backports runsc)"
        )
    unshare = where.find("unshare")
    if unshare is None:
        raise SandboxError(
            f"a sandbox by gVisor needs unshare, and there is none on agentd's PATH ({where.path}): "
            "apt-get install util-linux"
        )
    attempt([unshare, "--user", "--map-root-user", "--mount", "true"], where.user, where.environ, where.sysctls)
    folders = {"--sandbox-bundle-dir": where.runsc.bundle_dir, "--sandbox-state-dir": where.runsc.state_dir}
    for flag, folder in folders.items():
        try:
            if folder is not None:
                folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError as error:
            raise SandboxError(f"{flag}: {folder} cannot be made: {error.strerror}") from error

    def wrap(composed: Composed, runtime: Path, pipes: Path | None) -> GVisor:
        if pipes is not None:
            raise SandboxError(
                "network_allow and secrets for hosts need bubblewrap, for the network of gVisor cannot be served from "
                'outside: write sandbox = "bubblewrap", or leave them out'
            )
        folder = where.runsc.bundle_dir or runtime
        tools = Tools(program, unshare, where.path, folder, where.runsc.state_dir, where.user)
        return GVisor(tools, support, composed)

    return Engine(SandboxKind.GVISOR, program, support, wrap)


_LOOKS: Final[Mapping[SandboxKind, Callable[[Where, Support], Engine]]] = {
    SandboxKind.BUBBLEWRAP: _bubblewrap,
    SandboxKind.GVISOR: _gvisor,
}
