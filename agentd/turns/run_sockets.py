"""The sockets of runs in sandboxes, one each: what comes by one is of that run, or refused.

Such a run sees no other socket of agentd's. By its own it posts hooks, and asks nothing else. It has bounds of its own:
whatever an agent does there takes nothing from the others but time.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import structlog

from agentd.turns.hook_socket import Bounds, HookSocket, HttpAnswer, HttpRequest
from agentd.turns.peers import Peer

log = structlog.get_logger(__name__)

BOUNDS: Final = Bounds(connections=64, in_memory=4 << 20)
"""Of one run."""


class RunSockets:
    """Serves them.

    Parameters
    ----------
    may_connect
        Whether a peer has any business here.
    handle
        Answers a request that came by the socket of the run with this id.
    """

    def __init__(
        self, may_connect: Callable[[Peer], bool], handle: Callable[[str, HttpRequest], Awaitable[HttpAnswer]]
    ) -> None:
        self._may_connect = may_connect
        self._handle = handle
        self._served: dict[str, HookSocket] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def serve(self, run_id: str, bound: socket.socket) -> None:
        """Serve the socket of a run."""
        served = self._served[run_id] = HookSocket(self._may_connect, partial(self._handle, run_id), BOUNDS)
        self._do(served.listen(bound), run_id)

    def close(self, run_id: str) -> None:
        """Serve a run no more."""
        served = self._served.pop(run_id, None)
        if served is not None:
            self._do(served.close(), run_id)

    def _do(self, work: Awaitable[None], name: str) -> None:
        task = asyncio.ensure_future(work)
        task.set_name(name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("hooks_not_served", run=task.get_name(), reason=str(error))

    async def close_all(self) -> None:
        """Serve nobody any more."""
        for run_id in list(self._served):
            self.close(run_id)
        if self._tasks:
            await asyncio.wait(self._tasks)
