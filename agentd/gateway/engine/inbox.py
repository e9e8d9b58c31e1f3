"""Messages that come by channels, and what is told there: both stand in the database before the broker is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from agentd.gateway.engine import steps
from agentd.gateway.engine.confirmations import Confirmations, is_request_id
from agentd.gateway.engine.conversations import Conversations
from agentd.gateway.engine.core import Core
from agentd.gateway.engine.runs import Runs
from agentd.gateway.feed import Follower
from agentd.gateway.model.caller import Caller
from agentd.gateway.model.channels import (
    CONFIRMATIONS,
    RELEVANT,
    Answer,
    Decided,
    Origin,
    Said,
    answer_of,
    confirmation_of,
)
from agentd.gateway.model.errors import NotFoundError
from agentd.gateway.model.managed import Tools
from agentd.gateway.model.objects import Event, EventType, Json, Run
from agentd.gateway.model.requests import NewMessage, NewSession
from agentd.gateway.store import channels, managed, requests, runs, sessions
from agentd.gateway.store.database import Writer
from agentd.gateway.store.sessions import StoredSession
from agentd.model.channels import ChannelDeclaration
from agentd.model.gateway import Scope

_AT_ONCE: Final = 200
"""Events that are read at once."""


class Inbox:
    """Takes what comes, once; and gives what is to be sent, from where the broker has it."""

    def __init__(self, core: Core, conversations: Conversations, runs_: Runs, confirmations: Confirmations) -> None:
        self._core = core
        self._conversations = conversations
        self._runs = runs_
        self._confirmations = confirmations
        self._sessions: dict[str, set[str]] = {}
        """Of each channel, those whose events it follows."""

    async def take(self, channel: ChannelDeclaration, message_id: str, name: str | None, said: Said) -> bool:
        """Have a message become a run; says whether it is new.

        Parameters
        ----------
        message_id
            Under which it is taken once.
        name
            The broker's own id of it, if it has any.

        Raises
        ------
        GatewayError
            If it cannot be taken now.
        """
        async with self._core.database.read() as connection:
            if await channels.is_known(connection, channel.key, message_id):
                return False
        # By the channel's own name nobody tells conversations apart: it is the agent itself that is meant.
        conversation = None if said.channel_id in channel.own_ids else said.channel_id
        session_id = await self._session(channel, conversation)

        async def note(writer: Writer, run: Run) -> None:
            origin = Origin(run.id, said.id or name or message_id, said.channel_id, said.metadata)
            await channels.add(writer.connection, channel.key, message_id, session_id, origin)

        message = NewMessage(said.text)
        await self._conversations.send_message(_caller(channel), session_id, message, None, note)
        return True

    async def _session(self, channel: ChannelDeclaration, channel_id: Json) -> str:
        """Find the session of a conversation, or make it: that without an id is the agent's own."""
        async with self._core.database.read() as connection:
            found = await channels.session_of(connection, channel.key, channel_id)
            stored = None if found is None else await sessions.find(connection, found)
            agent = await managed.find(connection, channel.agent)
        if stored is not None and stored.open:
            return stored.id
        if channel_id is None and agent is not None:
            return await self._bind(channel, agent.session_id)
        wanted = NewSession(
            agent=channel.agent,
            main=channel_id is None,
            title=channel.where if channel_id is None else f"{channel.where}: {channel_id}",
            metadata={"channel": channel.where, "channel_id": channel_id},
        )

        async def bind(writer: Writer, session: StoredSession) -> None:
            await channels.bind(writer.connection, channel.key, channel_id, session.id)

        made = await self._conversations.create(_caller(channel), wanted, None, bind)
        (await self._followed(channel)).add(made.id)
        return made.id

    async def _bind(self, channel: ChannelDeclaration, session_id: str) -> str:
        """Have a managed agent's own session be the conversation without an id."""
        await self._core.database.write(lambda writer: channels.bind(writer.connection, channel.key, None, session_id))
        (await self._followed(channel)).add(session_id)
        return session_id

    async def give_up(self, channel: ChannelDeclaration, message_id: str) -> None:
        """Leave a message that was taken to another gateway: its run is canceled, and answers nobody."""

        async def work(writer: Writer) -> None:
            run_id = await channels.run_of(writer.connection, channel.key, message_id)
            stored = None if run_id is None else await runs.find(writer.connection, run_id)
            if stored is not None:
                reason = "another gateway has the message"
                await channels.forget(writer.connection, channel.key, message_id)
                await steps.cancel_tree(writer, [stored], reason, self._core.wall())

        await self._core.database.write(work)

    async def decide(self, channel: ChannelDeclaration, decided: Decided) -> None:
        """Answer what an agent asked in a run that came by a channel, or what a managed one has to have confirmed.

        Raises
        ------
        NotFoundError
            If there is no such request of this channel.
        GatewayError
            If it is decided already, or cannot be answered now.
        """
        if is_request_id(decided.request_id):
            await self._confirmations.confirm(
                _caller(channel), decided.request_id, decided.confirmed, agent=channel.agent
            )
            return
        async with self._core.database.read() as connection:
            asked = await requests.undecided(connection, decided.request_id)
            known = await channels.origins(connection, channel.key, asked)
        if not known:
            raise NotFoundError(f"nobody waits for an answer to {decided.request_id}")
        decision = "allow" if decided.confirmed else "deny"
        await self._runs.answer(_caller(channel), next(iter(known)), decided.request_id, decision, decided.text)

    async def channel_of(self, run_id: str) -> str | None:
        """Name the channel by which a run came, by its key."""
        async with self._core.database.read() as connection:
            return await channels.channel_of(connection, run_id)

    @contextmanager
    def following(self, channel: ChannelDeclaration) -> Iterator[Follower]:
        """Hear of what is committed that may have to be sent."""

        def wants(event: Event, _owner: str | None) -> bool:
            if event.event_type in CONFIRMATIONS:
                return event.data.get("agent_name") == channel.agent
            return event.event_type in RELEVANT and event.session_id in self._sessions.get(channel.key, ())

        with self._core.feed.following(None, wants) as follower:
            yield follower

    async def outgoing(self, channel: ChannelDeclaration, cursor: int | None) -> tuple[int, list[Answer]]:
        """Give what is to be sent next, and the cursor that says that it was.

        Parameters
        ----------
        cursor
            Of the last events that were given; ``None`` for where the broker has it.
        """
        await self._followed(channel)
        async with self._core.database.read() as connection:
            if cursor is None:
                cursor = await channels.cursor_of(connection, channel.key)
            agent = await managed.find(connection, channel.agent)
            own = None if agent is None else agent.session_id
            events = await channels.events_after(connection, channel.key, cursor, _AT_ONCE, own)
            named = {event.run_id for event in events if event.run_id is not None}
            origins = await channels.origins(connection, channel.key, [*named])
        tools = None if agent is None else Tools.of(agent)
        answers = [_told(channel, event, origins, tools) for event in events]
        return events[-1].cursor if events else cursor, [each for each in answers if each is not None]

    async def sent(self, channel: ChannelDeclaration, cursor: int) -> None:
        """Note that the broker has all up to a cursor."""

        async def work(writer: Writer) -> None:
            await channels.set_cursor(writer.connection, channel.key, cursor)

        # After a power cut they are sent once more, under the same ids.
        await self._core.database.write(work, lasting=False)

    async def _followed(self, channel: ChannelDeclaration) -> set[str]:
        known = self._sessions.get(channel.key)
        if known is None:
            async with self._core.database.read() as connection:
                known = self._sessions[channel.key] = await channels.sessions_of(connection, channel.key)
        return known


def _caller(channel: ChannelDeclaration) -> Caller:
    scope = Scope.ADMIN if channel.user is None else Scope.CHAT
    return Caller(channel.user, frozenset({scope}), f"channel {channel.key}")


def _told(
    channel: ChannelDeclaration, event: Event, origins: Mapping[str, Origin], tools: Tools | None
) -> Answer | None:
    if event.event_type in CONFIRMATIONS:
        return confirmation_of(event)
    asked = event.event_type is EventType.RUN_AWAITING_INPUT and event.data.get("kind") == "permission"
    name, text = event.data.get("name"), event.data.get("text")
    if asked and tools is not None and tools.find_named(str(name or ""), str(text or "")) is not None:
        # It is told as what has to be confirmed.
        return None
    origin = None if event.run_id is None else origins.get(event.run_id)
    return None if origin is None else answer_of(event, origin, channel.agent)
