"""Following the daemon's events over its socket, also over its restarts."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentd.cli.agentctl.client import Api, ApiError, Json, UnreachableError, connect, error_of, split_head

if TYPE_CHECKING:
    from collections.abc import Mapping

SILENCE = 40.0
"""Seconds without a byte after which the daemon counts as gone: it says something every 15 s."""

RETRY_AFTER = 0.2
"""Seconds between attempts to reach a daemon that went away."""


class TimeOverError(Exception):
    """The deadline came first."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event, or, without a document, the news that from here on none is missed."""

    document: Mapping[str, Json] | None = None

    def text(self, name: str) -> str | None:
        """Give a field that is text."""
        value = None if self.document is None else self.document.get(name)
        return value if isinstance(value, str) else None

    @property
    def data(self) -> Mapping[str, Json]:
        """What programs want to know."""
        data = None if self.document is None else self.document.get("data")
        return data if isinstance(data, dict) else {}


def follow(
    api: Api, query: str, *, deadline: float | None = None, warn: Callable[[str], None] = lambda _text: None
) -> Iterator[Event]:
    """Give events as they come, without end; first of all, and after each lost connection, one without a document.

    Parameters
    ----------
    query
        What comes after ``follow=1``, such as ``&agent=reviewer``.
    deadline
        Monotonic, in seconds.
    warn
        Is told when the daemon goes away and when it is back.

    Raises
    ------
    UnreachableError
        If nobody answers at first.
    ApiError
        If the daemon has no events.
    TimeOverError
        At the deadline.
    """
    last: str | None = None
    lost = False
    while True:
        try:
            for number, document in _blocks(api, query, last, deadline):
                if lost:
                    lost = False
                    warn("agentd is back")
                last = number or last
                yield Event(document)
        except UnreachableError as error:
            if last is None:
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
    api: Api, query: str, last: str | None, deadline: float | None
) -> Iterator[tuple[str, Mapping[str, Json] | None]]:
    """Give the number and the document of each event until the stream ends, which is an `UnreachableError` too.

    The first block has the number after which the stream begins, and no document. A block that was cut off is none.
    Source: HTML, 9.2.6 Interpreting an event stream, without fields of several lines, which agentd does not send.
    """
    fields: dict[str, str] = {}
    for line in _lines(api, query, last, deadline):
        if line:
            name, _, value = line.decode("utf-8", "replace").partition(": ")
            fields[name] = value
        elif "id" in fields:
            document: Json = json.loads(fields["data"]) if "data" in fields else None
            yield fields["id"], document if isinstance(document, dict) else None
            fields = {}


def _lines(api: Api, query: str, last: str | None, deadline: float | None) -> Iterator[bytes]:
    if deadline is not None and time.monotonic() >= deadline:
        raise TimeOverError
    header = "" if last is None else f"Last-Event-ID: {last}\r\n"
    request = f"GET /v1/events?follow=1{query} HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n{header}\r\n"
    with connect(api.path) as connection:
        try:
            connection.sendall(request.encode("ascii"))
        except OSError as error:
            raise UnreachableError(error.strerror or str(error)) from error
        received = b""
        while b"\r\n\r\n" not in received:
            received += _receive(connection, deadline)
        head, _, received = received.partition(b"\r\n\r\n")
        status, _ = split_head(head)
        if status != 200:  # noqa: PLR2004 (http.HTTPStatus costs 4 ms)
            raise _refusal(connection, status, received)
        while True:
            *lines, received = received.split(b"\n")
            yield from lines
            received += _receive(connection, deadline)


def _refusal(connection: socket.socket, status: int, body: bytes) -> ApiError:
    while part := connection.recv(65536):
        body += part
    return error_of(status, body, "/v1/events")


def _receive(connection: socket.socket, deadline: float | None) -> bytes:
    patience = SILENCE
    if deadline is not None:
        patience = min(SILENCE, deadline - time.monotonic())
        if patience <= 0:
            raise TimeOverError
    connection.settimeout(patience)
    try:
        part = connection.recv(65536)
    except TimeoutError:
        if patience < SILENCE:
            raise TimeOverError from None
        raise UnreachableError(f"nothing was heard of it for {SILENCE:.0f} s") from None
    except OSError as error:
        raise UnreachableError(error.strerror or str(error)) from error
    if not part:
        raise UnreachableError("it closed the connection")
    return part
