"""The owner of all channels: it starts and ends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import structlog

from agentd.gateway.channels.channel import Channel
from agentd.gateway.channels.link import LinkError
from agentd.gateway.channels.opening import opened
from agentd.gateway.engine.inbox import Inbox
from agentd.gateway.engine.texts import check_text
from agentd.gateway.model.caller import Caller
from agentd.gateway.model.channels import Bad, Said, read
from agentd.gateway.model.errors import BrokerUnavailableError, InvalidRequestError, NotFoundError
from agentd.gateway.model.results import ChannelStatus
from agentd.model.channels import ChannelDeclaration

log = structlog.get_logger(__name__)


class Channels:
    """Those that are declared.

    Parameters
    ----------
    secret_dir
        Where passwords are.
    instance
        Tells this gateway from others that share a group, also after a restart.
    """

    def __init__(self, inbox: Inbox | None, secret_dir: Path, instance: str) -> None:
        self._inbox = inbox
        self._secret_dir = secret_dir
        self._instance = instance
        self._running: dict[ChannelDeclaration, tuple[Channel, asyncio.Task[None]]] = {}

    @classmethod
    def none(cls) -> Channels:
        """Give an owner of none."""
        return cls(None, Path(), "")

    @asynccontextmanager
    async def running(self, declared: Iterable[ChannelDeclaration]) -> AsyncIterator[None]:
        """Run channels while the context is open."""
        await self.keep(declared)
        try:
            yield
        finally:
            await self.keep(())

    async def keep(self, declared: Iterable[ChannelDeclaration]) -> None:
        """Run these channels and no others; one whose settings changed begins anew."""
        wanted = {*declared}
        ended = [self._running.pop(each)[1] for each in self._running.keys() - wanted]
        for task in ended:
            task.cancel()
        if ended:
            await asyncio.wait(ended)
        for each in wanted - self._running.keys():
            assert self._inbox is not None, "this is an owner of some"
            if each.link.tls is not None and not each.link.tls.verify:
                log.warning("channel_unverified", channel=each.where, warning="the broker's certificate is not checked")
            channel = Channel(each, self._inbox, partial(opened, each, self._secret_dir, self._instance))
            task = asyncio.create_task(channel.run(), name=f"channel {each.where}")
            self._running[each] = channel, task

    def shown(self, caller: Caller | None = None) -> list[ChannelStatus]:
        """Say how those do that a caller sees, or all."""
        return [
            channel.state.shown()
            for declared, (channel, _) in sorted(self._running.items(), key=lambda item: item[0].key)
            if caller is None or caller.sees(declared.user)
        ]

    async def of_run(self, run_id: str) -> ChannelStatus | None:
        """Say how the channel does by which a run came."""
        if self._inbox is None or not self._running:
            return None
        key = await self._inbox.channel_of(run_id)
        found = (channel for declared, (channel, _) in self._running.items() if declared.key == key)
        return next((channel.state.shown() for channel in found), None)

    async def say(
        self, caller: Caller, name: str, data: bytes, agent: str | None = None
    ) -> tuple[ChannelStatus, str | None]:
        """Write a message to a channel as somebody at its other end does.

        Parameters
        ----------
        agent
            Whose channel, where several have one of that name.

        Returns
        -------
        The channel, and the broker's id of the message if it gives any.

        Raises
        ------
        NotFoundError
            If the caller has no channel of that name.
        InvalidRequestError
            If several agents have, or the message would be put aside as bad.
        TooLargeError
            If its text is larger than agents are told, or it is too large for the broker.
        BrokerUnavailableError
            If its broker is not there.
        """
        _check(data)
        found = [
            (declared, channel)
            for declared, (channel, _) in self._running.items()
            if declared.name == name and caller.sees(declared.user) and (agent is None or declared.agent == agent)
        ]
        if not found:
            raise NotFoundError(f"there is no channel {name}" + ("" if agent is None else f" of the agent {agent}"))
        agents = {declared.agent for declared, _ in found}
        # Those who share one place all hear it; and one agent hears it wherever it is said.
        if len(agents) > 1 and len({(declared.backend, declared.where, declared.link) for declared, _ in found}) > 1:
            named = ", ".join(sorted(agents))
            raise InvalidRequestError("agent", f"missing, expected one of {named}: each has a channel {name}")
        channel = found[0][1]
        try:
            return channel.state.shown(), await channel.say(data)
        except (LinkError, TimeoutError) as error:
            raise BrokerUnavailableError(f"the channel {name} cannot be written to: {error}") from error


def _check(data: bytes) -> None:
    """Refuse now what would be put aside when it comes back from the broker."""
    match read(data):
        case Bad(reason):
            field, colon, problem = reason.partition(": ")
            named = bool(colon) and field.isidentifier()
            raise InvalidRequestError(field if named else "content", problem if named else reason)
        case Said(text):
            check_text("content", text)
        case _:
            pass
