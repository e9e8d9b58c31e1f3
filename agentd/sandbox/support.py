"""What sandboxes need of this machine, and whether it lets them be made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentd.files.permissions import closed_folder
from agentd.launch.preflight import PreflightError
from agentd.model.user import AgentUser
from agentd.process.runner import Runner, RunnerError

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
    """What of this machine every sandbox needs, whatever it is made with."""

    env: str
    stat: str
    head: str
    timeout: str
    private: tuple[Path, ...]
    """Folders that are empty in every sandbox."""
    system: tuple[Path, ...]
    """What is shown again of them."""
    top: tuple[Path, ...]
    """What stands in the root folder and the user may use, where a sandbox does not begin with the whole root."""
    links: tuple[tuple[str, str], ...]
    """The links in the root folder, with their targets."""


def look_at_system(user: AgentUser, environ: Mapping[str, str]) -> Support:
    """Find out what a sandbox is to hide and to show.

    Raises
    ------
    SandboxError
        If no sandbox would hold this user.
    """
    if user.uid == 0:
        raise SandboxError(
            "a sandbox does not hold root: have agents run as another user, with --agent-user or a user named agent"
        )
    path = environ.get("PATH", os.defpath)
    tools = {name: shutil.which(name, path=path) for name in ("env", "stat", "head", "timeout")}
    private = tuple(dict.fromkeys(Path(os.path.realpath(each)) for each in _PRIVATE if Path(each).is_dir()))
    resolver = Path(os.path.realpath("/etc/resolv.conf"))
    shown = {resolver, *map(Path, _SYSTEM)}
    system = tuple(sorted(each for each in shown if any(root in each.parents for root in private) and each.exists()))
    root = [each for each in Path("/").iterdir() if each.name != "sys"]
    links = tuple((str(each), str(each.readlink())) for each in root if each.is_symlink())
    top = tuple(each for each in root if each.is_dir() and not each.is_symlink() and closed_folder(each, user) is None)
    env, stat, head, timeout = (found or f"/usr/bin/{name}" for name, found in tools.items())
    return Support(env, stat, head, timeout, private, system, top, links)


def attempt(argv: Sequence[str], user: AgentUser, environ: Mapping[str, str], sysctls: Path) -> bytes:
    """Run, as the agents' user, what shows whether a sandbox can be made; give what it prints.

    Parameters
    ----------
    sysctls
        Where the kernel's settings are.

    Raises
    ------
    SandboxError
        If it fails, with the setting of the kernel that is to blame.
    """
    try:
        done = Runner(user, environ).run(argv, limit=_LIMIT)
    except RunnerError as error:
        raise SandboxError(f"a sandbox cannot be made: {error}") from error
    if done.status != 0:
        raise SandboxError(f"a sandbox cannot be made: {done.reason}{_forbidden(sysctls)}")
    return done.out


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
