"""Follow the daemon's events, over its restarts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping

from agentd.cli.agentctl.client import Api, Json, UnreachableError

SILENCE = 40.0
"""Seconds without a byte after which the daemon counts as gone: it sends something every 15 s."""

RETRY_AFTER = 0.2
"""Seconds between attempts to reach a daemon that went away."""


class TimeOverError(Exception):
    """The deadline passed."""


def follow(
    api: Api,
    query: str = "",
    *,
    deadline: float | None = None,
    every: float | None = None,
    reconnect: bool = True,
    warn: Callable[[str], None] = lambda _text: None,
) -> Iterator[Mapping[str, Json] | None]:
    """Give events as they come, without end; ``None`` at first and after each reconnection, when it is time to look.

    Parameters
    ----------
    query
        What comes after ``follow=1``, such as ``&agent=reviewer``.
    deadline
        Monotonic, in seconds.
    every
        Seconds without an event after which to give ``None`` too.
    reconnect
        Whether to wait for a daemon that goes away.
    warn
        Called when the daemon goes away, and when it is back.

    Raises
    ------
    UnreachableError
        If nobody answers at first, or the daemon goes away and is not waited for.
    ApiError
        If the daemon has no events.
    TimeOverError
        At the deadline.
    """
    last: str | None = None
    lost = False
    while True:
        try:
            for number, document in _blocks(api, query, last, deadline, every):
                if lost:
                    lost = False
                    warn("agentd is back")
                last = number or last
                yield document
        except UnreachableError as error:
            if last is None or not reconnect:
                raise
            if not lost:
                lost = True
                warn(f"agentd went away ({error}); waiting for it")
            _pause(deadline)


def _pause(deadline: float | None) -> None:
    left = RETRY_AFTER if deadline is None else deadline - time.monotonic()
    if left <= 0:
        raise TimeOverError
    time.sleep(min(RETRY_AFTER, left))  # noqa: TID251 (nobody tells when a daemon that is not there comes back)


def _blocks(
    api: Api, query: str, last: str | None, deadline: float | None, every: float | None
) -> Iterator[tuple[str | None, Mapping[str, Json] | None]]:
    """Give the number and the document of each event until the stream ends, which is an `UnreachableError` too.

    The first block has the number after which the stream begins, and no document; what is given after a silence of
    `every` seconds has neither. A block that was cut off is passed over.
    Source: HTML, 9.2.6 Interpreting an event stream, without fields of several lines, which agentd does not send.
    """
    fields: dict[str, str] = {}
    for line in _lines(api, query, last, deadline, every):
        if line is None:
            yield None, None
        elif line:
            name, _, value = line.decode("utf-8", "replace").partition(": ")
            fields[name] = value
        elif "id" in fields:
            document: Json = json.loads(fields["data"]) if "data" in fields else None
            yield fields["id"], document if isinstance(document, dict) else None
            fields = {}


def _lines(
    api: Api, query: str, last: str | None, deadline: float | None, every: float | None
) -> Iterator[bytes | None]:
    headers = ["Accept: text/event-stream", *([] if last is None else [f"Last-Event-ID: {last}"])]
    if deadline is not None and time.monotonic() >= deadline:
        raise TimeOverError
    with api.stream(f"/v1/events?follow=1{query}", *headers) as stream:
        received = b""
        heard = time.monotonic()
        while True:
            silent_at = heard + SILENCE
            until = silent_at if deadline is None else min(silent_at, deadline)
            left = until - time.monotonic()
            part = stream.read(left if every is None else min(left, every))
            if part:
                heard = time.monotonic()
                *lines, received = (received + part).split(b"\n")
                yield from lines
            elif part is not None:
                raise UnreachableError("it closed the connection")
            elif time.monotonic() < until:
                yield None
            elif until == deadline:
                raise TimeOverError
            else:
                raise UnreachableError(f"nothing was heard of it for {SILENCE:.0f} s")
