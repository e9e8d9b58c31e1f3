"""A defect of agentd that ends what it does for an agent must not end the agent's supervision."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from agentd.model.events import Event
from agentd.model.states import AgentState
from agentd.supervise.agent import Agent
from agentd.supervise.host import Clock, Host, SessionNames
from agentd.supervise.life import Life
from agentd.supervise.record import Description
from tests.supervise.lives import declared


async def test_a_launch_that_a_defect_ends_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_agent: Agent, _run_id: str) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(Agent, "_launch", broken)
    told: list[Event] = []
    host = SimpleNamespace(
        clock=Clock(),
        sessions=SessionNames(),
        runs={},
        base_environment={},
        emit=told.append,
        redact=lambda text: text,
        debug=False,
        recorder=SimpleNamespace(ended=lambda _end: None),
        state_changed=lambda _state: None,
    )
    agent = Agent(cast("Host", host), Life("a"), Description("custom", "native", "a", "/"), lambda _agent: None)
    agent.define(declared())
    assert agent._worker is not None
    await asyncio.wait([agent._worker])
    assert agent.life.state is AgentState.FAILED
    assert "defect of agentd" in (agent.life.error or "")
    assert [event.kind.value for event in told][-2:] == ["launch_failed", "failed"]
    await agent.close()
