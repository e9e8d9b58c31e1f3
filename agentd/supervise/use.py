"""Looking whether a running agent is in use, so that a restart would disturb it or somebody."""

from __future__ import annotations

import asyncio
from typing import Final

from agentd.model.states import Activity
from agentd.supervise.applying import ATTACHED, busy
from agentd.supervise.host import Host
from agentd.supervise.life import Life
from agentd.tmux.errors import TmuxError, TmuxUnreachableError
from agentd.tmux.panes import Pane

_LIMIT: Final = 2.0
"""Seconds for tmux to answer."""

_NOT_TOLD: Final = "tmux does not tell who is attached"


def doing(host: Host, life: Life) -> tuple[str, ...]:
    """Say in words what an agent does that a restart would interrupt, as far as that is known without a look."""
    shown = None if life.run is None else host.watcher.shown(life.run.id)
    activity = Activity.UNKNOWN if shown is None else shown.activity
    return busy(activity, resumes=life.limited is not None and life.limited.due is not None)


async def look_at_use(host: Host, life: Life, pane: Pane | None) -> tuple[str, ...]:
    """Say in words what speaks against a restart; empty if nothing does."""
    assert life.run is not None
    attached: tuple[str, ...] = ()
    box: tuple[str, ...] = ()
    if pane is not None:
        try:
            async with asyncio.timeout(_LIMIT):
                attached = (ATTACHED,) if await host.tmux.attended(pane) else ()
        except (TmuxError, TmuxUnreachableError, TimeoutError):
            attached = (_NOT_TOLD,)
        held = await host.watcher.box(life.run.id)
        box = () if held is None else (held,)
    # Asked last: it may have begun to work meanwhile.
    return (*doing(host, life), *attached, *box)
