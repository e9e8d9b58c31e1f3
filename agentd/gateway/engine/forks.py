"""Sessions whose conversation begins with what another one was up to the end of a run."""

from __future__ import annotations

import re
from typing import Final

from agentd.gateway.engine import steps
from agentd.gateway.engine.core import Core
from agentd.gateway.engine.new_session import declared_agents, plan_session
from agentd.gateway.model.caller import Caller
from agentd.gateway.model.errors import NotForkableError
from agentd.gateway.model.requests import NewSession
from agentd.gateway.store import runs
from agentd.gateway.store.runs import Stage, StoredRun
from agentd.gateway.store.sessions import StoredSession
from agentd.harness.base import Forks
from agentd.harness.builtin import BUILT_IN
from agentd.model.spec import FORK_POINT, ForkPoint

_UNDER_WAY: Final = "it is under way; wait for its end"


def forks_of(harness: str) -> Forks:
    """Say how far conversations of a harness can be forked."""
    known = BUILT_IN.get(harness)
    return Forks.NO if known is None else known.facts.forks


def forks(session: StoredSession) -> bool:
    """Whether what is said in a session can be forked at all; the declared agent's own conversation is not."""
    return session.own and forks_of(session.session.harness) is not Forks.NO


def point_of(session: StoredSession, stored: StoredRun, thread: str) -> str | None:
    """Name the end of the turn that a run has begun; ``None`` where it cannot be named."""
    if stored.turn_id is None or not forks(session):
        return stored.fork_point
    point = str(ForkPoint(thread, stored.turn_id))
    return point if re.fullmatch(FORK_POINT, point, re.ASCII) else None


async def plan_fork(core: Core, caller: Caller, run_id: str) -> StoredSession:
    """Decide on everything about a session that goes on from the end of a run; it is not stored yet.

    Raises
    ------
    NotForkableError
        If the conversation cannot be forked there.
    GatewayError
        What `plan_session` raises.
    """
    async with core.database.read() as connection:
        stored = await steps.find_run(connection, caller, run_id)
        session = await steps.find_session(connection, caller, stored.run.session_id)
        # What a run was asked whose turn never began is in no conversation.
        last = await runs.last_turn(connection, stored)
    agent, harness = session.session.agent, session.session.harness
    if not session.own:
        raise NotForkableError(f"the own conversation of {agent} is not forked")
    if agent is None or not forks(session):
        raise NotForkableError(f"{harness} cannot fork a conversation")
    if not stored.status.terminal or stored.stage is not Stage.RESTING:
        raise NotForkableError(_UNDER_WAY)
    if last is not None and last.fork_point is None:
        raise NotForkableError("it is not known where in the agent's conversation it ended")
    spec = (await declared_agents(core)).get(agent.lower())
    if spec is not None and spec.harness != harness:
        raise NotForkableError(f"{agent} runs {spec.harness} now, and its conversation is one of {harness}")
    point = session.fork_from if last is None else last.fork_point
    planned = await plan_session(core, caller, NewSession(agent=agent), fork_from=point)
    elsewhere = planned.session.workdir != session.session.workdir
    if point is not None and elsewhere and forks_of(harness) is Forks.SAME_FOLDER:
        raise NotForkableError(f"{harness} forks only in the same folder, and each conversation of {agent} has its own")
    return planned
