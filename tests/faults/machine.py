"""What the machine allows: a mount namespace, a cgroup of processes, a user namespace; faults that need more are left
out, and said to be."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OWN_MOUNTS = "AGENTD_FAULTS_OWN_MOUNTS"
"""Set, to ``1``, in a process that was started in a mount namespace of its own."""
_PIDS = Path("/sys/fs/cgroup/pids")
_NEW_USER = 0x10000000
"""CLONE_NEWUSER of unshare(2)."""


def in_own_mounts(argv: list[str]) -> list[str]:
    """Start a program in a mount namespace of its own, which ends with it, where that is possible."""
    wanted = ["unshare", "--mount", "--propagation", "private", "env", f"{OWN_MOUNTS}=1"]
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return argv
    if subprocess.run([*wanted, "true"], check=False, capture_output=True).returncode != 0:
        return argv
    return [*wanted, *argv]


def no_mounts() -> str | None:
    """Why nothing can be mounted, or ``None`` if it can."""
    if os.environ.get(OWN_MOUNTS) == "1":
        return None
    return "needs root and a mount namespace of its own"


def no_processes_group() -> str | None:
    """Why the number of processes cannot be limited."""
    if os.geteuid() == 0 and os.access(_PIDS / "cgroup.procs", os.W_OK):
        return None
    return "needs root and the pids controller of cgroups v1"


def no_user_namespace() -> str | None:
    """Why there can be no user namespace, in which to allow no inotify instances."""
    if shutil.which("unshare") is None:
        return "needs unshare"
    done = subprocess.run(["unshare", "--user", "--map-root-user", "true"], check=False, capture_output=True)
    return None if done.returncode == 0 and os.geteuid() == 0 else "needs root and user namespaces"


def mount_small(folder: Path, size: int) -> None:
    """Mount an empty tmpfs of so many bytes, and read back that it is no larger."""
    folder.mkdir(exist_ok=True)
    mount("-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(folder))
    found = os.statvfs(folder)
    assert found.f_blocks * found.f_frsize <= size, f"{folder} is larger than {size} bytes"


def mount(*arguments: str) -> None:
    """Mount something in this namespace."""
    assert no_mounts() is None, "the whole machine would see it"
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def unmount(folder: Path) -> None:
    """Unmount what was mounted in this namespace."""
    assert no_mounts() is None
    subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


def make_immutable(folder: Path, *, immutable: bool) -> None:
    """Let nothing be made, removed or renamed in a folder, or let it again."""
    subprocess.run(["chattr", "+i" if immutable else "-i", str(folder)], check=True, capture_output=True)


@contextmanager
def processes_limited(pids: list[int], room: int) -> Iterator[None]:
    """Let these processes and their children be only so many more than they are now."""
    group = _PIDS / f"agentd-faults-{os.getpid()}"
    group.mkdir()
    try:
        for pid in pids:
            _move(pid, group)
        (group / "pids.max").write_text(str(int((group / "pids.current").read_text()) + room))
        yield
    finally:
        (group / "pids.max").write_text("max")
        while members := (group / "cgroup.procs").read_text().split():
            for member in members:
                _move(int(member), _PIDS)
        group.rmdir()


def _move(pid: int, group: Path) -> None:
    try:
        (group / "cgroup.procs").write_text(str(pid))
    except ProcessLookupError:
        return


def without_inotify() -> None:
    """Become root of a user namespace in which there are no inotify instances to have."""
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_USER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    limit = Path("/proc/sys/user/max_inotify_instances")
    limit.write_text("0")
    assert limit.read_text().strip() == "0"
