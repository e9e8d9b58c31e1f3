"""The channels of managed agents: run beside those of the jcard, as agents come, are switched and go."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from agentd.gateway.channels.owner import Channels
from agentd.gateway.engine.managed import Managed
from agentd.gateway.model.errors import GatewayError
from agentd.gateway.model.managed import ManagedAgent
from agentd.jcard.pubsub import PubsubError, pubsub_declaration, read_pubsub
from agentd.model.channels import ChannelDeclaration

log = structlog.get_logger(__name__)

_AGAIN: Final = 1.0
"""Seconds after which it is tried again, if the database did not answer."""


async def keep_channels(channels: Channels, managed: Managed, declared: Sequence[ChannelDeclaration]) -> None:
    """Keep them running, until cancelled.

    Parameters
    ----------
    declared
        The channels of the jcard.
    """
    changed = managed.listen()
    told: set[str] = set()
    while True:
        await changed.wait()
        changed.clear()
        try:
            agents = await managed.ready()
        except GatewayError as error:
            log.error("managed_channels_not_kept", reason=str(error))
            await asyncio.sleep(_AGAIN)
            changed.set()
            continue
        found = [await _channel(managed, agent, told) for agent in agents]
        await channels.keep([*declared, *(each for each in found if each is not None)])


async def _channel(managed: Managed, agent: ManagedAgent, told: set[str]) -> ChannelDeclaration | None:
    # What is said to one that is stopped waits at its broker.
    config = await managed.pubsub_config(agent) if agent.enabled else None
    if config is None:
        return None
    try:
        return pubsub_declaration(read_pubsub(config), agent.agent, agent.username, agent.session_id)
    except PubsubError as error:
        if agent.session_id not in told:
            told.add(agent.session_id)
            log.error("managed_channel_unusable", agent=agent.agent, reason=str(error))
        return None
