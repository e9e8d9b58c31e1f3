"""What all operations on workers work with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from agentd.api.client.socket import Json, JsonObject, Query, RefusedError, Socket, UnreachableError
from agentd.api.client.turns import Turns
from agentd.files.worker import Worker as Thread
from agentd.model.pool import OWNER
from agentd.model.spec import AGENT_VARIABLE
from agentd.pool.errors import Code, PoolError
from agentd.settings.settings import Settings
from agentd.settings.sockets import turns_socket

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class Pool:
    """Workers of one agentd; to be opened with ``async with``.

    Parameters
    ----------
    settings
        Where agentd is, and where agents are declared.
    environ
        The caller's.
    parent
        Who the caller is, for the workers that it spawns; ``None`` is the agent that the environment names.
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str] = os.environ, parent: str | None = None) -> None:
        self.settings = settings
        self.environ = environ
        self.parent = parent or environ.get(AGENT_VARIABLE) or None
        self.api = Asking(Socket(settings.api_socket), settings.api_socket)
        self.turns = Turns(Socket(turns_socket(settings.api_socket)))
        self.thread = Thread("pool")

    async def __aenter__(self) -> Self:
        """Open it."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections, and let the thread end."""
        await self.api.socket.close()
        await self.turns.socket.close()
        self.thread.close()

    @property
    def folder(self) -> Path:
        """The folder of the drop-ins that declare workers."""
        return self.settings.config_dir / OWNER


@dataclass(frozen=True, slots=True)
class Asking:
    """The status API; what it raises are `PoolError`."""

    socket: Socket
    path: Path

    async def get(self, resource: str, query: Query | None = None) -> Json:
        """Ask.

        Raises
        ------
        PoolError
            If agentd does not answer, or refuses.
        """
        try:
            return await self.socket.ask("GET", resource, query=query)
        except UnreachableError as error:
            raise unreachable(error) from error
        except RefusedError as error:
            raise PoolError(Code.REFUSED, str(error), "agentctl status", status=error.status) from error

    async def get_or_none(self, resource: str) -> Json:
        """Ask; ``None`` if there is no such thing; raises as `get`."""
        try:
            return await self.get(resource)
        except PoolError as error:
            if error.details.get("status") == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def found(self, resource: str) -> JsonObject | None:
        """Ask for an object; ``None`` if there is none; raises as `get`."""
        found = await self.get_or_none(resource)
        return found if isinstance(found, dict) else None


def unreachable(error: UnreachableError) -> PoolError:
    """Say that agentd does not answer."""
    return PoolError(Code.UNREACHABLE, str(error), "agentctl doctor")
