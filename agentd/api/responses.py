"""Every answer of the API that is one JSON document, errors included."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import hdrs, web

from agentd.api.views import ERROR, ErrorBody

JSON = "application/json"  # always UTF-8: RFC 8259 gives the media type no charset parameter
READ_METHODS = (hdrs.METH_GET, hdrs.METH_HEAD)
ALLOW = ", ".join(READ_METHODS)


def json_response(
    body: bytes, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Answer with encoded JSON."""
    return web.Response(body=body, status=status, content_type=JSON, headers=headers)


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Answer ``{"error": message}``."""
    return json_response(ERROR.encode(ErrorBody(message)), HTTPStatus(status), headers)


def method_not_allowed() -> web.Response:
    """Answer any method that might write."""
    message = f"the API is read only: use {' or '.join(READ_METHODS)}"
    return error_response(HTTPStatus.METHOD_NOT_ALLOWED, message, {hdrs.ALLOW: ALLOW})


def raised_error(error: web.HTTPException) -> web.Response:
    """Answer what aiohttp raises (unknown path, body too large…) in the API's own form."""
    if error.status == HTTPStatus.NOT_FOUND:
        return error_response(error.status, "not found; /v1/openapi.json lists what is served")
    return error_response(error.status, HTTPStatus(error.status).phrase.lower())
