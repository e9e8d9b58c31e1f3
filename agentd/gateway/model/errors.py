"""Why an operation was refused, as clients are told: each error has its HTTP status and its code."""

from __future__ import annotations

from http import HTTPStatus
from typing import ClassVar


class GatewayError(Exception):
    """An operation was refused; the text says why, and what to do."""

    status: ClassVar[HTTPStatus] = HTTPStatus.UNPROCESSABLE_ENTITY
    code: ClassVar[str] = "invalid_request"


class NotFoundError(GatewayError):
    """There is no such object, or it is somebody else's."""

    status = HTTPStatus.NOT_FOUND
    code = "not_found"


class ExistsError(GatewayError):
    """There is one of that name, and it is not the caller's."""

    status = HTTPStatus.CONFLICT
    code = "exists"


class ForbiddenError(GatewayError):
    """It is somebody else's business."""

    status = HTTPStatus.FORBIDDEN
    code = "forbidden"


class DecidedError(GatewayError):
    """Somebody else was the first to answer."""

    status = HTTPStatus.CONFLICT
    code = "decided"


class InvalidRequestError(GatewayError):
    """A field has a value that cannot be used.

    Parameters
    ----------
    field
        Its name.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class TooLargeError(GatewayError):
    """A message is larger than agents take."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "too_large"


class InvalidTransitionError(GatewayError):
    """The state of a run or session does not allow it."""

    code = "invalid_transition"


class NoParentError(GatewayError):
    """The run's session was not spawned by another one."""

    code = "no_parent"


class QueueFullError(GatewayError):
    """As many runs wait as may.

    Parameters
    ----------
    retry_after
        Seconds after which it may be tried again.
    """

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "queue_full"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AgentdUnreachableError(GatewayError):
    """agentd does not answer."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "agentd_unreachable"


class AgentNotReadyError(GatewayError):
    """The agent is not there to be talked to."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "agent_not_ready"


class BrokerUnavailableError(GatewayError):
    """A channel's broker is not there."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "broker_unavailable"


class DatabaseUnavailableError(GatewayError):
    """The database does not do what it is asked."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "database_unavailable"


class KeyTakenError(GatewayError):
    """Another request with the same idempotency key was the first: what it was answered can be recalled."""

    status = HTTPStatus.CONFLICT
    code = "idempotency_key_in_use"


class NotTheLastRunError(GatewayError):
    """The session went on since.

    Parameters
    ----------
    newest
        Id of its newest run, if it has any.
    """

    status = HTTPStatus.CONFLICT
    code = "not_the_last_run"

    def __init__(self, newest: str | None) -> None:
        super().__init__(f"expected the session's newest run; that is {newest or 'none'}")
        self.newest = newest


class NotForkableError(GatewayError):
    """A conversation cannot be forked at the end of a run; the text says why."""

    code = "not_forkable"
