"""The drop-ins of a fleet on a host: read, written, renewed and withdrawn. Blocks; the Node has a thread for it."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from agentd.files.boot import boot_id
from agentd.files.locks import lock_file
from agentd.fleet.leases import LeaseTerms
from agentd.fleet.messages import Orders
from agentd.jcard.drop_in_folder import SUFFIX
from agentd.jcard.edit.drop_ins import remove_drop_in, renew_drop_in, write_drop_in

OWNER: Final = "fleet"
"""The subfolder of the drop-ins, and so the owner of their agents."""

_LOCK: Final = ".lock"
_LEASED: Final = "[drop_in]\n"


class FolderTakenError(Exception):
    """Another Node of this host has the folder; the text says so."""


class FleetFolder:
    """``jcard.d/fleet``, as long as this object has it for itself.

    Parameters
    ----------
    folder
        Absolute; made where it is missing.

    Raises
    ------
    FolderTakenError
        If another process has it.
    OSError
        If it cannot be used.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = folder
        self._clock = clock
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        lock = lock_file(folder / _LOCK)
        if lock is None:
            raise FolderTakenError(f"{folder}: another Node writes here; end that one first")
        self._lock = lock
        boot = boot_id()
        self._boot = b"" if boot is None else f'boot = "{boot}"\n'.encode()
        self._leased: frozenset[str] = frozenset()
        self._withdrawn: dict[str, float] = {}
        self._renewed = -1.0
        self._started = clock()

    def read(self) -> dict[str, str]:
        """Give the digests of what is there, by agent."""
        digests, leased = {}, set()
        for path in self.path.glob(f"*{SUFFIX}"):
            try:
                text = path.read_bytes()
            except FileNotFoundError:
                continue
            digests[path.stem] = hashlib.sha256(text.replace(self._boot, b"", 1)).hexdigest()[:16]
            if _LEASED.encode() in text:
                leased.add(path.stem)
        self._leased = frozenset(leased)
        return digests

    def lately_withdrawn(self, settle: float) -> frozenset[str] | None:
        """Name what agentd may not have seen withdrawn yet; ``None`` if a former Node may have done it just now."""
        now = self._clock()
        if now < self._started + settle:
            return None
        self._withdrawn = {name: at for name, at in self._withdrawn.items() if now < at + settle}
        return frozenset(self._withdrawn)

    def follow(self, orders: Orders, asked: float, digests: Mapping[str, str]) -> None:
        """Have what the orders say, and renew what has a lease; nothing more once they have come too late."""
        for name in digests.keys() - orders.files.keys():
            self._remove(name)
        for name, text in orders.texts.items():
            if not self._in_time(orders.terms, asked):
                return
            # A host that has rebooted may have lost its agents to another one: nothing starts before it is told.
            write_drop_in(self._path(name), text.replace(_LEASED, _LEASED + self._boot.decode(), 1))
        if self._clock() < self._renewed + orders.terms.lease / 4:
            return
        self._renewed = self._clock()
        for name in orders.leased - orders.texts.keys():
            if not self._in_time(orders.terms, asked):
                return
            try:
                renew_drop_in(self._path(name))
            except FileNotFoundError:
                continue  # the next answer brings it again

    def withdraw(self) -> int:
        """Take back all that has a lease; returns how many."""
        names = self._leased & self.read().keys()
        for name in names:
            self._remove(name)
        return len(names)

    def _in_time(self, terms: LeaseTerms, asked: float) -> bool:
        return terms.renews(asked, self._clock())

    def _remove(self, name: str) -> None:
        remove_drop_in(self._path(name))
        self._withdrawn[name] = self._clock()

    def _path(self, name: str) -> Path:
        return self.path / f"{name}{SUFFIX}"

    def close(self) -> None:
        """Let another Node have it."""
        os.close(self._lock)
