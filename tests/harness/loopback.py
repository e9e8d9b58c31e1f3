"""A network of loopback alone, where this process may make one: nothing that a test starts can reach another host."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
IFF_UP = 1
INTERFACE = struct.Struct("16sh")
"""The part of ``struct ifreq`` that carries an interface's name and flags; see netdevice(7)."""


@contextmanager
def loopback_only() -> Iterator[bool]:
    """Put this thread, and every thread and process it starts, into a network namespace with loopback alone.

    Yields whether it could: it takes Linux and root.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        yield False
        return
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(CLONE_NEWNET) != 0:  # a container may forbid it, to root too
            yield False
            return
        try:
            _raise_loopback()
            yield True
        finally:
            if libc.setns(before, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "cannot return to the first network namespace")
    finally:
        os.close(before)


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        name, flags = INTERFACE.unpack(fcntl.ioctl(any_socket, SIOCGIFFLAGS, INTERFACE.pack(b"lo", 0)))
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, INTERFACE.pack(name, flags | IFF_UP))
