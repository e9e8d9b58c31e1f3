"""Events that the daemon has kept, as a command reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agentd.cli.agentctl.client import Api, Json


def kept_events(
    api: Api, kinds: Sequence[str], agent: str | None = None, tail: int | None = None
) -> Sequence[Mapping[str, Json]]:
    """Read the events of some kinds, the oldest first; raises what `Api` does.

    Parameters
    ----------
    agent
        Whose; ``None`` for all.
    tail
        How many at most, the newest.
    """
    from urllib.parse import urlencode

    query = [("kind", kind) for kind in kinds]
    query += [("agent", agent)] if agent is not None else []
    query += [("tail", str(tail))] if tail is not None else []
    found = api.get(f"/v1/events?{urlencode(query)}")
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def data_of(event: Mapping[str, Json]) -> Mapping[str, Json]:
    """What an event says beside its reason."""
    data = event.get("data")
    return data if isinstance(data, Mapping) else {}
