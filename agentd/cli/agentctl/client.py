"""Reading the status API; importing this costs 5 ms, where http.client would cost 27."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TypeAlias, TypeVar, cast

from agentd.model.status import (
    AgentCounts,
    AgentStatus,
    ConfigStatus,
    Health,
    ObservedAgentView,
    PlannedOperation,
    PlanReport,
    Recording,
    RecordingHealth,
    RunView,
    Screen,
    SizeView,
    SlowRead,
    WorktreeStatus,
)

ANSWER_LIMIT = 5.0
"""Seconds without a byte after which the daemon counts as unreachable; it answers in milliseconds."""

_NOT_AGENTD = "is it agentd that serves this socket? --api-socket names another"
_QUEUE_PAUSE = 0.01

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | float | bool | None"

_Known = TypeVar(
    "_Known",
    AgentStatus,
    ConfigStatus,
    AgentCounts,
    ObservedAgentView,
    PlannedOperation,
    SlowRead,
    RecordingHealth,
    RunView,
    Screen,
    SizeView,
    WorktreeStatus,
)


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
        body = self.read(resource)
        try:
            document: Json = json.loads(body)
        except ValueError as error:
            raise ApiError(
                200, f"expected JSON from {self.path}{resource}, found {body[:60]!r}: {_NOT_AGENTD}"
            ) from error
        return document

    def read(self, resource: str) -> bytes:
        """Read one resource that is no JSON.

        Raises
        ------
        UnreachableError
            If nobody answers.
        ApiError
            If the answer is an error.
        """
        status, body = _split(self._exchange(resource))
        if status != 200:  # noqa: PLR2004 (http.HTTPStatus costs 4 ms)
            raise error_of(status, body, resource)
        return body

    def stream(self, resource: str) -> Stream:
        """Begin to read an answer that goes on.

        Raises
        ------
        UnreachableError
            If nobody answers.
        ApiError
            If the answer is an error.
        """
        connection = connect(self.path)
        try:
            connection.sendall(_request(resource))
            head = bytearray()
            while b"\r\n\r\n" not in head:
                part = connection.recv(65536)
                if not part:
                    break
                head += part
            status, body = _split(bytes(head), whole=False)
            if status != 200:  # noqa: PLR2004 (as above)
                while part := connection.recv(65536):
                    body += part
                raise error_of(status, body, resource)
        except OSError as error:
            connection.close()
            raise UnreachableError(_why_unreachable(error)) from None
        except BaseException:
            connection.close()
            raise
        return Stream(connection, body)

    def _exchange(self, resource: str) -> bytes:
        answer = bytearray()
        try:
            with connect(self.path) as connection:
                connection.sendall(_request(resource))
                while part := connection.recv(65536):
                    answer += part
        except OSError as error:
            raise UnreachableError(_why_unreachable(error)) from None
        if not answer:
            raise UnreachableError("the connection was closed without an answer")
        return bytes(answer)


class Stream:
    """An answer that goes on."""

    def __init__(self, connection: socket.socket, begun: bytes) -> None:
        self._connection = connection
        self._begun = begun

    def read(self, patience: float) -> bytes | None:
        """Give what came next, nothing at the end, ``None`` if nothing came within `patience` seconds.

        Raises
        ------
        UnreachableError
            If the connection broke.
        """
        if self._begun:
            begun, self._begun = self._begun, b""
            return begun
        self._connection.settimeout(patience)
        try:
            return self._connection.recv(65536)
        except TimeoutError:
            return None
        except OSError as error:
            raise UnreachableError(error.strerror or str(error)) from error

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def connect(path: Path) -> socket.socket:
    """Connect to the socket; the caller closes the connection.

    Raises
    ------
    UnreachableError
        If nobody answers.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(ANSWER_LIMIT)
        _connect(connection, str(path))
    except OSError as error:
        connection.close()
        raise UnreachableError(_why_unreachable(error)) from None
    return connection


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


def _why_unreachable(error: OSError) -> str:
    match error:
        case FileNotFoundError():
            return "there is no such socket"
        case ConnectionRefusedError():
            return "nobody listens on it"
        case PermissionError():
            return "no permission; its group may use it"
        case TimeoutError():
            return f"no answer within {ANSWER_LIMIT:.0f} s"
        case _:
            return error.strerror or str(error)


