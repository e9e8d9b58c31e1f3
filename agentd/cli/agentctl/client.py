"""Reading the status API; importing this costs 5 ms, where http.client would cost 27."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeAlias, TypeVar

from agentd.supervise.snapshot import (
    AgentCounts,
    AgentStatus,
    ConfigStatus,
    Health,
    ObservedAgentView,
    PlannedOperation,
    PlanReport,
)

ANSWER_LIMIT = 5.0
"""Seconds without a byte after which the daemon counts as unreachable; it answers in milliseconds."""

_QUEUE_PAUSE = 0.01

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | float | bool | None"

_Known = TypeVar("_Known", AgentStatus, ConfigStatus, AgentCounts, ObservedAgentView, PlannedOperation)


class UnreachableError(Exception):
    """No daemon answers on the socket; the text says which one, and why."""


class ApiError(Exception):
    """The daemon answered, but not with what was asked for."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Api:
    """The status API on a Unix socket."""

    path: Path

    def get(self, resource: str) -> Json:
        """Read one resource.

        Raises
        ------
        UnreachableError
            If nobody answers.
        ApiError
            If the answer is an error, or not JSON.
        """
        status, body = _split(self._exchange(f"GET {resource} HTTP/1.0\r\nHost: localhost\r\n\r\n"))
        try:
            document: Json = json.loads(body)
        except ValueError as error:
            raise ApiError(status, f"expected JSON from {self.path}{resource}, found {body[:60]!r}") from error
        if status != 200:  # noqa: PLR2004 (http.HTTPStatus costs 4 ms)
            reason = document.get("error") if isinstance(document, Mapping) else None
            raise ApiError(status, str(reason or f"{resource} was answered with status {status}"))
        return document

    def _exchange(self, request: str) -> bytes:
        answer = bytearray()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(ANSWER_LIMIT)
                _connect(connection, str(self.path))
                connection.sendall(request.encode("ascii"))
                while part := connection.recv(65536):
                    answer += part
        except FileNotFoundError:
            raise UnreachableError("there is no such socket") from None
        except ConnectionRefusedError:
            raise UnreachableError("nobody listens on it") from None
        except PermissionError:
            raise UnreachableError("no permission; its group may use it") from None
        except TimeoutError:
            raise UnreachableError(f"no answer within {ANSWER_LIMIT:.0f} s") from None
        except OSError as error:
            raise UnreachableError(error.strerror or str(error)) from error
        if not answer:
            raise UnreachableError("the connection was closed without an answer")
        return bytes(answer)


def _connect(connection: socket.socket, path: str) -> None:
    """Connect, waiting for a place in the daemon's queue: a Unix socket with a time limit refuses at once instead."""
    end = time.monotonic() + ANSWER_LIMIT
    while True:
        try:
            return connection.connect(path)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise TimeoutError from None
            time.sleep(_QUEUE_PAUSE)  # noqa: TID251 (the kernel tells nobody that the queue has room again)


def _split(answer: bytes) -> tuple[int, bytes]:
    """Take status and body out of an HTTP answer.

    To a request of version 1.0 the body is never chunked: it ends with the connection.
    """
    head, separator, body = answer.partition(b"\r\n\r\n")
    status_line, *headers = head.decode("latin-1").split("\r\n")
    version, _, rest = status_line.partition(" ")
    if not separator or not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
        raise UnreachableError("what listens there does not speak HTTP")
    for header in headers:
        name, _, value = header.partition(":")
        if name.lower() == "content-length" and value.strip().isdecimal() and len(body) < int(value):
            raise UnreachableError(f"the answer was cut off after {len(body)} of {int(value)} bytes")
    return int(rest[:3]), body


def agent_from(document: Json) -> AgentStatus:
    """Read one agent.

    Raises
    ------
    ApiError
        If a field is missing: a daemon of another version.
    """
    return _known(AgentStatus, _object(document))


def agents_from(document: Json) -> list[AgentStatus]:
    """Read a list of agents.

    Raises
    ------
    ApiError
        If it is none, or a field is missing: a daemon of another version.
    """
    return [agent_from(agent) for agent in _array(document)]


def operations_from(document: Json) -> list[PlannedOperation]:
    """Read the operations of a plan.

    Raises
    ------
    ApiError
        If a field is missing: a daemon of another version.
    """
    return [_known(PlannedOperation, _object(operation)) for operation in _array(_object(document).get("operations"))]


def report_from(document: Json) -> PlanReport:
    """Read a plan with what it was made from.

    Raises
    ------
    ApiError
        If a field is missing: a daemon of another version.
    """
    values = _object(document)
    try:
        return PlanReport(
            operations=operations_from(document),
            observed=[_known(ObservedAgentView, _object(view)) for view in _array(values["observed"])],
            digest_key=str(values["digest_key"]),
            agent_user=str(values["agent_user"]),
            home=str(values["home"]),
            default_workdir=str(values["default_workdir"]),
        )
    except KeyError as error:
        raise _missing(str(error.args[0])) from None


def health_from(document: Json) -> Health:
    """Read what the daemon says of itself.

    Raises
    ------
    ApiError
        If a field is missing: a daemon of another version.
    """
    values = _object(document)
    try:
        return Health(
            state=str(values["state"]),
            uptime_seconds=int(str(values["uptime_seconds"])),
            version=str(values["version"]),
            pid=int(str(values["pid"])),
            config=_known(ConfigStatus, _object(values["config"])),
            agents=_known(AgentCounts, _object(values["agents"])),
        )
    except KeyError as error:
        raise _missing(str(error.args[0])) from None


def _known(kind: type[_Known], values: Mapping[str, Json]) -> _Known:
    """Take the fields that this version knows; a newer daemon may say more."""
    names = [field.name for field in fields(kind)]
    for name in names:
        if name not in values:
            raise _missing(name)
    return kind(**{name: values[name] for name in names})  # type: ignore[arg-type]  # the API's own types, its schema is tested


def _object(document: Json) -> Mapping[str, Json]:
    if not isinstance(document, Mapping):
        raise ApiError(200, f"expected a JSON object, found {json.dumps(document)[:60]}")
    return document


def _array(document: Json) -> Sequence[Json]:
    if not isinstance(document, Sequence) or isinstance(document, str):
        raise ApiError(200, f"expected a JSON array, found {json.dumps(document)[:60]}")
    return document


def _missing(name: str) -> ApiError:
    return ApiError(200, f"the daemon's answer has no field {name!r}: agentd and agentctl are of different versions")
