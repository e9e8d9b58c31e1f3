"""Hosts with an address of their own each, on a network that is there alone: namespaces of Linux, which root may make.

Nothing of it is seen outside, leaves the machine, or outlives the processes that hold it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache

_NOBODY = "02:00:00:00:00:fe"
"""The hardware address of no host: what is sent there arrives nowhere, and nobody is told."""


@cache
def lacks_network() -> str | None:
    """Why no network namespaces can be made here."""
    if os.geteuid() != 0:
        return "network namespaces are what root makes"
    if missing := [each for each in ("unshare", "nsenter", "ip") if shutil.which(each) is None]:
        return f"network namespaces: there is no {missing[0]}"
    try:
        with network(1):
            return None
    except subprocess.CalledProcessError as error:
        return f"network namespaces cannot be made here: {error.stderr.strip()}"


class Holder:
    """Keeps a namespace while it lives."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
        # It answers once it is in there; the end of it says that it may not.
        if not self._process.stdout.readline():
            said = self._process.communicate()[1].decode()
            raise subprocess.CalledProcessError(self._process.returncode, "unshare --net", stderr=said)

    @property
    def pid(self) -> int:
        """Of the process that holds it."""
        return self._process.pid

    @property
    def enter(self) -> tuple[str, ...]:
        """What to write before a command that is to run there."""
        return ("nsenter", f"--net=/proc/{self.pid}/ns/net")

    def ip(self, *words: str) -> None:
        """Change its network."""
        subprocess.run([*self.enter, "ip", *words], check=True, capture_output=True, text=True, timeout=20)

    def close(self) -> None:
        """Have it end, with all that is in it."""
        self._process.communicate(timeout=20)


class Place:
    """A host's namespace."""

    def __init__(self, number: int, switch: Holder, holder: Holder) -> None:
        self.address = f"10.213.0.{number}"
        self._holder, self._switch = holder, switch
        self._port = f"port{number}"
        switch.ip("link", "add", self._port, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
        switch.ip("link", "set", self._port, "master", "switch", "up")
        for words in (("link", "set", "lo", "up"), ("address", "add", f"{self.address}/24", "dev", "eth0")):
            holder.ip(*words)
        holder.ip("link", "set", "eth0", "up")

    @property
    def enter(self) -> tuple[str, ...]:
        """What to write before a command that is to run there."""
        return self._holder.enter

    def cut(self) -> None:
        """Take its cable out."""
        self._switch.ip("link", "set", self._port, "down")

    def mend(self) -> None:
        """Put its cable in again."""
        self._switch.ip("link", "set", self._port, "up")

    def silence(self, other: Place) -> None:
        """Lose all that it sends to another one, but not what it is sent."""
        self._holder.ip("neigh", "replace", other.address, "lladdr", _NOBODY, "nud", "permanent", "dev", "eth0")

    def hear(self, other: Place) -> None:
        """Mend that."""
        self._holder.ip("neigh", "del", other.address, "dev", "eth0")

    def reaches(self, other: Place, port: int) -> bool:
        """Whether somebody listens at a port of another one, and is reached."""
        script = f"import socket; socket.create_connection(('{other.address}', {port}), 1).close()"
        done = subprocess.run([*self.enter, "python3", "-c", script], check=False, capture_output=True, timeout=20)
        return done.returncode == 0


@contextlib.contextmanager
def network(hosts: int) -> Iterator[list[Place]]:
    """Make so many hosts that reach each other by a switch.

    Raises
    ------
    subprocess.CalledProcessError
        If the kernel, or whoever rules this machine, does not let us.
    """
    with contextlib.ExitStack() as stack:

        def hold() -> Holder:
            holder = Holder()
            stack.callback(holder.close)
            return holder

        switch = hold()
        switch.ip("link", "add", "switch", "type", "bridge")
        switch.ip("link", "set", "switch", "up")
        yield [Place(number, switch, hold()) for number in range(1, hosts + 1)]
