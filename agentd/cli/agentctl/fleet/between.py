"""Agents of a fleet that have no host, or whose host does not know them yet."""

from __future__ import annotations

from agentd.cli.agentctl.client import Api, ApiError
from agentd.cli.agentctl.fleet.client import FleetClient
from agentd.fleet.protocol import PlacedView


def placement_of(api: Api, name: str) -> PlacedView | None:
    """Find where an agent is to be; ``None`` if the fleet does not wish for it."""
    return next((each for each in FleetClient(api).placed() if each.name.lower() == name.lower()), None)


def is_wished_for(api: Api, name: str) -> bool:
    """Whether the fleet wishes for an agent, or does not say at the moment."""
    try:
        return placement_of(api, name) is not None
    except ApiError:
        return True
