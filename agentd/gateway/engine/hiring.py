"""Hiring: declaring an agent of a role that stays, in a workspace of its own."""

from __future__ import annotations

import asyncio
from typing import Final

from agentd.gateway.engine.core import Core
from agentd.gateway.engine.new_session import declared_agents
from agentd.gateway.model.caller import Caller
from agentd.gateway.model.diagnosis import program_missing
from agentd.gateway.model.errors import AgentNotReadyError, ExistsError, InvalidRequestError
from agentd.gateway.model.objects import Json
from agentd.gateway.model.requests import Hire
from agentd.gateway.model.results import Hired
from agentd.gateway.talk.declare import DeclareError
from agentd.gateway.talk.definitions import OWN, DefinitionsError
from agentd.jcard.checks import check_name
from agentd.jcard.edit.writing import TomlValue
from agentd.model.spec import ApplyWhen, RestartPolicy
from agentd.model.states import AgentState
from agentd.workspaces.workspace import WORKSPACES

PATIENCE: Final = 30.0
"""Seconds that a hired agent may take until it runs, as of ``agentctl hire``."""

_PAUSE: Final = 0.1
_HOPELESS: Final = frozenset({AgentState.FAILED, AgentState.EXITED, AgentState.TIMED_OUT})


class Hiring:
    """Hires; one at a time, so that two of the same name are one."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._alone = asyncio.Lock()

    async def hire(self, caller: Caller, wanted: Hire) -> Hired:
        """Declare an agent of a role unless it is, and wait until it runs.

        Raises
        ------
        InvalidRequestError
            If a name or the harness cannot be used.
        ExistsError
            If somebody else hired one of that name.
        AgentNotReadyError
            If it cannot be declared, its harness's program is not there, or it does not run in time.
        """
        name = _name_of(wanted)
        async with self._alone:
            known = (await declared_agents(self._core)).get(name.lower())
            if known is None:
                await self._declare(caller, wanted, name)
            elif known.owner is not None and not caller.sees(known.owner):
                raise ExistsError(f"there is an agent {known.name} already, and it is not yours")
            elif not known.enabled:
                raise AgentNotReadyError(
                    f"the agent {known.name} is declared, and stopped: agentctl start {known.name}"
                )
        return await self._running(name)

    async def _declare(self, caller: Caller, wanted: Hire, name: str) -> None:
        try:
            known = await self._core.definitions.harnesses()
            if wanted.harness not in known:
                found = f"found {wanted.harness}, expected one of {', '.join(sorted(known))}"
                raise InvalidRequestError("harness", found)
            workspace = await self._core.definitions.data_dir() / WORKSPACES / name
            table: dict[str, TomlValue] = {
                "name": name,
                "harness": wanted.harness,
                "role": wanted.role,
                "workdir": str(workspace),
                "restart": RestartPolicy.ALWAYS.value,
                "apply": ApplyWhen.IDLE.value,
            }
            if wanted.model is not None:
                table["model"] = wanted.model
            await self._core.declarations.declare(caller.user, table, leased=False)
        except (DeclareError, DefinitionsError) as error:
            raise AgentNotReadyError(str(error)) from error

    async def _running(self, name: str) -> Hired:
        last: str | None = None
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    agent = await self._core.agentd.agent(name)
                    if agent is not None:
                        state, pid, last = agent.get("state"), agent.get("pid"), _reason(agent.get("error"))
                        if state == AgentState.RUNNING and isinstance(pid, int):
                            return Hired(str(agent.get("name")), pid, str(agent.get("workdir")))
                        if state in _HOPELESS or (state == AgentState.BACKOFF and program_missing(last)):
                            raise AgentNotReadyError(f"the agent {name} is declared, and {state}{last or ''}")
                    await asyncio.sleep(_PAUSE)
        except TimeoutError:
            raise AgentNotReadyError(
                f"the agent {name} is declared, and does not run after {PATIENCE:g} s{last or ''}; "
                f"agentctl status {name} says why"
            ) from None


def _name_of(wanted: Hire) -> str:
    name = f"{wanted.role}_{wanted.name}"
    for field, value in (("role", wanted.role), ("name", wanted.name), ("name", name)):
        try:
            check_name(value)
        except ValueError as error:
            raise InvalidRequestError(field, str(error)) from None
    if OWN.fullmatch(name):
        raise InvalidRequestError("name", f"found {wanted.name}, which is the form of a session's own agent")
    return name


def _reason(error: Json) -> str | None:
    return f": {error}" if isinstance(error, str) else None
