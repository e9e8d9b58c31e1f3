"""What is refused, in OpenAI's words: status 400, the name of the parameter, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from agentd.gateway.http.body import few_unknown
from agentd.gateway.http.errors import ApiError
from agentd.text.quoting import show

Parsed = TypeVar("Parsed", bound=BaseModel)


def refuse(param: str, message: str, code: str = "unsupported_parameter") -> ApiError:
    """Refuse a request for one of its parameters."""
    return ApiError(HTTPStatus.BAD_REQUEST, code, message, param=param)


def missing(kind: str, identity: str, param: str | None = None) -> ApiError:
    """Say that there is no such object for this caller."""
    return ApiError(HTTPStatus.NOT_FOUND, "not_found", f"{kind} with id '{identity}' not found.", param=param)


def parse(shape: type[Parsed], body: object) -> Parsed:
    """Check a body against its model.

    Raises
    ------
    ApiError
        Of status 400, which names the first parameter that is wrong.
    """
    if not isinstance(body, Mapping):
        raise ApiError(HTTPStatus.BAD_REQUEST, "invalid_json", "the body must be a JSON object")
    try:
        return shape.model_validate(few_unknown(body, shape))
    except ValidationError as found:
        first = found.errors(include_url=False)[0]
        param = _path(first["loc"])
        match first["type"]:
            case "missing":
                raise refuse(param, f"Missing required parameter: '{param}'.", "missing_required_parameter") from None
            case "extra_forbidden":
                raise refuse(param, f"Unknown parameter: '{param}'.", "unknown_parameter") from None
            case "literal_error":
                words = first["ctx"]["expected"]
                text = f"Invalid '{param}': found {show(first['input'])}, expected {words}."
                raise refuse(param, text, "invalid_value") from None
            case kind:
                code = "invalid_type" if kind.endswith("_type") else "invalid_value"
                raise refuse(param, f"Invalid '{param}': {first['msg']}.", code) from None


def _path(location: tuple[int | str, ...]) -> str:
    """Write where a value stands, as OpenAI does: ``input[0].content``."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step.isidentifier() and step not in _UNION_ARMS:
            path += f".{step}" if path else step
    return path


_UNION_ARMS = frozenset({"str", "int", "float", "bool"})
"""Steps of pydantic's that name a type, not a place."""
