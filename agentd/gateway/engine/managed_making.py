"""Making and unmaking managed agents, so that none is there by half.

The database comes first: what it says is being made or removed is removed by whoever finds it after a crash, and what
it says is there is declared again.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

import structlog

from agentd.gateway.engine import steps
from agentd.gateway.engine.conversations import add_session
from agentd.gateway.engine.core import Core
from agentd.gateway.ids import new_id
from agentd.gateway.model.errors import AgentdUnreachableError, AgentNotReadyError, ExistsError
from agentd.gateway.model.managed import ManagedAgent, ManagedState
from agentd.gateway.model.objects import EventType, Session
from agentd.gateway.model.states import SessionStatus
from agentd.gateway.model.wanted import WantedAgent
from agentd.gateway.render.rendered import Rendered
from agentd.gateway.store import confirmations, managed, runs, sessions
from agentd.gateway.store.database import Writer
from agentd.gateway.store.sessions import StoredSession
from agentd.gateway.talk.declare import DeclareError
from agentd.gateway.talk.definitions import DefinitionsError
from agentd.gateway.talk.trees import TreeError
from agentd.harness.base import Credentials
from agentd.harness.builtin import BUILT_IN
from agentd.jcard.edit.writing import TomlValue
from agentd.model.spec import AgentType, ApplyWhen, Mode, RestartPolicy, SandboxKind
from agentd.sandbox.engines import Where, look
from agentd.sandbox.granted import home_of
from agentd.sandbox.support import SandboxError
from agentd.workspaces.workspace import WORKSPACES

log = structlog.get_logger(__name__)

FAILURES: Final = (DeclareError, DefinitionsError, TreeError, OSError)
"""Why an agent cannot be made or removed."""

TALKED_TO_SANDBOXED: Final = frozenset({"claude-code", "codex", "opencode", "gemini-cli"})
"""Harnesses whose turns agentd follows in a sandbox, too; others could not be talked to there, nor asked."""

_ROLE: Final = "default"
"""Of its workspace, which makes the folder one that agentd trusts and a sandbox may have."""

_GRACE: Final = "5s"
_GONE: Final = 10.0
"""Seconds that agentd may take to stop an agent before its folder is removed."""
_LOOK: Final = 0.02


class Making:
    """Makes and unmakes them; whoever calls keeps others from the same agent meanwhile."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._can_be_sandboxed = False

    async def folder(self, agent: str) -> Path:
        """Give the place of an agent's folder."""
        return await self._core.definitions.data_dir() / WORKSPACES / agent

    async def make(self, wanted: WantedAgent, rendered: Rendered) -> ManagedAgent:
        """Make an agent.

        Raises
        ------
        ExistsError
            If there is one.
        AgentNotReadyError
            If it cannot be made; nothing of it is there then.
        """
        now = self._core.wall()
        try:
            folder = await self.folder(f"{wanted.username}--{wanted.name}")
            made = await self._note(wanted, rendered, folder, now)
        except DefinitionsError as error:
            raise AgentNotReadyError(str(error)) from error
        try:
            user = await self._core.definitions.user()
            await self._core.trees.write(user, folder, rendered.files)
            await self._core.user_files.keep_secret(made.username, made.name, wanted.secret_pubsub)
            await self._declare(made, folder)
        except FAILURES as error:
            await self.unmake(made, log_too=True)
            raise AgentNotReadyError(f"the agent {made.agent} cannot be made: {error}") from error
        await self._change(made, state=ManagedState.READY.value)
        return made

    async def _note(self, wanted: WantedAgent, rendered: Rendered, folder: Path, now: float) -> ManagedAgent:
        agent = ManagedAgent(
            wanted.username,
            wanted.name,
            wanted.harness,
            new_id("ses", now),
            wanted.definition,
            enabled=True,
            created_at=now,
            args=rendered.args,
            model=rendered.model,
        )
        session = Session(
            id=agent.session_id,
            title=None,
            status=SessionStatus.OPEN,
            agent=agent.agent,
            harness=agent.harness,
            workdir=str(folder),
            tmux_session=agent.agent,
            provider_thread_id=None,
            parent_session_id=None,
            parent_run_id=None,
            owner=agent.username,
            created_at=now,
            updated_at=now,
        )
        declared = await self._core.definitions.agents()

        async def work(writer: Writer) -> None:
            if await managed.find(writer.connection, agent.agent) is not None or agent.agent.lower() in declared:
                raise ExistsError(f"there is an agent {agent.username}/{agent.name} already")
            await managed.add(writer.connection, agent)
            await add_session(writer, StoredSession(session, target=agent.agent, own=False, used_at=now))

        await self._core.database.write(work)
        return agent

    async def declare(self, agent: ManagedAgent) -> None:
        """Declare an agent as it is now.

        Raises
        ------
        AgentNotReadyError
            If that cannot be done.
        """
        try:
            await self._declare(agent, await self.folder(agent.agent))
        except FAILURES as error:
            raise AgentNotReadyError(f"the agent {agent.agent} cannot be declared: {error}") from error

    async def _declare(self, agent: ManagedAgent, folder: Path) -> None:
        options = self._core.options.managed
        table: dict[str, TomlValue] = {
            "name": agent.agent,
            "harness": agent.harness,
            "type": (await self.kind(agent.harness)).value,
            "role": _ROLE,
            "workdir": str(folder),
            "mode": Mode.INTERACTIVE.value,
            "restart": RestartPolicy.ALWAYS.value,
            # That it changes restarts no agent.
            "resume": agent.talked,
            "apply": ApplyWhen.IDLE.value,
            "grace_period": _GRACE,
            "args": [*agent.args],
            "secrets": [*(_own_secrets(agent.harness) if options.secrets is None else options.secrets)],
        }
        if agent.model is not None:
            table["model"] = agent.model
        if agent.initial_task is not None:
            table["prompt"] = agent.initial_task
        if options.env:
            table["env"] = dict(options.env)
        if not agent.enabled:
            table["enabled"] = False
        await self._core.declarations.declare(agent.username, table, leased=False)

    async def kind(self, harness: str) -> AgentType:
        """Decide how an agent runs: sandboxed where the machine can, and it can be talked to there."""
        wanted = self._core.options.managed.kind
        if wanted is not None or harness not in TALKED_TO_SANDBOXED:
            return wanted or AgentType.NATIVE
        if not self._can_be_sandboxed:
            user = await self._core.definitions.user()
            try:
                # In gVisor's they could not be talked to.
                await asyncio.to_thread(look, SandboxKind.BUBBLEWRAP, Where(user, os.environ))
            except SandboxError as error:
                # What cannot be now may be later: it is tried for each.
                log.warning("managed_agents_not_sandboxed", reason=str(error))
                return AgentType.NATIVE
            self._can_be_sandboxed = True
        return AgentType.SANDBOXED

    async def unmake(self, agent: ManagedAgent, *, log_too: bool) -> None:
        """Remove an agent and all that is its own.

        Raises
        ------
        AgentNotReadyError
            If that cannot be done now; it is tried again.
        """
        conversations = await self._close_conversations(agent)
        names = [each.target for each in conversations]
        try:
            for each in conversations:
                await self._core.declarations.withdraw(each.session.owner, each.target)
            await self._core.declarations.withdraw(agent.username, agent.agent)
            running = [each.target for each in conversations if each.declared]
            await asyncio.gather(*map(self._gone, [agent.agent, *running]))
            if not agent.keep:
                data = await self._core.definitions.data_dir()
                homes = [home_of(name, data) for name in (agent.agent, *names)]
                folders = [await self.folder(agent.agent), *homes]
                await self._core.trees.remove(await self._core.definitions.user(), folders)
            log_too = log_too and not agent.keep
            if log_too:
                user = await self._core.definitions.user()
                for name in (agent.agent, *names):
                    await self._core.user_files.remove_transcripts(name, user)
            await self._core.user_files.remove(agent.username, agent.name, log=log_too)
        except FAILURES as error:
            raise AgentNotReadyError(f"the agent {agent.agent} cannot be removed yet: {error}") from error

        async def work(writer: Writer) -> None:
            connection = writer.connection
            stored = await sessions.find(connection, agent.session_id)
            if stored is not None:
                await self._close(writer, stored)
            await confirmations.remove_of(connection, agent.agent)
            await managed.remove(connection, agent.agent)

        await self._core.database.write(work)

    async def _close_conversations(self, agent: ManagedAgent) -> list[StoredSession]:
        """Close the conversations that have agents of their own by this one's definition: none begins any more."""

        async def work(writer: Writer) -> list[StoredSession]:
            found = await sessions.by_definition(writer.connection, agent.agent)
            for each in found:
                await self._close(writer, each)
            return found

        return await self._core.database.write(work)

    async def _close(self, writer: Writer, stored: StoredSession) -> None:
        if stored.open:
            now = self._core.wall()
            unfinished = await runs.unfinished(writer.connection, stored.id)
            await steps.cancel_tree(writer, unfinished, "the agent was deleted", now)
            await sessions.change(writer.connection, stored.id, status=SessionStatus.CLOSED.value, updated_at=now)
            await steps.emit(writer, stored, EventType.SESSION_CLOSED, {}, None, now)

    async def _gone(self, agent: str) -> None:
        """Wait until agentd has stopped an agent; what does not answer runs none."""
        try:
            async with asyncio.timeout(_GONE):
                shown = await self._core.agentd.agent(agent)
                while shown is not None:
                    await asyncio.sleep(_LOOK)
                    shown = await self._core.agentd.agent(agent)
        except (AgentdUnreachableError, TimeoutError) as error:
            log.info("managed_agent_not_seen_to_stop", agent=agent, reason=str(error) or "it takes long")

    async def _change(self, agent: ManagedAgent, **values: object) -> None:
        await self._core.database.write(lambda writer: managed.change(writer.connection, agent.agent, **values))


def _own_secrets(harness: str) -> tuple[str, ...]:
    """Name the secrets that are the harness's own keys: an agent of a user has no business with others."""
    known = BUILT_IN.get(harness)
    credentials: Credentials | None = None if known is None else known.facts.credentials
    return () if credentials is None else credentials.variables
