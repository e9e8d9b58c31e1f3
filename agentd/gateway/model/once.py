"""Requests that a client may repeat without their taking effect twice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Once:
    """A request under a key that its sender chose; token, route and key together name it."""

    token: str
    """Tells the sender's token from others, without being it (`agentd.gateway.model.caller.Caller.token`)."""
    route: str
    """Method and path, such as ``POST /sessions/ses_…/messages``."""
    key: str
    fingerprint: str
    """Of the body: another body under the same key is refused."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was answered to such a request."""

    fingerprint: str
    status: int
    body: bytes
