"""Follows tmux: compares the panes there are with those the agents should have, over servers that die."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Final

import structlog

from agentd.model.events import Event, EventKind
from agentd.model.states import AgentState
from agentd.supervise.agent import Agent
from agentd.supervise.host import Host
from agentd.supervise.run_recorder import SeenPane
from agentd.tmux.errors import TmuxError, TmuxUnreachableError
from agentd.tmux.panes import Pane
from agentd.tmux.server import KEY_OPTION
from agentd.tmux.setup import ServerIdentity

log = structlog.get_logger(__name__)

SETTLE: Final = 0.2
"""Seconds of tmux' notifications that are answered by one look: a look at 1000 panes costs tmux 7 ms. An agent's end is
seen by its process at once; this is for sessions closed around agents that are not running."""


class PaneObserver:
    """What tmux has of all agents.

    Parameters
    ----------
    agents
        By name, as they are at the time.
    """

    def __init__(self, host: Host, agents: Mapping[str, Agent]) -> None:
        self._host = host
        self._agents = agents
        self._server: ServerIdentity | None = None
        self.digest_key = b""
        """Key of the digests in fingerprints, which the server keeps as long as it lives."""

    async def take_over(self) -> bool:
        """Know the server, and its key; says whether a former daemon had the same one.

        Raises
        ------
        TmuxError, TmuxUnreachableError
            If the server cannot be asked.
        """
        tmux = self._host.tmux
        self._server = tmux.identity
        assert self._server is not None
        self._host.reaper.server = self._server.pid
        key = await tmux.get_global(KEY_OPTION)
        same_server = key is not None
        if key is None:
            key = secrets.token_hex(16)
            await tmux.set_global(KEY_OPTION, key)
        self.digest_key = bytes.fromhex(key)
        return same_server

    async def follow(self) -> None:
        """Look at tmux a moment after each change, until cancelled; many changes make one look."""
        changed = self._host.tmux.changed
        while True:
            await changed.wait()
            await asyncio.sleep(SETTLE)
            changed.clear()
            await self.observe()

    async def observe(self) -> None:
        """Compare the panes there are with those the agents should have."""
        since = self._host.clock.now()
        self._host.groups.resync()
        try:
            await self._host.tmux.sizes.restore({agent.pane.window_id for agent in self._agents.values() if agent.pane})
            # What is opened from now on may not be among them.
            known = [(agent, agent.pane) for agent in self._agents.values()]
            states = await self._host.tmux.list_states()
        except (TmuxError, TmuxUnreachableError) as error:
            log.warning("observation_impossible", reason=str(error))
            return
        seen: list[SeenPane] = []
        for agent, pane in known:
            if agent.life.state is AgentState.STARTING:
                # Its hint may have been lost with the FIFO.
                agent.hint()
            if pane is None or agent.pane != pane:
                continue
            state = states.get(pane.pane_id)
            if state is None:
                agent.session_lost("its tmux session was closed")
                continue
            if agent.run_id is not None:
                seen.append(SeenPane(agent.run_id, pane, state.piped, state.size))
            if state.session != agent.session and state.session_id == pane.session_id:
                # Another id means that an operator moved the window: then the name belongs to the other session.
                await self._rename_back(agent, pane, state.session)
        self._host.recorder.observe(seen, since)

    async def _rename_back(self, agent: Agent, pane: Pane, name: str) -> None:
        try:
            await self._host.tmux.rename_session(pane, agent.session)
            log.info("session_renamed_back", agent=agent.name, was=name)
        except TmuxError as error:
            log.warning("session_not_renamed_back", agent=agent.name, name=name, reason=str(error))
        except TmuxUnreachableError as error:
            log.debug("session_not_renamed_back", agent=agent.name, name=name, reason=str(error))

    async def reconnected(self, reason: str) -> None:
        """Go on after the connection to tmux was lost and made again, perhaps to another server."""
        identity = self._host.tmux.identity
        assert identity is not None
        if identity != self._server:
            log.error("tmux_server_died", pid=identity.pid, reason=reason)
            self._host.emit(Event(EventKind.TMUX_SERVER_DIED, None, reason, {"pid": identity.pid}))
            self._server = identity
            self._host.reaper.server = identity.pid
            for agent in list(self._agents.values()):
                if agent.pane is not None:
                    agent.session_lost("the tmux server died")
            try:
                await self._host.tmux.set_global(KEY_OPTION, self.digest_key.hex())
            except (TmuxError, TmuxUnreachableError) as error:
                log.warning("tmux_server_lost_again", reason=str(error))
        else:
            self._host.emit(Event(EventKind.TMUX_RECONNECTED, None, reason))
        self._host.tmux.changed.set()
