"""Covers folders in sandboxes that run: a program of its own, since only a process without threads may enter them.

It becomes the agents' user, who made the sandboxes' user namespaces and so may enter them. Nothing of a sandbox is
executed, and what is mounted there is seen there alone.

Source: setns(2), user_namespaces(7), ioctl_ns(2), mount(2).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import sys
from pathlib import Path
from typing import Final

_NS_GET_USERNS: Final = 0xB701
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_READ_ONLY, _NO_SETUID, _NO_DEVICES = 1, 2, 4
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    """Cover what standard input names, a line each: the pid of a bubblewrap, and a path.

    The arguments are the numeric user and group to become.
    """
    uid, gid = map(int, sys.argv[1:])
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    failed = False
    for line in sys.stdin.buffer.read().decode("utf-8", "surrogateescape").splitlines():
        pid, _, path = line.partition(" ")
        child = os.fork()
        if child == 0:
            try:
                _cover(int(pid), path)
            except OSError as error:
                sys.stderr.write(f"{pid} {error.strerror or error}\n")
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
        failed |= os.waitpid(child, 0)[1] != 0
    return int(failed)


def _cover(bubblewrap: int, path: str) -> None:
    children = Path(f"/proc/{bubblewrap}/task/{bubblewrap}/children").read_text().split()
    if len(children) != 1:
        raise OSError(0, "it has ended")
    mounts = os.open(f"/proc/{children[0]}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    if os.fstat(mounts).st_ino == Path("/proc/self/ns/mnt").stat().st_ino:
        raise OSError(0, "it is no sandbox")
    for descriptor, kind in ((fcntl.ioctl(mounts, _NS_GET_USERNS), _CLONE_NEWUSER), (mounts, _CLONE_NEWNS)):
        _check(_LIBC.setns(descriptor, kind))
    flags = _READ_ONLY | _NO_SETUID | _NO_DEVICES
    _check(_LIBC.mount(b"agentd", os.fsencode(path), b"tmpfs", ctypes.c_ulong(flags), b"mode=0555,size=4k"))


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


if __name__ == "__main__":
    sys.exit(main())
