"""Requests that may be repeated: the first one takes effect, and all are answered the same."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final
from weakref import WeakValueDictionary

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from agentd.gateway.http.access import caller
from agentd.gateway.http.bodies import Key, KeyedBody
from agentd.gateway.http.errors import JSON, ApiError, invalid
from agentd.gateway.http.route import API_PREFIX, ENGINE
from agentd.gateway.model.errors import KeyTakenError
from agentd.gateway.model.objects import encoded
from agentd.gateway.model.once import Once, Recorded

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotent-Replayed"

_KEY: Final[TypeAdapter[str]] = TypeAdapter(Key)

IN_TURN: web.AppKey[WeakValueDictionary[Once, asyncio.Lock]] = web.AppKey("in_turn")
"""Requests with the same key wait for each other."""


def json_answer(body: Mapping[str, object], status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """Answer a JSON object."""
    return web.Response(body=encoded(body), status=status, content_type=JSON)


async def answer_once(
    request: web.Request,
    body: KeyedBody,
    status: HTTPStatus,
    act: Callable[[Once | None], Awaitable[Mapping[str, object]]],
    *,
    stored: bool = True,
) -> web.Response:
    """Do what a request asks for, unless an earlier one with its key did, and answer.

    Parameters
    ----------
    act
        Does it, and gives the body of the answer.
    stored
        Whether `act` itself keeps the answer, in the transaction of its effect.

    Raises
    ------
    ApiError
        422, if the key came with another body before.
    """
    return await answer_named(request, _once(request, body), status, act, stored=stored)


async def answer_named(
    request: web.Request,
    once: Once | None,
    status: HTTPStatus,
    act: Callable[[Once | None], Awaitable[Mapping[str, object]]],
    *,
    stored: bool = True,
) -> web.Response:
    """As `answer_once`, of a request that `once_of` named."""
    if once is None:
        return json_answer(await act(None), status)
    async with request.app[IN_TURN].setdefault(once, asyncio.Lock()):
        engine = request.app[ENGINE]
        recorded = await engine.answers.recall(once)
        if recorded is not None:
            return _replay(once, recorded)
        try:
            answer = await act(once)
            if not stored:
                await engine.answers.remember(once, status, encoded(answer))
        except KeyTakenError:
            # Of another gateway, on the same database.
            recorded = await engine.answers.recall(once)
            if recorded is None:
                raise
            return _replay(once, recorded)
        return json_answer(answer, status)


def _once(request: web.Request, body: KeyedBody) -> Once | None:
    content = body.model_dump(mode="json", exclude={"idempotency_key"})
    return once_of(request, content, body.idempotency_key)


def once_of(request: web.Request, content: object, key: str | None = None) -> Once | None:
    """Name a request that may be repeated; ``None`` if its sender chose no key.

    Parameters
    ----------
    content
        JSON: what another request under the same key must have, too.
    key
        One that stands in the body.

    Raises
    ------
    ApiError
        422, if the key is none.
    """
    given = request.headers.getall(HEADER, [])
    keys = {*given, *([] if key is None else [key])}
    if len(keys) > 1:
        raise invalid(f"{HEADER}: several different keys were given", "idempotency_key")
    for each in given:
        try:
            _KEY.validate_python(each)
        except ValidationError:
            message = f"{HEADER}: expected 1 to 255 characters of printable ASCII"
            raise invalid(message, "idempotency_key") from None
    if not keys:
        return None
    path = request.path.removeprefix(API_PREFIX)
    return Once(caller(request).token, f"{request.method} {path}", keys.pop(), fingerprint_of(content))


def fingerprint_of(content: object) -> str:
    """Hash JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def check_same(once: Once, recorded: Recorded) -> None:
    """Make sure that a request is the one that came under its key before.

    Raises
    ------
    ApiError
        422, if it is another.
    """
    if recorded.fingerprint != once.fingerprint:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            "the idempotency key came with another body before: take a new key for another request",
        )


def _replay(once: Once, recorded: Recorded) -> web.Response:
    check_same(once, recorded)
    return web.Response(body=recorded.body, status=recorded.status, content_type=JSON, headers={REPLAYED: "true"})
