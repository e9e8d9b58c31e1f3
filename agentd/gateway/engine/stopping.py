"""Having an agent leave the turn of a run that is over."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from agentd.api.client.socket import RefusedError
from agentd.gateway.engine.agents import Agents
from agentd.gateway.engine.core import Core
from agentd.gateway.model.errors import AgentNotReadyError
from agentd.gateway.model.follow import Line
from agentd.gateway.store.runs import StoredRun
from agentd.gateway.store.sessions import StoredSession

log = structlog.get_logger(__name__)

_LOOK: Final = 0.2
"""Seconds between looks at whether it is out."""

_INTERRUPT_AGAIN: Final = 5.0
"""Seconds after which it is interrupted again; sooner, some programs take it as a wish to end."""

_PATIENCE: Final = 15.0
"""Seconds after which an agent that does not leave its turn is restarted, if it is there for the session alone."""

_OVER: Final = ("ended", "failed", "expired", "withdrawn")


class Stopping:
    """One run that is over."""

    def __init__(self, core: Core, agents: Agents) -> None:
        self._core = core
        self._agents = agents
        self._since: float | None = None
        self._interrupted: float | None = None

    async def step(self, stored: StoredRun, session: StoredSession) -> tuple[Line | None, float]:
        """Do what there is to do.

        Returns
        -------
        What became of the message, once that is certain, as a line of the stream; and when there is more to do.

        Raises
        ------
        AgentdUnreachableError
            If agentd does not answer.
        """
        now = asyncio.get_running_loop().time()
        since = self._since = self._since or now
        message_id = stored.delivery_id or ""
        withdrawn: Line = {"kind": "message", "message": message_id, "status": "withdrawn"}
        view = await self._core.turns.message(stored.target, message_id)
        if view is None:
            return withdrawn, now
        if view.get("status") in _OVER:
            return view, now
        if view.get("status") == "queued" and await self._withdraw(stored.target, message_id):
            return withdrawn, now
        if view.get("status") == "started" and (
            self._interrupted is None or now - self._interrupted > _INTERRUPT_AGAIN
        ):
            await self._interrupt(stored.target, now)
        if session.own and now - since > _PATIENCE:
            log.warning("turn_not_left", agent=stored.target, run=stored.id, action="the agent is restarted")
            self._since = now
            try:
                await self._agents.withdraw(session)
            except AgentNotReadyError as error:
                log.error("agent_not_withdrawn", agent=stored.target, reason=str(error))
        return None, now + _LOOK

    async def _withdraw(self, agent: str, message_id: str) -> bool:
        try:
            await self._core.turns.withdraw(agent, message_id)
        except RefusedError:
            # It was delivered meanwhile.
            return False
        return True

    async def _interrupt(self, agent: str, now: float) -> None:
        try:
            await self._core.turns.interrupt(agent)
        except RefusedError as error:
            log.info("turn_not_interrupted", agent=agent, reason=str(error))
        else:
            self._interrupted = now
