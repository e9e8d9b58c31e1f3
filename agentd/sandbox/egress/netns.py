"""Listens on the loopback interface of a sandbox, from outside of it.

A socket stays in the network namespace that it was made in, whoever holds it. So nothing of the proxy runs in the
sandbox, and no bytes are copied twice: a child enters the sandbox's namespaces for a moment, listens there, and hands
the socket over. Whoever made a user namespace may enter it, so this needs no rights but those of the agents' user. The
child is forked by a process that was itself forked before there were threads, because only a process without threads
may enter a user namespace.

Source: setns(2), user_namespaces(7), ioctl_ns(2), ip(7).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal
import socket
from pathlib import Path
from typing import Final

from agentd.sandbox.egress.reach import PORT

_NS_GET_USERNS: Final = 0xB701
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_IP_FREEBIND: Final = 15
_BACKLOG: Final = 128
_PR_SET_PDEATHSIG: Final = 1
_LONGEST: Final = 512
LIMIT: Final = 5.0
"""Seconds for one entry; it takes 0.001."""

LIBC: Final = ctypes.CDLL(None, use_errno=True)


class EntryError(RuntimeError):
    """A sandbox's network could not be entered; the text says why."""


class Entrance:
    """The process that enters sandboxes, as the proxy sees it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._socket.close()
                LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                _serve(theirs)
            finally:
                os._exit(0)
        theirs.close()
        self._socket.settimeout(LIMIT)

    def close(self) -> None:
        """End the process."""
        self._socket.close()
        os.waitpid(self.pid, 0)

    def listen(self, pid: int, namespace: int | None = None) -> socket.socket:
        """Listen in the sandbox of a process; blocks.

        Parameters
        ----------
        pid
            A process in it.
        namespace
            Inode of its network namespace, if known: the pid may be another process' by now.

        Raises
        ------
        EntryError
            If it is gone, or cannot be entered.
        """
        try:
            self._socket.send(f"{pid} {namespace or 0}".encode())
            said, descriptors, _, _ = socket.recv_fds(self._socket, _LONGEST, 1)
        except OSError as error:
            raise EntryError(f"the process that enters sandboxes does not answer: {error.strerror or error}") from error
        if not descriptors:
            raise EntryError(said.decode("utf-8", "replace") or "the process that enters sandboxes has ended")
        return socket.socket(fileno=descriptors[0])


def _serve(control: socket.socket) -> None:
    while request := control.recv(_LONGEST):
        pid, namespace = map(int, request.split())
        child = os.fork()
        if child == 0:
            try:
                listener = _listen(pid, namespace)
                socket.send_fds(control, [b"ok"], [listener.fileno()])
            except (OSError, EntryError) as error:
                control.send(f"the network of process {pid} cannot be entered: {error}".encode()[:_LONGEST])
            finally:
                os._exit(0)
        os.waitpid(child, 0)


def _listen(pid: int, namespace: int) -> socket.socket:
    network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    found = os.fstat(network).st_ino
    if namespace and found != namespace:
        raise EntryError("it has ended")
    if found == Path("/proc/self/ns/net").stat().st_ino:
        raise EntryError("it has the host's network")
    owner = fcntl.ioctl(network, _NS_GET_USERNS)
    for descriptor, kind in ((owner, _CLONE_NEWUSER), (network, _CLONE_NEWNET)):
        if LIBC.setns(descriptor, kind) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Its loopback interface may not be up yet.
    listener.setsockopt(socket.SOL_IP, _IP_FREEBIND, 1)
    listener.bind(("127.0.0.1", PORT))
    listener.listen(_BACKLOG)
    return listener


def first_process_in(bubblewrap: int) -> int:
    """Find the first process of the sandbox that a bubblewrap has made.

    Raises
    ------
    EntryError
        If there is none any more.
    """
    try:
        children = Path(f"/proc/{bubblewrap}/task/{bubblewrap}/children").read_text().split()
    except OSError as error:
        raise EntryError(f"process {bubblewrap} has ended") from error
    if len(children) != 1:
        raise EntryError(f"process {bubblewrap} is no bubblewrap that runs: it has {len(children)} children")
    return int(children[0])


def ended(pidfd: int) -> bool:
    """Whether the process of a pidfd has ended."""
    return bool(select.select([pidfd], [], [], 0)[0])
