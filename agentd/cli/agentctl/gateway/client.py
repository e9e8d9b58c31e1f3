"""The client of agentd-gateway's API, over TCP or a Unix socket."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

from agentd.api.client.blocking import UnixConnection
from agentd.cli.agentctl.client import Json
from agentd.cli.agentctl.command import CommandError, Invocation, Status, UsageError
from agentd.model.gateway import CLIENT_TOKEN, CLIENT_URL, DEFAULT_LISTEN

if TYPE_CHECKING:
    from typing import Self

PATIENCE: Final = 60.0
"""Seconds without a byte after which the gateway counts as unreachable; of a stream something comes every 15 s."""

_UNIX = "unix:"
_GOOD = range(200, 300)


_UNAUTHORIZED: Final = "unauthorized"

_LISTED: Final = {"agent": "agentctl list", "run": "agentctl run list", "session": "agentctl session list"}
"""Which command lists what is not there."""


def _next_step(code: str, message: str) -> str:
    """Say what to do, where the gateway's own words are for clients that speak HTTP."""
    if code == _UNAUTHORIZED:
        return "; put one of its tokens into AGENTCTL_AUTH_TOKEN"
    what = message.removeprefix("there is no ").partition(" ")[0]
    if code == "not_found" and what == "channel":
        return "; GET /channels shows those that are: the gateway reads [[gateway.channels]] when it starts"
    return f"; {_LISTED[what]} shows those that are" if code == "not_found" and what in _LISTED else ""


class GatewayUnreachableError(CommandError):
    """No gateway answers; the text says where."""

    status = Status.UNREACHABLE


class GatewayError(CommandError):
    """The gateway refused; the text is its reason."""

    def __init__(self, code: str, message: str) -> None:
        told = "the gateway takes no such token" if code == _UNAUTHORIZED else message
        super().__init__(f"{told} ({code}){_next_step(code, message)}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where a gateway listens, and the token for it.

    Every method raises `GatewayUnreachableError` if nobody answers, and `GatewayError` if the answer is an error.
    """

    url: str
    token: str | None

    @classmethod
    def of(cls, invocation: Invocation) -> Self:
        """Take what the command line or the environment says.

        Raises
        ------
        UsageError
            If the URL is none.
        """
        given = vars(invocation.arguments)
        url = str(given.get("gateway") or os.environ.get(CLIENT_URL) or f"http://{DEFAULT_LISTEN}")
        if not url.startswith((_UNIX, "http://", "https://")):
            raise UsageError(f"--gateway: expected http://HOST:PORT, https://HOST or unix:PATH, found {url!r}")
        token = given.get("auth_token") or os.environ.get(CLIENT_TOKEN)
        return cls(url.rstrip("/"), None if token is None else str(token))

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Mapping[str, Json]:
        """Read an object."""
        return self._call("GET", _with_query(path, query))

    def post(self, path: str, body: Mapping[str, object], *, key: str | None = None) -> Mapping[str, Json]:
        """Post an object; with `key` a repetition has no second effect."""
        given = {name: value for name, value in body.items() if value is not None}
        return self._call("POST", path, given, key)

    def delete(self, path: str) -> Mapping[str, Json]:
        """Delete an object."""
        return self._call("DELETE", path)

    def events(self, session: str, cursor: int) -> Iterator[Mapping[str, Json]]:
        """Follow the events of a session, without end, after the one of this number.

        Source: HTML, 9.2.6 Interpreting an event stream; the gateway sends each event's data in one line.
        """
        connection = self._connect()
        try:
            answer = self._ask(connection, "GET", _with_query("/stream", {"sessionId": session, "cursor": cursor}))
            if answer.status not in _GOOD:
                _document(answer.status, answer.read())
            while line := answer.readline():
                name, _, value = line.rstrip(b"\r\n").partition(b":")
                if name == b"data":
                    event: Json = json.loads(value)
                    if isinstance(event, dict) and "cursor" in event:
                        yield event
            raise GatewayUnreachableError(f"the gateway at {self.url} ended the stream")
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        finally:
            connection.close()

    def _call(
        self, method: str, path: str, body: Mapping[str, object] | None = None, key: str | None = None
    ) -> Mapping[str, Json]:
        connection = self._connect()
        try:
            answer = self._ask(connection, method, path, body, key)
            return _document(answer.status, answer.read())
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        if self.url.startswith(_UNIX):
            return UnixConnection(self.url.removeprefix(_UNIX).removeprefix("//"), PATIENCE)
        where = urlsplit(self.url)
        kind = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
        try:
            return kind(where.hostname or "localhost", where.port, timeout=PATIENCE)
        except ValueError as error:
            raise UsageError(f"--gateway {self.url}: {error}") from None

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        key: str | None = None,
    ) -> http.client.HTTPResponse:
        headers = {"Accept": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Idempotency-Key"] = key
        base = "" if self.url.startswith(_UNIX) else urlsplit(self.url).path
        connection.request(method, base + path, None if body is None else json.dumps(body).encode(), headers)
        return connection.getresponse()

    def _unreachable(self, error: Exception) -> GatewayUnreachableError:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        return GatewayUnreachableError(
            f"the gateway is not reachable at {self.url}: {reason}; start agentd-gateway, or name its address with "
            f"--gateway or {CLIENT_URL}"
        )


def _with_query(path: str, query: Mapping[str, object] | None) -> str:
    given = {name: str(value) for name, value in (query or {}).items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def _document(status: int, body: bytes) -> Mapping[str, Json]:
    try:
        document: Json = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise GatewayError(str(status), f"expected a JSON object, found {body[:60]!r}: is this agentd-gateway?")
    if status in _GOOD:
        return document
    error = document.get("error")
    told = error if isinstance(error, dict) else {}
    raise GatewayError(str(told.get("code") or status), str(told.get("message") or f"the gateway answered {status}"))
