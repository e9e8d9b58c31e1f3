"""The client of the status API; importing this costs 5 ms, where http.client would cost 27."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from agentd.files.answering import Way, along
from agentd.model.limits import LIMIT_FIELDS
from agentd.model.plan_report import ObservedAgentView, PlannedOperation, PlannedResume, PlannedStart, PlanReport
from agentd.model.run_view import RunView, SizeView
from agentd.model.sandbox import SandboxStatus
from agentd.model.status import (
    AgentCounts,
    AgentStatus,
    BoundStatus,
    BudgetStatus,
    ConfigFileStatus,
    ConfigStatus,
    Health,
    HeldChangeStatus,
    LimitsStatus,
    LimitStatus,
    QueuedStatus,
    Recording,
    RecordingHealth,
    SlowRead,
    StalledStatus,
    UsageLimitStatus,
    WorktreeStatus,
)

if TYPE_CHECKING:
    from typing import Self

    from _typeshed import DataclassInstance

ANSWER_LIMIT = 5.0
"""Seconds without a byte after which the daemon counts as unreachable; it answers in milliseconds."""

NOT_FOUND = 404
_ACCEPTED = 202
_CODES = {400: "invalid_argument", 403: "not_permitted", NOT_FOUND: "not_found", 409: "conflict", 429: "conflict"}
_OK = 200  # http.HTTPStatus costs 4 ms

_NOT_AGENTD = "is it agentd that serves this socket? --api-socket names another"
_NOT_HTTP = "what listens there does not speak HTTP"
_QUEUE_PAUSE = 0.01
_BLOCK = 65536

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | float | bool | None"

_View = TypeVar("_View", bound="DataclassInstance")

_NESTED: Mapping[type, Mapping[str, type[DataclassInstance]]] = {
    AgentStatus: {
        "budget": BudgetStatus,
        "held_change": HeldChangeStatus,
        "queued": QueuedStatus,
        "limits": LimitsStatus,
        "sandbox": SandboxStatus,
        "stalled": StalledStatus,
        "usage_limit": UsageLimitStatus,
        "worktree": WorktreeStatus,
    },
    BudgetStatus: {"bounds": BoundStatus},
    ConfigStatus: {"files": ConfigFileStatus},
    LimitsStatus: dict.fromkeys(LIMIT_FIELDS, LimitStatus),
    Health: {"config": ConfigStatus, "agents": AgentCounts, "recording": Recording, "slow_reads": SlowRead},
    ObservedAgentView: {"sandbox": SandboxStatus},
    PlannedOperation: {"sandbox": SandboxStatus, "sandbox_before": SandboxStatus},
    PlanReport: {
        "operations": PlannedOperation,
        "resumes": PlannedResume,
        "starts": PlannedStart,
        "observed": ObservedAgentView,
    },
    Recording: {"transcripts": RecordingHealth, "journal": RecordingHealth},
    RunView: {"sizes": SizeView},
}
"""Fields whose values, or items, are views too."""

_ADDED_LATER: Mapping[str, Json] = {
    "sizes": [],
    "resumes": [],
    "starts": [],
    "next_start_at": None,
    "usage_limit": None,
    "stalled": None,
    "budget": None,
    "held_change": None,
    "queued": None,
    "priority": 0,
    "ports": {},
    "waits": [],
    "use": [],
    "slow_reads": [],
    "problem": None,
    "files": [],
    "owner": None,
    "source": None,
    "limits": None,
    "exit_reason": None,
    "oom_kills": 0,
    "sandbox": None,
    "sandbox_before": None,
    "secrets": None,
    "secret_dir": None,
    "state_dir": None,
}
"""What an older daemon does not send, and what it counts as then."""


class UnreachableError(Exception):
    """No daemon answers on the socket; the text says which one, and why."""

    kept_out = False
    """Whether somebody may well listen there, but not to this user."""


class ApiError(Exception):
    """The daemon answered, but not with what was asked for."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    @property
    def code(self) -> str:
        """What kind of refusal it is, by the name that `agentd.pool.errors.Code` has for it."""
        return _CODES.get(self.status, "refused")


