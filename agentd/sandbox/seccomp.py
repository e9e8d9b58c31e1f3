"""The filter of system calls: no program in a sandbox types into the terminal that an operator sits in front of.

It refuses the kernel's keys as well (keyrings(7)): a session's keyring is inherited, so tickets and tokens that others
keep in it could be read in the sandbox.

A sandboxed agent keeps its terminal (with ``bwrap --new-session`` there would be no resize, no /dev/tty and no job
control), so the kernel must refuse the two requests that put text into a terminal's input. The filter reads the request
as the kernel does, by its low 32 bits. Every other way to make a system call (32-bit programs, x32) is refused as a
whole, or the requests could be made that way.

Source: the kernel's Documentation/userspace-api/seccomp_filter.rst, linux/filter.h, linux/seccomp.h, linux/audit.h.
"""

from __future__ import annotations

import errno
import struct
from typing import Final

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _REQUEST_LOW = 0, 4, 24
"""Offsets in ``struct seccomp_data``: the call, the architecture, and the low half of the second argument."""
_X86_64, _AARCH64 = 0xC000003E, 0xC00000B7
_IOCTL_X86_64, _IOCTL_AARCH64 = 16, 29
_KEYS_X86_64, _KEYS_AARCH64 = 248, 217
"""The first of add_key, request_key and keyctl, which follow each other."""
_KEY_CALLS = 3
_X32 = 0x40000000
"""Numbers from here on are calls of x32."""
TIOCSTI: Final = 0x5412
TIOCLINUX: Final = 0x541C
_ALLOW: Final = 0x7FFF0000
_ERROR: Final = 0x00050000

ARCHITECTURES: Final = frozenset({"x86_64", "aarch64"})
"""Machines, as uname(2) names them, that the filter is for; on any other it would refuse everything."""


def terminal_filter() -> bytes:
    """Give the program, as ``bwrap --seccomp`` reads it."""
    allow, refuse, unknown, request = "allow", "refuse", "unknown", "request"
    program: list[tuple[str, int, int, str | None, str | None]] = [
        ("", _LOAD, _ARCHITECTURE, None, None),
        ("", _EQUAL, _X86_64, "x86_64", None),
        ("", _EQUAL, _AARCH64, "aarch64", unknown),
        ("x86_64", _LOAD, _NUMBER, None, None),
        ("", _AT_LEAST, _X32, unknown, None),
        ("", _EQUAL, _IOCTL_X86_64, request, None),
        ("", _AT_LEAST, _KEYS_X86_64 + _KEY_CALLS, allow, None),
        ("", _AT_LEAST, _KEYS_X86_64, unknown, allow),
        ("aarch64", _LOAD, _NUMBER, None, None),
        ("", _EQUAL, _IOCTL_AARCH64, request, None),
        ("", _AT_LEAST, _KEYS_AARCH64 + _KEY_CALLS, allow, None),
        ("", _AT_LEAST, _KEYS_AARCH64, unknown, allow),
        (request, _LOAD, _REQUEST_LOW, None, None),
        ("", _EQUAL, TIOCSTI, refuse, None),
        ("", _EQUAL, TIOCLINUX, refuse, allow),
        (allow, _RETURN, _ALLOW, None, None),
        (refuse, _RETURN, _ERROR | errno.EPERM, None, None),
        (unknown, _RETURN, _ERROR | errno.ENOSYS, None, None),
    ]
    places = {label: index for index, (label, *_) in enumerate(program) if label}

    def distance(index: int, label: str | None) -> int:
        return 0 if label is None else places[label] - index - 1

    return b"".join(
        struct.pack("=HBBI", code, distance(index, on_true), distance(index, on_false), value)
        for index, (_, code, value, on_true, on_false) in enumerate(program)
    )
