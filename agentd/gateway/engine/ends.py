"""How runs end with the turns and the processes of their agents."""

from __future__ import annotations

import asyncio
from typing import Final

from agentd.gateway.engine.core import Core
from agentd.gateway.engine.steps import End
from agentd.gateway.model.follow import NotDelivered, TurnEnded
from agentd.gateway.model.objects import Json, RunError
from agentd.gateway.model.outcome import NOT_READY, WORKER_LOST, Exit, outcome_of
from agentd.gateway.model.states import RunStatus
from agentd.gateway.store.runs import StoredRun

_EXIT_LIMIT: Final = 3.0
"""Seconds within which agentd tells how an agent ended whose turn was lost; it takes 0.1."""
_EXIT_AGAIN: Final = 0.05

_GONE: Final = ("exited", "failed", "timed_out", "disabled")
"""States of agents that are not started again."""
_RESTARTING: Final = "backoff"


class Ends:
    """Asks agentd about them; raises `AgentdUnreachableError`."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def of_turn(self, stored: StoredRun, ended: TurnEnded | NotDelivered) -> End:
        """Say how a run ends with its turn."""
        lost = ended.status == "failed" if isinstance(ended, NotDelivered) else ended.outcome == "lost"
        exit_ = await self._exit(stored, ended.agent_run) if lost else None
        status, error = outcome_of(ended, exit_)
        turn = ended if isinstance(ended, TurnEnded) else None
        return End(
            status,
            result_text=None if turn is None else turn.result,
            error=error,
            exit_code=None if exit_ is None else exit_.code,
            exit_signal=None if exit_ is None else exit_.signal,
            usage=None if turn is None else turn.usage,
        )

    async def _exit(self, stored: StoredRun, agent_run: str | None) -> Exit | None:
        """Say how the agent ended in a run; ``None`` if it did not."""
        until = asyncio.get_running_loop().time() + _EXIT_LIMIT
        while True:
            exits = await self._core.agentd.exits(stored.target, stored.working_since or 0.0)
            found = [each.exit for each in exits if agent_run is None or each.agent_run == agent_run]
            if found:
                return found[-1]
            if asyncio.get_running_loop().time() >= until:
                return None
            await asyncio.sleep(_EXIT_AGAIN)

    async def of_agent(self, stored: StoredRun) -> End | None:
        """Say how a run ends whose agent does not take its message; ``None`` while it still may."""
        agent = await self._core.agentd.agent(stored.target)
        if agent is None:
            return None
        state, error = agent.get("state"), agent.get("error")
        reason = error if isinstance(error, str) and error else f"the agent {stored.target} is {state}"
        if state == _RESTARTING:
            exits = await self._core.agentd.exits(stored.target, stored.working_since or 0.0)
            if exits:
                last = exits[-1].exit
                return _ended(RunError(WORKER_LOST, str(last)), last)
            if await self._core.agentd.launch_failed(stored.target, stored.working_since or 0.0):
                return _ended(RunError(NOT_READY, reason), None)
        elif state in _GONE:
            return _ended(RunError(NOT_READY, reason), Exit(_number(agent["exit_code"]), _number(agent["exit_signal"])))
        return None


def _ended(error: RunError, exit_: Exit | None) -> End:
    return End(
        RunStatus.FAILED,
        error=error,
        exit_code=None if exit_ is None else exit_.code,
        exit_signal=None if exit_ is None else exit_.signal,
    )


def _number(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
