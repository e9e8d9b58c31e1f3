"""The Node of a host: asks the Controller what this host is to have, and has it. It decides nothing itself."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog

from agentd.api.client.socket import JsonObject, RefusedError, Socket, UnreachableError
from agentd.files.worker import Worker
from agentd.fleet.errors import NoAnswerError
from agentd.fleet.folder import OWNER, FleetFolder
from agentd.fleet.leases import LeaseTerms
from agentd.fleet.ledger import HostRecord
from agentd.fleet.messages import HostReport, Orders, instance_of, new_token

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

SETTLE: Final = 2.0
"""Seconds until agentd has surely seen a file go, and until one that has just started lists all that it adopts."""


Ask = Callable[[HostReport], Awaitable[Orders | None]]
"""Asks the Controller; raises `NoAnswerError`."""


class Node:
    """A host's part of the fleet.

    Parameters
    ----------
    record
        What the host has.
    folder
        Its drop-ins of the fleet.
    api_socket
        Of its agentd.
    """

    def __init__(
        self, record: HostRecord, folder: FleetFolder, api_socket: Path, ask: Ask, settle: float = SETTLE
    ) -> None:
        self.record = record
        self.agentd = Socket(api_socket)
        self._folder = folder
        self._ask = ask
        self._settle = settle
        self._worker = Worker("fleet-folder")
        self._woken = asyncio.Event()
        self._instance = instance_of(record.address, folder.path)
        self._token, self._number = new_token(self._instance), -1
        self._epoch = 0
        self._terms = LeaseTerms()
        # What a former Node was granted may have begun a moment ago.
        self._answered = time.monotonic()
        self._silent = False

    def wake(self) -> None:
        """Ask soon."""
        self._woken.set()

    async def run(self) -> None:
        """Ask again and again."""
        while True:
            self._woken.clear()
            await self.beat()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._terms.beat):
                    await self._woken.wait()

    async def beat(self) -> None:
        """Ask once, and do what the answer says."""
        files = await self._worker.do(self._folder.read)
        report = await self._report(files)
        asked = time.monotonic()
        try:
            async with asyncio.timeout(self._terms.window):
                orders = await self._ask(report)
        except (NoAnswerError, TimeoutError) as error:
            await self._unanswered(error)
            return
        if orders is None or orders.epoch < self._epoch:
            # Another Node of this host was heard meanwhile, or a Controller that is none any more.
            self._token, self._number = new_token(self._instance), -1
            return
        if self._silent:
            log.info("controller_answers", host=self.record.name)
        self._silent = False
        self._epoch, self._terms = orders.epoch, orders.terms
        if orders.terms.renews(asked, time.monotonic()):
            self._answered = asked
            await self._worker.do(lambda: self._folder.follow(orders, asked, files))
            if orders.texts or files.keys() - orders.files.keys():
                self.wake()  # what has changed is told at once

    async def _unanswered(self, error: Exception) -> None:
        if not self._silent:
            reason = str(error) or "it takes too long"
            log.warning("controller_does_not_answer", host=self.record.name, reason=reason)
        self._silent = True
        if time.monotonic() >= self._terms.withdraws_at(self._answered):
            withdrawn = await self._worker.do(self._folder.withdraw)
            if withdrawn:
                log.warning("lease_ended", host=self.record.name, withdrawn=withdrawn)

    async def _report(self, files: dict[str, str]) -> HostReport:
        self._number += 1
        version, present, note = None, None, None
        try:
            health = await self.agentd.ask("GET", "/v1/health")
            listed = await self.agentd.ask("GET", "/v1/agents")
            # Asked for last: what is withdrawn later is in the files of this report.
            withdrawn = self._folder.lately_withdrawn(self._settle)
            if isinstance(health, dict) and isinstance(listed, list):
                version = str(health.get("version"))
                uptime = health.get("uptime_seconds")
                if withdrawn is not None and isinstance(uptime, int) and uptime >= self._settle:
                    present = withdrawn | {
                        str(each["name"]) for each in listed if isinstance(each, dict) and _ours(each)
                    }
        except (UnreachableError, RefusedError) as error:
            note = str(error)
        return HostReport(self.record, self._token, self._number, files, present, version, note)

    async def close(self) -> None:
        """Leave the host as it is: its drop-ins stay until their lease ends."""
        await self.agentd.close()
        self._worker.close()
        self._folder.close()


def _ours(agent: JsonObject) -> bool:
    """Whether an agent is of the fleet, or of a file that is not there any more."""
    return agent.get("owner") == OWNER or agent.get("source") is None
