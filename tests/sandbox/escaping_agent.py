"""An agent that tries to get out of its sandbox, and writes down what came of it. It is run without site-packages.

It is told what to try by a JSON file: paths to read, to write to and to connect to, and processes to reach.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

TIOCSTI = 0x5412


def attempt(action: Callable[..., object], *arguments: object) -> str:
    """Do it, and say what came of it."""
    try:
        return f"done: {action(*arguments)}"
    except (OSError, subprocess.SubprocessError) as error:
        return f"refused: {error}"


def names(folder: str | Path) -> list[str]:
    """List a folder."""
    return sorted(path.name for path in Path(folder).iterdir())


def read(path: str) -> object:
    """List a folder, or read a file."""
    return names(path) if Path(path).is_dir() else Path(path).read_text(errors="replace")


def write(path: str) -> object:
    """Make a file."""
    return Path(path).write_text("was here")


def connect(path: str) -> None:
    """Connect to a socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)


def type_into_terminal(request: int) -> object:
    """Put a character into the terminal's input."""
    return fcntl.ioctl(0, request, b"x")


def type_by_system_call(request: int) -> object:
    """Put a character into the terminal's input, with more bits than the C library would pass on."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = {"x86_64": 16, "aarch64": 29}[os.uname().machine]
    if libc.syscall(
        ctypes.c_long(number), ctypes.c_long(0), ctypes.c_ulong(request), ctypes.create_string_buffer(b"x")
    ):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return None


def take_key() -> str:
    """Look at the keyring of the session, which is inherited."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = {"x86_64": 250, "aarch64": 219}[os.uname().machine]
    session, get_keyring = ctypes.c_long(-3), ctypes.c_long(0)
    if libc.syscall(ctypes.c_long(number), get_keyring, session, ctypes.c_long(0)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "a keyring"


def uncover(path: str) -> object:
    """Unmount what covers a path, with the rights of a user namespace of one's own, and look below."""
    script = 'umount "$1" 2>&1; mount --bind / /mnt 2>&1; ls -A "$1" "/mnt$1" 2>&1'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", path],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.stdout


def environments() -> str:
    """Everything that the environments of all processes say."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found.append((process / "environ").read_text(errors="replace"))
    return "\n".join(found)


def main() -> None:
    """Try everything."""
    orders = json.loads(Path(sys.argv[1]).read_text())
    found: dict[str, object] = {
        **{f"read {path}": attempt(read, path) for path in orders.get("read", [])},
        **{f"uncover {path}": attempt(uncover, path) for path in orders.get("uncover", [])},
        **{f"write {path}": attempt(write, path) for path in orders.get("write", [])},
        **{f"connect {path}": attempt(connect, path) for path in orders.get("connect", [])},
        **{f"kill {pid}": attempt(os.kill, pid, 0) for pid in orders.get("kill", [])},
        **{f"rename {path}": attempt(os.rename, path, path + ".away") for path in orders.get("rename", [])},
        "type": attempt(type_into_terminal, TIOCSTI),
        "type high": attempt(type_by_system_call, TIOCSTI | 5 << 32),
        "keys": attempt(take_key),
        "processes": sorted(int(each.name) for each in Path("/proc").glob("[0-9]*")),
        "environments": environments(),
        "descriptors": names("/proc/self/fd"),
        "environ": dict(os.environ),
        "cwd": str(Path.cwd()),
        "home": names(Path.home()),
    }
    with contextlib.suppress(OSError):
        (Path.home() / "kept").write_text("kept")
    part = Path(sys.argv[2] + ".part")
    part.write_text(json.dumps(found))
    part.rename(sys.argv[2])


if __name__ == "__main__":
    main()
