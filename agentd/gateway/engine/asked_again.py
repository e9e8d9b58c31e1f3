"""Requests that an agent makes anew, by another id, since its agentd was killed: nobody can answer the former ones."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from agentd.api.client.socket import RefusedError
from agentd.gateway.engine.core import Core
from agentd.gateway.model.errors import AgentdUnreachableError
from agentd.gateway.model.follow import Asked, Change, Resolved, Told, resolved_json
from agentd.gateway.model.objects import EventType
from agentd.gateway.store import requests
from agentd.gateway.store.database import Writer
from agentd.gateway.store.requests import Request
from agentd.gateway.store.runs import StoredRun

log = structlog.get_logger(__name__)


async def give_up_former(core: Core, stored: StoredRun, told: Sequence[Change]) -> list[Told]:
    """Wait no more for answers to what a run asks for anew; else the next answer would be taken for the former one's.

    Parameters
    ----------
    told
        What agentd tells of the run, and is not stored yet.

    Returns
    -------
    What is to be told before that.
    """
    async with core.database.read() as connection:
        waiting = await requests.waiting(connection, stored.id)
    left = former(waiting, told)
    if not left:
        return []
    try:
        shown = await core.turns.conversation(stored.target)
    except (AgentdUnreachableError, RefusedError) as error:
        log.info("former_requests_not_given_up", run=stored.id, reason=str(error))
        return []
    listed = None if shown is None else shown.get("requests")
    open_ = {each.get("id") for each in (listed if isinstance(listed, list) else []) if isinstance(each, dict)}
    gone = [each.id for each in left if each.id not in open_]

    async def work(writer: Writer) -> None:
        for request in gone:
            await requests.decide(writer.connection, stored.id, request, "expired")

    if gone:
        await core.database.write(work, lasting=False)
    return [Told(EventType.BACKEND_EVENT, resolved_json(request, "expired")) for request in gone]


def former(waiting: Sequence[Request], told: Sequence[Change]) -> list[Request]:
    """Those of which the same is asked for by an id that is not known yet."""
    known = {each.id for each in waiting}
    resolved = {each.request_id for each in told if isinstance(each, Resolved)}
    anew = {
        ("question" if each.question else "permission", each.name, each.text)
        for each in told
        if isinstance(each, Asked) and each.request_id not in known
    }
    return [each for each in waiting if each.id not in resolved and (each.kind, each.name, each.text) in anew]