@dataclass(frozen=True, slots=True)
class Api:
    """The status API on a Unix socket.

    Every method raises `UnreachableError` if no daemon answers, and `ApiError` if the answer is an error or not what
    was expected.
    """

    path: Path

    def health(self) -> Health:
        """Read how the daemon is doing."""
        return view(Health, self.get("/v1/health"))

    def agents(self) -> list[AgentStatus]:
        """Read the status of all agents."""
        return views(AgentStatus, self.get("/v1/agents"))

    def get(self, resource: str) -> Json:
        """Read a JSON document."""
        body = self.read(resource)
        try:
            document: Json = json.loads(body)
        except ValueError as error:
            raise ApiError(
                _OK, f"expected JSON from {self.path}{resource}, found {body[:60]!r}: {_NOT_AGENTD}"
            ) from error
        return document

    def post(self, resource: str, document: Json) -> Json:
        """Post a JSON document, and give the answer to it."""
        with Stream(_connect(self.path)) as stream:
            stream.ask(resource, (), json.dumps(document).encode())
            body = stream.rest()
        if stream.status not in (_OK, _ACCEPTED):
            raise _error_of(stream.status, body, resource)
        answer: Json = json.loads(body)
        return answer

    def delete(self, resource: str) -> Json:
        """Delete something, and give the answer to it."""
        with Stream(_connect(self.path)) as stream:
            stream.ask(resource, (), method="DELETE")
            body = stream.rest()
        if stream.status != _OK:
            raise _error_of(stream.status, body, resource)
        answer: Json = json.loads(body)
        return answer

    def read(self, resource: str) -> bytes:
        """Read a whole answer."""
        with self.stream(resource) as stream:
            return stream.rest()

    def stream(self, resource: str, *headers: str) -> Stream:
        """Ask, and read the head of the answer; the caller closes the stream."""
        stream = Stream(_connect(self.path))
        try:
            stream.ask(resource, headers)
            if stream.status != _OK:
                raise _error_of(stream.status, stream.rest(), resource)
        except BaseException:
            stream.close()
            raise
        return stream


class Stream:
    """The body of an answer, as it comes.

    To a request of HTTP 1.0 it is never chunked: it ends with the connection.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = b""
        self.status = 0
        self.headers: Mapping[str, str] = {}
        """By their names in lower case."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, resource: str, headers: Sequence[str], body: bytes | None = None, method: str | None = None) -> None:
        """Send the request, and read the head of the answer.

        Parameters
        ----------
        body
            What is posted; ``None`` to get.
        method
            Another one than these.

        Raises
        ------
        UnreachableError
            If it does not come, or is not HTTP.
        """
        usual, length = ("GET", ()) if body is None else ("POST", (f"Content-Length: {len(body)}",))
        request = (f"{method or usual} {resource} HTTP/1.0", "Host: localhost", *length, *headers, "", "")
        try:
            self._connection.sendall("\r\n".join(request).encode("ascii") + (body or b""))
        except OSError as error:
            raise UnreachableError(_reason(error)) from None
        received = b""
        while b"\r\n\r\n" not in received:
            part = self._receive()
            if not part:
                raise UnreachableError(_NOT_HTTP if received else "the connection was closed without an answer")
            received += part
        head, _, self._received = received.partition(b"\r\n\r\n")
        status_line, *headers = head.decode("latin-1").split("\r\n")
        version, _, rest = status_line.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
            raise UnreachableError(_NOT_HTTP)
        self.status = int(rest[:3])
        pairs = (header.partition(":") for header in headers)
        self.headers = {name.lower(): value.strip() for name, _, value in pairs}

    def read(self, patience: float) -> bytes | None:
        """Give what came next, nothing at the end, ``None`` if nothing came within `patience` seconds.

        Raises
        ------
        UnreachableError
            If the connection broke.
        """
        if self._received:
            received, self._received = self._received, b""
            return received
        # 0 would mean not to wait at all, which is an error of another kind.
        self._connection.settimeout(max(patience, 0.001))
        try:
            return self._connection.recv(_BLOCK)
        except TimeoutError:
            return None
        except OSError as error:
            raise UnreachableError(_reason(error)) from None

    def rest(self) -> bytes:
        """Give all that comes until the end.

        Raises
        ------
        UnreachableError
            If the answer is cut off.
        """
        body = bytearray(self._received)
        while part := self._receive():
            body += part
        length = self.headers.get("content-length", "")
        if length.isdecimal() and len(body) < int(length):
            raise UnreachableError(f"the answer was cut off after {len(body)} of {length} bytes")
        return bytes(body)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _receive(self) -> bytes:
        try:
            return self._connection.recv(_BLOCK)
        except OSError as error:
            raise UnreachableError(_reason(error)) from None


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(ANSWER_LIMIT)
    try:
        along(partial(_wait_for_place, connection, str(path)))
    except OSError as error:
        connection.close()
        unreachable = UnreachableError(_reason(error))
        unreachable.kept_out = isinstance(error, PermissionError)
        raise unreachable from None
    return connection


