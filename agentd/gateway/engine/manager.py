"""The manager: an agent that hires and messages others, declared as long as the settings name it."""

from __future__ import annotations

from typing import Final

import structlog

from agentd.gateway.engine.core import Core
from agentd.gateway.model.errors import AgentNotReadyError
from agentd.gateway.model.requests import DEFAULT_HARNESS
from agentd.gateway.talk.declare import DeclareError
from agentd.gateway.talk.definitions import DefinitionsError
from agentd.jcard.edit.writing import TomlValue
from agentd.model.gateway import CLIENT_TOKEN, CLIENT_URL
from agentd.model.spec import ApplyWhen, RestartPolicy
from agentd.workspaces.workspace import WORKSPACES

log = structlog.get_logger(__name__)

ROLE: Final = "manager"
"""Whose templates say how to hire and message others. Who wants another harness declares the agent in the jcard."""

FILE: Final = "manager"
"""Name of its drop-in, whatever the agent's name is; another agent's has an underscore or two dashes in it."""


class Manager:
    """Declares it, or withdraws what was declared when the settings named one."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._told: str | None = None

    async def keep(self, *, renew: bool = True) -> None:
        """Declare the manager unless somebody else does; withdraw it if none is wanted.

        Parameters
        ----------
        renew
            Whether its drop-in is written anew where it is there, in case somebody changed it.
        """
        name = self._core.options.manager
        try:
            if name is None:
                await self._core.declarations.withdraw(None, FILE)
                return
            spec = (await self._core.definitions.agents()).get(name.lower())
            if spec is None or (renew and spec.source == self._core.declarations.path(None, FILE)):
                await self._core.declarations.declare(None, await self._table(name), leased=False, file=FILE)
            self._told = None
        except (AgentNotReadyError, DeclareError, DefinitionsError) as error:
            if str(error) != self._told:
                self._told = str(error)
                log.error("gateway_manager_not_declared", agent=name, reason=str(error))

    async def _table(self, name: str) -> dict[str, TomlValue]:
        options = self._core.options
        table: dict[str, TomlValue] = {
            "name": name,
            "harness": DEFAULT_HARNESS,
            "role": ROLE,
            "workdir": str(await self._core.definitions.data_dir() / WORKSPACES / name),
            "restart": RestartPolicy.ALWAYS.value,
            "apply": ApplyWhen.IDLE.value,
            "env": {CLIENT_URL: options.url},
        }
        if options.manager_has_token:
            table["secrets"] = [CLIENT_TOKEN]
        return table
