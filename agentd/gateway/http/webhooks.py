"""Takes webhooks, and leaves what they bring for agentd."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final

import structlog
from aiohttp import hdrs, web

from agentd.files.looks import Looks
from agentd.files.spool import SpoolFullError, remove_parts, spool
from agentd.gateway.http.body import parsed, read_bytes
from agentd.gateway.http.errors import JSON, ApiError, invalid
from agentd.gateway.model.webhooks import (
    DELIVERY,
    EVENT,
    SIGNATURE,
    MissingInputError,
    counts,
    is_event,
    is_number,
    is_signed,
    values_of,
)
from agentd.jcard.secrets import read_secret
from agentd.model.triggers import Delivery, Trigger, Webhook
from agentd.supervise.trigger_spool import delivery_id, written

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

LARGEST: Final = 1 << 20
"""Bytes of a body: its HMAC takes 2 ms of the event loop. GitHub's are some ten thousand."""

_AGAIN: Final = "30"
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a webhook."""

    accepted: bool
    """Whether agentd has it by now: its agent is started for it, once."""
    delivery: str | None
    """agentd's id of it."""
    reason: str | None
    """Why it is not accepted."""


class Webhooks:
    """The webhooks that a jcard declares.

    Parameters
    ----------
    triggers
        Those that are declared; others may be assigned later.
    secret_dir
        Where their secrets are.
    folder
        Where agentd finds what they bring.
    looks
        What both are looked at with.
    wall
        Seconds since the epoch.
    """

    def __init__(
        self,
        triggers: Sequence[Trigger],
        secret_dir: Path,
        folder: Path,
        looks: Looks,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.triggers = triggers
        self._secret_dir = secret_dir
        self._folder = folder
        self._looks = looks
        self._wall = wall

    async def tidy(self) -> None:
        """Take away what a gateway that was killed had begun to leave; before anything is taken."""
        try:
            await self._looks.look(self._folder, partial(remove_parts, self._folder))
        except OSError as error:
            _log.warning("webhook_not_removed", path=str(self._folder), reason=error.strerror)

    async def take(self, request: web.Request) -> Taken:
        """Take one.

        Raises
        ------
        ApiError
            401 if it is not signed as it must be, or there is no such trigger; 408, 413, 415, 422 or 503 otherwise.
        """
        body = await read_bytes(request, LARGEST)
        name = request.match_info["name"]
        trigger = next((each for each in self.triggers if each.name == name), None)
        webhook = trigger.source if trigger is not None and isinstance(trigger.source, Webhook) else None
        secret = None if webhook is None else await self._secret(webhook)
        if not is_signed(secret, body, _only(request, SIGNATURE)) or webhook is None:
            # Who cannot sign does not learn what there is.
            _log.warning("webhook_refused", path=request.path[:200], reason="it is not signed with a trigger's secret")
            raise ApiError(
                HTTPStatus.UNAUTHORIZED,
                "unauthorized",
                f"expected the header {SIGNATURE}: sha256= and the HMAC of the body with the secret of the trigger",
            )
        if request.content_type != JSON:
            message = f"expected the header Content-Type: {JSON}"
            raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
        event, number = _only(request, EVENT), _only(request, DELIVERY)
        if not is_number(number) or (event and not is_event(event)):
            raise invalid(f"expected the header {DELIVERY}, of letters, digits and -, and {EVENT} with a name or none")
        if not counts(webhook, event):
            return Taken(accepted=False, delivery=None, reason=f"the event {event or '(none)'} starts no agent")
        try:
            values = values_of(webhook, await parsed(body), event, number)
        except MissingInputError as error:
            raise invalid(str(error)) from None
        delivery = Delivery(delivery_id(name, number), name, values, self._wall())
        await self._leave(delivery)
        return Taken(accepted=True, delivery=delivery.id, reason=None)

    async def _secret(self, webhook: Webhook) -> str | None:
        path = self._secret_dir / webhook.secret
        try:
            found = await self._looks.look(path, partial(read_secret, path))
        except OSError as error:
            found = error
        if isinstance(found, str) and found:
            return found
        reason = found.strerror if isinstance(found, OSError) else "it is empty or a folder"
        _log.error("webhook_secret", path=str(path), reason=reason)
        raise ApiError(
            HTTPStatus.SERVICE_UNAVAILABLE, "no_secret", "the secret is not there", headers={hdrs.RETRY_AFTER: _AGAIN}
        )

    async def _leave(self, delivery: Delivery) -> None:
        """Leave it for agentd; one that waits already is not left twice, and one that agentd had it knows."""
        try:
            await self._looks.look(self._folder, partial(spool, self._folder, delivery.id, written(delivery)))
        except OSError as error:
            full = isinstance(error, SpoolFullError)
            _log.error("webhook_not_kept", path=str(self._folder), reason=error.strerror)
            raise ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "queue_full" if full else "not_kept",
                "too many wait for agentd: send it again later" if full else "it cannot be kept: send it again later",
                headers={hdrs.RETRY_AFTER: _AGAIN},
            ) from None


WEBHOOKS: web.AppKey[Webhooks] = web.AppKey("webhooks", Webhooks)


def _only(request: web.Request, header: str) -> str:
    """Give a header that is there once; otherwise nothing."""
    found = request.headers.getall(header, [])
    return found[0] if len(found) == 1 else ""