def _wait_for_place(connection: socket.socket, path: str, way: Way) -> None:
    """Connect once the queue of the daemon has room: with a time limit a Unix socket does not wait for that."""
    end = time.monotonic() + ANSWER_LIMIT
    while True:
        way.to(path)
        try:
            return connection.connect(path)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise TimeoutError from None
            time.sleep(_QUEUE_PAUSE)  # noqa: TID251 (the kernel tells nobody that the queue has room again)


def _reason(error: OSError) -> str:
    match error:
        case FileNotFoundError():
            return "there is no such socket"
        case ConnectionRefusedError():
            return "nobody listens on it"
        case PermissionError():
            return "no permission: its owner and its group may use it"
        case TimeoutError():
            return f"no answer within {ANSWER_LIMIT:.0f} s"
        case _:
            return error.strerror or str(error)


def _error_of(status: int, body: bytes, resource: str) -> ApiError:
    try:
        document: Json = json.loads(body)
    except ValueError:
        return ApiError(status, f"expected JSON from {resource}, found {body[:60]!r}: {_NOT_AGENTD}")
    reason = document.get("error") if isinstance(document, Mapping) else None
    return ApiError(status, str(reason or f"{resource} was answered with status {status}; agentd's log may say why"))


def view(kind: type[_View], document: Json) -> _View:
    """Read a JSON object as one of the API's types; fields of a newer daemon are passed over.

    Raises
    ------
    ApiError
        If it is no object, or a field is missing: the daemon is of another version.
    """
    if not isinstance(document, Mapping):
        raise ApiError(_OK, f"expected a JSON object, found {json.dumps(document)[:60]}: {_NOT_AGENTD}")
    nested = _NESTED.get(kind, {})
    values: dict[str, object] = {}
    for name in (field.name for field in fields(kind)):
        if name not in document and name not in _ADDED_LATER:
            raise ApiError(
                _OK,
                f"the daemon's answer has no field {name!r}: agentd and agentctl are of different versions; restart "
                "agentd",
            )
        value = document.get(name, _ADDED_LATER.get(name))
        if name in nested and value is not None:
            values[name] = (views if isinstance(value, list) else view)(nested[name], value)
        else:
            values[name] = value
    return kind(**values)


def views(kind: type[_View], document: Json) -> list[_View]:
    """Read a JSON array of objects as one of the API's types.

    Raises
    ------
    ApiError
        If it is no array, or one of them cannot be read.
    """
    if not isinstance(document, Sequence) or isinstance(document, str):
        raise ApiError(_OK, f"expected a JSON array, found {json.dumps(document)[:60]}: {_NOT_AGENTD}")
    return [view(kind, each) for each in document]
