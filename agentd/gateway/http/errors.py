"""Errors, in the form that the part of the interface has where they are answered."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web

from agentd.gateway.model.errors import GatewayError, InvalidRequestError, QueueFullError
from agentd.gateway.model.objects import encoded

JSON: Final = "application/json"

OPENAI_PREFIX: Final = "/v1"
"""Below it, errors have OpenAI's form."""
MANAGED_PREFIX: Final = "/agents"
"""Below it, errors have the message as ``detail``, too."""

_CODES: Final = {
    HTTPStatus.BAD_REQUEST: "invalid_request",
    HTTPStatus.UNAUTHORIZED: "unauthorized",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_TIMEOUT: "timeout",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
    HTTPStatus.UNPROCESSABLE_ENTITY: "invalid_request",
    HTTPStatus.INTERNAL_SERVER_ERROR: "internal_error",
}
"""Of errors that only have a status."""


class ApiError(Exception):
    """What is answered instead of what was asked for.

    Parameters
    ----------
    status
        Of HTTP.
    code
        For programs.
    message
        For people: what was expected, what was found, what to do.
    param
        The parameter that is wrong; shown in OpenAI's form.
    kind
        OpenAI's ``type``; by the status if left out.
    headers
        To be sent beside it.
    """

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        message: str,
        *,
        param: str | None = None,
        kind: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.kind = kind or _openai_type(status)
        self.headers = dict(headers or {})


def invalid(message: str, param: str | None = None) -> ApiError:
    """Say that a request is understood, and cannot be done as it is."""
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", message, param=param)


def not_found(what: str) -> ApiError:
    """Say that there is no such thing for this caller."""
    return ApiError(HTTPStatus.NOT_FOUND, "not_found", f"there is no {what}")


def is_below(path: str, prefix: str) -> bool:
    """Whether a path is the prefix or below it."""
    return path == prefix or path.startswith(f"{prefix}/")


def error_body(path: str, error: ApiError) -> dict[str, object]:
    """Write an error as the interface at this path does."""
    if is_below(path, OPENAI_PREFIX):
        return {"error": {"message": error.message, "type": error.kind, "param": error.param, "code": error.code}}
    body: dict[str, object] = {"error": {"code": error.code, "message": error.message}}
    if is_below(path, MANAGED_PREFIX):
        body["detail"] = error.message
    return body


def error_response(path: str, error: ApiError) -> web.Response:
    """Answer an error."""
    body = encoded(error_body(path, error))
    return web.Response(body=body, status=error.status, content_type=JSON, headers=error.headers)


def of_aiohttp(error: web.HTTPException) -> ApiError:
    """Give what aiohttp raises, unknown paths and methods, the form of all other errors."""
    status = HTTPStatus(error.status)
    message = status.phrase.lower()
    headers: dict[str, str] = {}
    if isinstance(error, web.HTTPNotFound):
        message = "there is nothing at this path; /openapi.json lists what there is"
    elif isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        message = f"this path takes {allowed}"
        headers[hdrs.ALLOW] = allowed
    return ApiError(status, _CODES.get(status, "error"), message, headers=headers)


def of_engine(error: GatewayError) -> ApiError:
    """Give what the engine refuses the form of all other errors."""
    param = error.field if isinstance(error, InvalidRequestError) else None
    headers: dict[str, str] = {}
    if isinstance(error, QueueFullError):
        headers[hdrs.RETRY_AFTER] = str(error.retry_after)
    return ApiError(error.status, error.code, str(error), param=param, headers=headers)


def _openai_type(status: HTTPStatus) -> str:
    match status:
        case HTTPStatus.FORBIDDEN:
            return "permission_error"
        case HTTPStatus.TOO_MANY_REQUESTS:
            return "rate_limit_error"
        case _:
            return "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
