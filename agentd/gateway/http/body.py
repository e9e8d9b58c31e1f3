"""Reading what a request carries: within limits, and as what it must be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from http import HTTPStatus
from itertools import islice
from math import isfinite
from typing import Final, TypeVar

from aiohttp import hdrs, web
from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import ErrorDetails, from_json

from agentd.gateway.http.errors import JSON, ApiError, invalid
from agentd.jcard.fields_at import fields_at
from agentd.jcard.near import did_you_mean

Model = TypeVar("Model", bound=BaseModel)

LARGEST: Final = 8 << 20
"""Bytes of a body."""
DEEPEST: Final = 64
"""Levels of JSON."""
PATIENCE: Final = 30.0
"""Seconds in which a body has to arrive."""

_AT_ONCE: Final = 16 << 10
"""Bytes that are parsed on the event loop, which takes up to 3 ms; more is parsed in a thread."""
_PLAIN: Final = "identity"
_MOST_FAULTS: Final = 5
"""Wrong fields that an error names."""

JsonObject = dict[str, JsonValue]


async def read_json(request: web.Request) -> JsonValue:
    """Read a body of JSON; an empty one is an empty object.

    Raises
    ------
    ApiError
        400, 408, 413 or 415, if it is no such body.
    """
    coding = request.headers.get(hdrs.CONTENT_ENCODING, _PLAIN)
    if coding.lower() != _PLAIN:
        raise ApiError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            f"expected a body without Content-Encoding, found {coding[:80]!r}",
        )
    data = await read_bytes(request)
    if not data:
        return {}
    if request.content_type != JSON:
        found = request.headers.get(hdrs.CONTENT_TYPE)
        raise ApiError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            f"expected the header Content-Type: {JSON}, found {'none' if found is None else found[:80]!r}",
        )
    return await parsed(data)


async def parsed(data: bytes) -> JsonValue:
    """Parse JSON without holding up others.

    Raises
    ------
    ApiError
        As `parse_json`.
    """
    return parse_json(data) if len(data) <= _AT_ONCE else await asyncio.to_thread(parse_json, data)


async def read_body(request: web.Request, model: type[Model]) -> Model:
    """Read a body of JSON as what the route takes.

    Raises
    ------
    ApiError
        As `read_json`, and 422 where fields are wrong.
    """
    return validated(model, await read_json(request))


def read_query(request: web.Request, model: type[Model]) -> Model:
    """Read the parameters of the query as what the route takes.

    Raises
    ------
    ApiError
        422 where some are wrong.
    """
    twice = next((name for name in request.query if len(request.query.getall(name)) > 1), None)
    if twice is not None:
        raise invalid(f"{twice[:80]}: given more than once", twice)
    return validated(model, dict(request.query))


def validated(model: type[Model], values: JsonValue | Mapping[str, str]) -> Model:
    """Check values.

    Raises
    ------
    ApiError
        422, with the names of the wrong fields.
    """
    try:
        return model.model_validate(few_unknown(values, model))
    except ValidationError as error:
        faults = [_fault(details, model) for details in error.errors(include_url=False)[:_MOST_FAULTS]]
        text = "; ".join(f"{name}: {reason}" if name else reason for name, reason in faults)
        raise invalid(text, faults[0][0] or None) from None


def few_unknown(values: object, model: type[BaseModel]) -> object:
    """Leave out most fields of a body that a model does not know: an error is made of each, which takes seconds."""
    known = model.model_fields
    if not isinstance(values, dict) or len(values) <= len(known) + _MOST_FAULTS:
        return values
    unknown = islice((name for name in values if name not in known), _MOST_FAULTS)
    return {name: values[name] for name in (*(each for each in known if each in values), *unknown)}


def parse_json(data: bytes) -> JsonValue:
    """Parse JSON.

    Raises
    ------
    ApiError
        400 if it is none, or is nested too deeply; 422 if a text holds NUL, which neither terminals nor databases take.
    """
    try:
        value: JsonValue = from_json(data, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        if "recursion" in str(error):
            raise _too_deep() from None
        raise ApiError(HTTPStatus.BAD_REQUEST, "invalid_json", f"the body is not JSON: {error}") from None
    _check(value)
    return value


def _check(value: JsonValue) -> None:
    waiting: list[Iterator[tuple[str | int, JsonValue]]] = [iter((("", value),))]
    within: list[str | int] = []
    while waiting:
        for name, each in waiting[-1]:
            if isinstance(each, str):
                if "\0" in each:
                    raise _unusable([*within, name], "a text with a NUL character, expected text without")
            elif isinstance(each, float):
                if not isfinite(each):
                    raise _unusable([*within, name], "a number that is too large")
            elif isinstance(each, dict | list):
                if len(waiting) > DEEPEST:
                    raise _too_deep()
                waiting.append(_parts(each))
                within.append(name)
                break
        else:
            waiting.pop()
            if within:
                within.pop()


def _parts(value: JsonObject | list[JsonValue]) -> Iterator[tuple[str | int, JsonValue]]:
    if isinstance(value, list):
        yield from enumerate(value)
        return
    for name, part in value.items():
        yield name, name
        yield name, part


def _unusable(path: Sequence[str | int], found: str) -> ApiError:
    name = _name(path[1:])
    return invalid(f"{name}: found {found}" if name else f"found {found}", name or None)


def _name(path: Sequence[str | int]) -> str:
    return ".".join(str(part)[:80] for part in path).replace("\0", "\\0")


def _too_deep() -> ApiError:
    message = f"the body is nested too deeply: expected at most {DEEPEST} levels"
    return ApiError(HTTPStatus.BAD_REQUEST, "invalid_json", message)


async def read_bytes(request: web.Request, most: int = LARGEST) -> bytes:
    """Read a body as it is, of so many bytes.

    Raises
    ------
    ApiError
        408 or 413.
    """
    too_large = ApiError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", f"expected a body of at most {most >> 20} MiB"
    )
    if (request.content_length or 0) > most:
        raise too_large
    data = bytearray()
    try:
        async with asyncio.timeout(PATIENCE):
            async for part in request.content.iter_any():
                data += part
                if len(data) > most:
                    raise too_large
    except TimeoutError:
        message = f"the body did not arrive within {PATIENCE:g} s"
        raise ApiError(HTTPStatus.REQUEST_TIMEOUT, "timeout", message) from None
    return bytes(data)


def _fault(details: ErrorDetails, model: type[BaseModel]) -> tuple[str, str]:
    name = _name(details["loc"])
    match details["type"]:
        case "missing":
            return name, "missing"
        case "extra_forbidden":
            close = get_close_matches(str(details["loc"][-1]).casefold(), fields_at(model, details["loc"][:-1]), n=1)
            return name, f"there is no such field{did_you_mean(close[0] if close else None)}"
        case "model_type" | "model_attributes_type":
            return name, f"expected an object, found {_kind(details['input'])}"
        case "value_error":
            return name, str(details["ctx"]["error"])
        case "string_too_long":
            found, most = len(details["input"]), details["ctx"]["max_length"]
            return name, f"found {found} characters, expected at most {most}; shorten it by {found - most}"
        case _:
            text = f"{details['msg'][:1].lower()}{details['msg'][1:]}"
            # Where the value is at fault, and not its type, the type tells nothing.
            return name, f"{text}, found {_kind(details['input'])}" if details["type"].endswith("_type") else text


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "an array"
        case _:
            return "an object"
