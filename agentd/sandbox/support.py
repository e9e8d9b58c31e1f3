"""Whether sandboxes can be made on this machine: bubblewrap, user namespaces, and what they need beside them."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentd.launch.preflight import PreflightError
from agentd.model.user import AgentUser
from agentd.process.runner import Runner, RunnerError
from agentd.sandbox.seccomp import ARCHITECTURES

BUBBLEWRAP: Final = "bwrap"

_PRIVATE: Final = ("/tmp", "/var/tmp", "/home", "/root", "/run")  # noqa: S108 (these are emptied, not used)
"""What every sandbox has for itself, empty."""

_SYSTEM: Final = (
    *("/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager/resolv.conf"),
    *("/run/current-system", "/run/booted-system", "/run/opengl-driver"),
)
"""What of them names, certificates and programs need: of systemd, NetworkManager and NixOS."""

_LIMIT: Final = 5.0
"""Seconds for a sandbox that is made to see whether it can be; it takes 0.01."""

_SYSCTLS: Final = (
    ("kernel/unprivileged_userns_clone", "0", "1"),
    ("user/max_user_namespaces", "0", "15000"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
)
"""What forbids user namespaces: setting, the value that does, and one that does not."""


class SandboxError(PreflightError):
    """A sandbox cannot be made; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Support:
    """What sandboxes are made with."""

    bwrap: str
    env: str
    stat: str
    head: str
    timeout: str
    private: tuple[Path, ...]
    """Folders that are empty in every sandbox."""
    system: tuple[Path, ...]
    """What is shown again of them."""


def look(user: AgentUser, environ: Mapping[str, str], sysctls: Path = Path("/proc/sys")) -> Support:
    """Find out what there is, and try it; blocks for `_LIMIT` at most.

    Raises
    ------
    SandboxError
        If no sandbox can be made for this user.
    """
    path = environ.get("PATH", os.defpath)
    bwrap = shutil.which(BUBBLEWRAP, path=path)
    if bwrap is None:
        raise SandboxError(
            f"a sandbox needs bubblewrap, and there is no {BUBBLEWRAP} on agentd's PATH ({path}): "
            "apt-get install bubblewrap"
        )
    if user.uid == 0:
        raise SandboxError(
            "a sandbox does not hold root: have agents run as another user, with --agent-user or a user named agent"
        )
    if platform.machine() not in ARCHITECTURES:
        known = " and ".join(sorted(ARCHITECTURES))
        raise SandboxError(f"a sandbox needs a machine of type {known}, and this is {platform.machine()}")
    tools = {name: shutil.which(name, path=path) for name in ("env", "stat", "head", "timeout")}
    private = tuple(dict.fromkeys(Path(os.path.realpath(each)) for each in _PRIVATE if Path(each).is_dir()))
    resolver = Path(os.path.realpath("/etc/resolv.conf"))
    shown = {resolver, *map(Path, _SYSTEM)}
    system = tuple(sorted(each for each in shown if any(root in each.parents for root in private) and each.exists()))
    env, stat, head, timeout = (found or f"/usr/bin/{name}" for name, found in tools.items())
    support = Support(bwrap, env, stat, head, timeout, private, system)
    _try(support, user, environ, sysctls)
    return support


def _try(support: Support, user: AgentUser, environ: Mapping[str, str], sysctls: Path) -> None:
    argv = [
        *(support.bwrap, "--unshare-user", "--unshare-pid", "--unshare-ipc", "--ro-bind", "/", "/"),
        *("--proc", "/proc", "--dev", "/dev", "--"),
        *(support.env, "--default-signal=INT", support.stat, "-c", "%d:%i", "/"),
    ]
    try:
        done = Runner(user, environ).run(argv, limit=_LIMIT)
    except RunnerError as error:
        raise SandboxError(f"a sandbox cannot be made: {error}") from error
    if done.status != 0:
        raise SandboxError(f"a sandbox cannot be made: {done.reason}{_forbidden(sysctls)}")


def _forbidden(sysctls: Path) -> str:
    """Say which settings of the kernel forbid user namespaces, and how to allow them."""
    found = []
    for name, forbidding, allowing in _SYSCTLS:
        try:
            value = (sysctls / name).read_text().strip()
        except OSError:
            continue
        if value == forbidding:
            found.append((name.replace("/", "."), value, allowing))
    if not found:
        return ""
    said = "; ".join(f"{name} = {value} forbids user namespaces: sysctl {name}={to}" for name, value, to in found)
    return f" ({said})"
