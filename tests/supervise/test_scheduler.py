"""The scheduler's timer."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from agentd.model.order import Schedule
from agentd.supervise.scheduler import Scheduler
from tests.supervise.lives import NO, declared


async def test_a_start_of_an_agent_that_cannot_be_read_now_wakes_nobody_again_and_again() -> None:
    woken: list[float] = []
    now = 1_000_000.0
    scheduler = Scheduler(wall=lambda: now, wake=lambda: woken.append(now))
    plain = declared(NO, "first")
    known = {"a": replace(plain, spec=replace(plain.spec, schedule=Schedule("* * * * *", None)))}
    scheduler.apply(known, dict, all_known=True)
    now += 3600
    # Its drop-in cannot be read: it is kept how far it has come.
    scheduler.apply({}, dict, all_known=False)
    for _ in range(3):
        await asyncio.sleep(0)
    assert woken == []
    scheduler.close()