def error_of(status: int, body: bytes, resource: str) -> ApiError:
    """Read an answer that is an error."""
    try:
        document: Json = json.loads(body)
    except ValueError:
        return ApiError(status, f"expected JSON from {resource}, found {body[:60]!r}: {_NOT_AGENTD}")
    reason = document.get("error") if isinstance(document, Mapping) else None
    return ApiError(status, str(reason or f"{resource} was answered with status {status}; agentd's log may say why"))


def split_head(head: bytes) -> tuple[int, Sequence[str]]:
    """Take the status and the header lines out of the head of an HTTP answer.

    Raises
    ------
    UnreachableError
        If it is none.
    """
    status_line, *headers = head.decode("latin-1").split("\r\n")
    version, _, rest = status_line.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
        raise UnreachableError("what listens there does not speak HTTP")
    return int(rest[:3]), headers


def _request(resource: str) -> bytes:
    return f"GET {resource} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode("ascii")


def _split(answer: bytes, *, whole: bool = True) -> tuple[int, bytes]:
    """Take status and body out of an HTTP answer.

    To a request of version 1.0 the body is never chunked: it ends with the connection.
    """
    head, separator, body = answer.partition(b"\r\n\r\n")
    status, headers = split_head(head if separator else b"")
    for header in headers:
        name, _, value = header.partition(":")
        if whole and name.lower() == "content-length" and value.strip().isdecimal() and len(body) < int(value):
            raise UnreachableError(f"the answer was cut off after {len(body)} of {int(value)} bytes")
    return status, body


def agent_from(document: Json) -> AgentStatus:
    """Read one agent.

    Raises
    ------
    ApiError
        If a field is missing: a daemon of another version.
    """
    agent = _known(AgentStatus, _object(document))
    if agent.worktree is None:
        return agent
    # What was read is still the JSON of it.
    return replace(agent, worktree=_known(WorktreeStatus, _object(cast("Json", agent.worktree))))


def agents_from(document: Json) -> list[AgentStatus]:
    """Read a list of agents.

    Raises
    ------
    ApiError
        If it is none, or a field is missing: a daemon of another version.
    """
    return [agent_from(agent) for agent in _array(document)]


def runs_from(document: Json) -> list[RunView]:
    """Read the runs of an agent.

    Raises
    ------
    ApiError
        If it is no list, or a field is missing: a daemon of another version.
    """
    return [_run(_object(run)) for run in _array(document)]


def _run(values: Mapping[str, Json]) -> RunView:
    # A daemon before sizes were noted says nothing of them.
    sizes = [_known(SizeView, _object(size)) for size in _array(values.get("sizes", []))]
    return replace(_known(RunView, {**values, "sizes": []}), sizes=sizes)


def screen_from(document: Json) -> Screen:
    """Read a screen.

    Raises
    ------
    ApiError
        If a field is missing: a daemon of another version.
    """
    return _known(Screen, _object(document))


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
            data_dir=str(values["data_dir"]),
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
            recording=_recording_from(_object(values["recording"])),
            # Older daemons do not say.
            slow_reads=[_known(SlowRead, _object(each)) for each in _array(values.get("slow_reads", ()))],
        )
    except KeyError as error:
        raise _missing(str(error.args[0])) from None


def _recording_from(values: Mapping[str, Json]) -> Recording:
    return Recording(
        transcripts=_known(RecordingHealth, _object(values["transcripts"])),
        journal=_known(RecordingHealth, _object(values["journal"])),
    )


def _known(kind: type[_Known], values: Mapping[str, Json]) -> _Known:
    """Take the fields that this version knows; a newer daemon may say more."""
    names = [field.name for field in fields(kind)]
    for name in names:
        if name not in values:
            raise _missing(name)
    return kind(**{name: values[name] for name in names})  # type: ignore[arg-type]  # the API's own types, its schema is tested


def _object(document: Json) -> Mapping[str, Json]:
    if not isinstance(document, Mapping):
        raise ApiError(200, f"expected a JSON object, found {json.dumps(document)[:60]}: {_NOT_AGENTD}")
    return document


def _array(document: Json) -> Sequence[Json]:
    if not isinstance(document, Sequence) or isinstance(document, str):
        raise ApiError(200, f"expected a JSON array, found {json.dumps(document)[:60]}: {_NOT_AGENTD}")
    return document


def _missing(name: str) -> ApiError:
    return ApiError(
        200, f"the daemon's answer has no field {name!r}: agentd and agentctl are of different versions; restart agentd"
    )
