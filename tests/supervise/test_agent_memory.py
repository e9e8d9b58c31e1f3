"""What is left of an agent that is forgotten."""

from __future__ import annotations

import asyncio
import gc
import weakref
from types import SimpleNamespace
from typing import cast

from agentd.supervise.agent import Agent
from agentd.supervise.host import Host, SessionNames
from agentd.supervise.life import Life
from agentd.supervise.record import Description


def test_a_forgotten_agent_is_no_cycle() -> None:
    """Those that were adopted would stay for ever: the collector does not look at them."""

    async def forget() -> bool:
        host = cast("Host", SimpleNamespace(sessions=SessionNames(), runs={}))
        agent = Agent(host, Life("a"), Description("custom", "native", "a", "/"), lambda _agent: None)
        gone = weakref.ref(agent)
        agent.forget()
        del agent
        return gone() is None

    gc.disable()
    try:
        assert asyncio.run(forget())
    finally:
        gc.enable()
