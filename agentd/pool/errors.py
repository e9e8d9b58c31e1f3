"""Why an operation on workers was refused."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from agentd.api.client.socket import Json


class Code(StrEnum):
    """What kind of refusal it is."""

    INVALID_ARGUMENT = "invalid_argument"
    NOT_FOUND = "not_found"
    PROVIDER_UNKNOWN = "provider_unknown"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    """It is not installed, or cannot do what was asked."""
    POLICY = "policy"
    """A policy of the jcard's ``[pool]`` forbids it; ``details.policy`` names it."""
    CONFLICT = "conflict"
    NOT_RUNNING = "not_running"
    NOTHING_ASKED = "nothing_asked"
    NOT_SUPPORTED = "not_supported"
    ISOLATION_UNAVAILABLE = "isolation_unavailable"
    NOT_PERMITTED = "not_permitted"
    UNREACHABLE = "agentd_unreachable"
    REFUSED = "refused"
    """agentd refused, in its own words."""
    FAILED = "failed"


class PoolError(Exception):
    """An operation was refused; the text says why.

    Parameters
    ----------
    details
        What programs want to know.
    example
        The command to run next.
    """

    def __init__(self, code: Code, message: str, example: str, **details: Json) -> None:
        super().__init__(message)
        self.code = code
        self.details: Mapping[str, Json] = {**details, "example": example}

    def json(self) -> dict[str, Json]:
        """Give the document that both faces answer with."""
        return {"error": {"code": self.code.value, "message": str(self), "details": dict(self.details)}}
