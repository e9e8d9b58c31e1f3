"""What is asked on the socket for turns, and who may ask it.

Hooks count for the run that the process at the other end of the connection belongs to by the kernel's account, whatever
it says. Messages, answers and interrupts are taken from root, the agents' user and the admin group, but from inside a
run only for the workers that its agent spawned: an agent does not allow itself things.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, unquote

import structlog

from agentd.process.proc import run_id_of
from agentd.text.messages import TooLargeError, message_of
from agentd.turns.adapter import Answer, Hook, TurnsError
from agentd.turns.conversation import Request
from agentd.turns.conversations import Remembered
from agentd.turns.events import Decision
from agentd.turns.hook_command import AGAIN
from agentd.turns.hook_command import PATH as HOOK_PATH
from agentd.turns.hook_socket import LONGEST_BODY, HttpAnswer, HttpRequest, HttpStream
from agentd.turns.messages.message import Message
from agentd.turns.messages.queue import ConflictError, NoSuchMessageError, QueueFullError
from agentd.turns.messages.store import StoreError
from agentd.turns.messages.undelivered import BY_AGENT
from agentd.turns.peers import Peer
from agentd.turns.plain_text import plain_object
from agentd.turns.run_watch import RunWatch
from agentd.turns.turns import NoSuchAgentError, NotYetError, Turns
from agentd.turns.views import conversation_view, verdict_view

log = structlog.get_logger(__name__)

MESSAGES_PATH: Final = "/v1/messages"
"""Where the messages to all agents are listed."""

TURNS_PATH: Final = "/v1/turns/"
"""Of the requests of those who talk to agents, before the agent's name."""

_ADOPTION_LIMIT: Final = 5.0
"""Seconds for which requests wait until it is known which runs a former daemon left; it takes 0.1 s."""

_READING_LIMIT: Final = 5.0
"""Seconds for which requests wait after a start until the files have been read; it takes 0.1 s."""

_START_LIMIT: Final = 2.0
"""Seconds for which a hook waits until its run is known; under load programs have posted before that."""

_LONGEST_HOOK: Final = 1 << 20
"""Bytes of a hook's body that are taken; of a longer one only the hook's name is."""

_HOOKS_A_SECOND, _HOOKS_AT_ONCE = 200.0, 400.0

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", re.ASCII)
"""What the id of a message may be."""
_LONGEST_WAIT: Final = 30 * 86400.0
"""Seconds for which a message may wait at most, if it says so."""
_DIGITS: Final = 19
_LONGEST_WORD: Final = 4096
"""Characters, as in a path."""
_MOST_LISTED: Final = 1000
"""Messages in one list."""


class _ForbiddenError(Exception):
    """Who asks may not."""


_STATUSES: Final[Mapping[type[Exception], HTTPStatus]] = {
    _ForbiddenError: HTTPStatus.FORBIDDEN,
    NoSuchAgentError: HTTPStatus.NOT_FOUND,
    NoSuchMessageError: HTTPStatus.NOT_FOUND,
    NotYetError: HTTPStatus.SERVICE_UNAVAILABLE,
    StoreError: HTTPStatus.SERVICE_UNAVAILABLE,
    QueueFullError: HTTPStatus.TOO_MANY_REQUESTS,
    ConflictError: HTTPStatus.CONFLICT,
    TurnsError: HTTPStatus.CONFLICT,
    TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ValueError: HTTPStatus.BAD_REQUEST,
}


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use the socket."""

    agent_uid: int
    own_uid: int
    admin_gid: int | None

    def may_connect(self, peer: Peer) -> bool:
        """Whether a peer has any business here."""
        return peer.uid in (0, self.agent_uid, self.own_uid) or (
            self.admin_gid is not None and (peer.gid == self.admin_gid or self.admin_gid in peer.groups)
        )


@dataclass(slots=True)
class _Flow:
    """How many hooks of a run are taken: more are a flood."""

    left: float = _HOOKS_AT_ONCE
    at: float = 0.0
    told: bool = False

    def take(self, now: float) -> bool:
        self.left = min(_HOOKS_AT_ONCE, self.left + (now - self.at) * _HOOKS_A_SECOND)
        self.at = now
        self.left -= self.left >= 1.0
        return self.left >= 1.0


class Requests:
    """Answers requests.

    Parameters
    ----------
    turns
        What is watched.
    access
        Who may use the socket.
    """

    def __init__(self, turns: Turns, access: Access) -> None:
        self._turns = turns
        self._access = access
        self._flows: dict[str, _Flow] = {}
        turns.forgotten = lambda run_id: self._flows.pop(run_id, None)

    def may_connect(self, peer: Peer) -> bool:
        """Whether a peer has any business here."""
        return self._access.may_connect(peer)

    async def handle(self, request: HttpRequest) -> HttpAnswer | HttpStream:
        """Answer a request, once the runs of a former daemon are known."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ADOPTION_LIMIT):
                await self._turns.adopted.wait()
        if request.method == "POST" and request.path.startswith(HOOK_PATH):
            return await self._hook(request, request.path.removeprefix(HOOK_PATH))
        if not request.path.startswith(TURNS_PATH) and request.path.partition("?")[0] != MESSAGES_PATH:
            return _refused(HTTPStatus.NOT_FOUND, f"expected {HOOK_PATH}EVENT, {TURNS_PATH}AGENT or {MESSAGES_PATH}")
        if request.too_long:
            return _refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected a body of at most {LONGEST_BODY} bytes")
        if request.body is None:
            return _refused(HTTPStatus.SERVICE_UNAVAILABLE, "too much is being asked at once; ask again")
        if not request.path.startswith(TURNS_PATH):
            return await self._mailbox(request)
        path, _, query = request.path.removeprefix(TURNS_PATH).partition("?")
        name, _, what = path.partition("/")
        try:
            return await self._talk_once_known(request, unquote(name), what, query)
        except (*_STATUSES,) as error:
            return _refused(_status_of(error), str(error))

    async def _talk_once_known(self, request: HttpRequest, name: str, what: str, query: str) -> HttpAnswer | HttpStream:
        """Answer; after a start what needs the declarations waits for their first reading."""
        with contextlib.suppress(NotYetError):
            return await self._talk(request, name, what, query)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_READING_LIMIT):
                await self._turns.told.wait()
        return await self._talk(request, name, what, query)

    async def of_sandbox(self, run_id: str, request: HttpRequest) -> HttpAnswer:
        """Answer what came by the socket of one run, from its sandbox: hooks of that run, and nothing else."""
        if request.method != "POST" or not request.path.startswith(HOOK_PATH):
            return _refused(HTTPStatus.NOT_FOUND, f"expected {HOOK_PATH}EVENT")
        watch = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ADOPTION_LIMIT):
                watch = await self._turns.known(run_id)
        if watch is None or self._turns.run_of(request.peer.pid) is not watch:
            return _refused(HTTPStatus.FORBIDDEN, "the process that posts this does not belong to the run")
        return await self._hook_of(watch, request, request.path.removeprefix(HOOK_PATH))

    async def _mailbox(self, request: HttpRequest) -> HttpAnswer:
        """List messages: to all agents, or to one that the one who asks may talk to."""
        if request.method != "GET":
            return _refused(HTTPStatus.METHOD_NOT_ALLOWED, f"expected GET of {MESSAGES_PATH}")
        try:
            given = _query(request.path.partition("?")[2])
            agent = given.get("agent")
            if not self._turns.may_talk(request.peer.pid, agent or ""):
                raise _ForbiddenError("an agent may see only what is sent to its own workers")
            most = min(int(_decimal(given.get("limit", "50"), "limit")), _MOST_LISTED)
            undelivered = given.get("undelivered", "") not in ("", "0")
            found = await self._turns.deliveries.newest(agent, most, undelivered=undelivered)
        except (*_STATUSES,) as error:
            return _refused(_status_of(error), str(error))
        listed = [{**each.message.view(), "characters": each.characters} for each in found]
        return HttpAnswer(HTTPStatus.OK, json.dumps({"messages": listed}).encode())

    async def _act(self, request: HttpRequest, name: str, act: str) -> HttpAnswer:
        body = _object(request.body or b"{}")
        if act == "approvals":
            return await self._explain(name, body)
        watch = self._turns.running(name)
        if act == "answer":
            await watch.answer(_text(body, "request"), _answer(body), self._sender(request.peer))
            return self._shown(watch)
        interrupted = await watch.interrupt()
        # It may have ended by that.
        return self._shown(watch, interrupted=interrupted)

    async def _explain(self, name: str, body: Mapping[str, object]) -> HttpAnswer:
        """Say what the rules in force would decide."""
        agent, workdir = self._turns.known_agent(name)
        arguments = {key: value for key in ("command", "path") if (value := _text(body, key)) is not None}
        given = Request("", "", question=False, asked=0.0, name=_text(body, "tool") or "", arguments=arguments)
        verdict = await self._turns.approver.verdict(agent, given, workdir)
        return HttpAnswer(HTTPStatus.OK, json.dumps(verdict_view(agent, verdict)).encode())

    def _sender(self, peer: Peer) -> str:
        """Who sends, by the kernel's account."""
        watch = self._turns.run_of(peer.pid)
        return f"uid:{peer.uid}" if watch is None else f"{BY_AGENT}{watch.agent}"

    async def _hook(self, request: HttpRequest, name: str) -> HttpAnswer:
        watch = self._turns.run_of(request.peer.pid) or await self._just_launched(request.peer.pid)
        if watch is None:
            return _refused(HTTPStatus.FORBIDDEN, "the process that posts this belongs to no run")
        return await self._hook_of(watch, request, name)

    async def _just_launched(self, pid: int) -> RunWatch | None:
        """Wait for the run of a process that posts before its start was told."""
        run_id = run_id_of(pid)
        if run_id is None:
            return None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_LIMIT):
                await self._turns.known(run_id)
        # Its environment may say anything; it is the kernel that tells whose it is.
        return self._turns.run_of(pid)

    async def _hook_of(self, watch: RunWatch, request: HttpRequest, name: str) -> HttpAnswer:
        flow = self._flows.setdefault(watch.run_id, _Flow())
        if not flow.take(asyncio.get_running_loop().time()):
            if not flow.told:
                flow.told = True
                log.warning("hook_flood", agent=watch.agent, reason=f"over {_HOOKS_A_SECOND:g} hooks a second")
            return _refused(HTTPStatus.TOO_MANY_REQUESTS, f"over {_HOOKS_A_SECOND:g} hooks a second")
        try:
            body = None if request.body is None or len(request.body) > _LONGEST_HOOK else _said(request.body)
        except ValueError as error:
            return _refused(HTTPStatus.BAD_REQUEST, str(error))
        hook = Hook(name.removesuffix(AGAIN), body, request.peer.pid, again=name.endswith(AGAIN))
        said = await watch.hook(hook)
        if not watch.has_record:
            # What has an answer is not told again: if we were killed before it was kept, its turn would never end, and
            # what it used would count to no budget.
            await asyncio.gather(self._turns.deliveries.kept(), self._turns.budgets.kept(watch.agent))
        return HttpAnswer(HTTPStatus.OK, said or b"")

    def _shown(self, watch: RunWatch, **more: bool) -> HttpAnswer:
        view = conversation_view(watch, self._turns.deliveries.unfinished(watch.agent))
        return HttpAnswer(HTTPStatus.OK, json.dumps({**view, **more}).encode())

    async def _talk(self, request: HttpRequest, name: str, what: str, query: str) -> HttpAnswer | HttpStream:
        if not self._turns.may_talk(request.peer.pid, name):
            raise _ForbiddenError("an agent may talk only to its own workers here, and not answer for itself")
        assert request.body is not None
        turns = self._turns
        match request.method, what.split("/"):
            case "GET", [""]:
                return self._shown(turns.running(name))
            case "POST", ["answer" | "interrupt" | "approvals" as act]:
                return await self._act(request, name, act)
            case "POST", ["conversation"]:
                await turns.restore(name, _conversation(_object(request.body)))
                return HttpAnswer(HTTPStatus.OK, b"{}")
            case "POST", ["messages"]:
                body = _object(request.body)
                given = _message_id(_text(body, "id") or ""), _sent(body), _seconds(body, "expires_s")
                to, sender = turns.receiver(name), self._sender(request.peer)
                return _told(HTTPStatus.ACCEPTED, await turns.deliveries.accept(to, *given, sender))
            case "GET", ["messages", message]:
                return _told(HTTPStatus.OK, await turns.deliveries.find(name, _message_id(unquote(message))))
            case "DELETE", ["messages", message]:
                return _told(HTTPStatus.OK, await turns.deliveries.withdraw(name, _message_id(unquote(message))))
            case "GET", ["stream"]:
                return HttpStream(turns.stream(name).follow(_after(query)), request.takes_chunks)
            case _:
                return _refused(
                    HTTPStatus.NOT_FOUND,
                    "expected GET; POST of answer, interrupt, conversation or messages; GET or DELETE of messages/ID; "
                    "GET of stream",
                )


def _told(status: HTTPStatus, message: Message) -> HttpAnswer:
    return HttpAnswer(status, json.dumps({"message": message.view()}).encode())


def _object(body: bytes) -> Mapping[str, object]:
    try:
        found: object = json.loads(body)
    except RecursionError:
        found = None
    if not isinstance(found, dict):
        raise ValueError("expected a JSON object")  # noqa: TRY004 (what is wrong is a value that somebody sent)
    return found


def _said(body: bytes) -> Mapping[str, object]:
    return plain_object(_object(body))


def _conversation(body: Mapping[str, object]) -> Remembered:
    given = [_text(body, each) or "" for each in ("harness", "workdir", "id")]
    if not all(0 < len(each) <= _LONGEST_WORD for each in given):
        raise ValueError(f"expected harness, workdir and id, each a text of 1 to {_LONGEST_WORD} characters")
    return Remembered(*given)


def _text(body: Mapping[str, object], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"expected {name} to be a text")
    return value


def _sent(body: Mapping[str, object]) -> str:
    """What is to be said: what a terminal would act on is left out, as agentctl send does."""
    return message_of(_text(body, "text") or "").text


def _seconds(body: Mapping[str, object], name: str) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"expected {name} to be a number of seconds over 0")
    return min(float(value), _LONGEST_WAIT)


def _message_id(given: str) -> str:
    if not _ID.fullmatch(given):
        raise ValueError("expected id to be 1 to 128 letters, digits, ., _, : or -, the first a letter or digit")
    return given


def _query(query: str) -> Mapping[str, str]:
    return {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True, max_num_fields=8).items()}


def _decimal(given: str, name: str) -> str:
    if not given.isascii() or not given.isdecimal() or len(given) > _DIGITS:
        raise ValueError(f"expected {name} to be a number")
    return given


def _after(query: str) -> int | None:
    given = _query(query).get("after")
    return None if given is None else int(_decimal(given, "after"))


def _status_of(error: Exception) -> HTTPStatus:
    return next(status for kind, status in _STATUSES.items() if isinstance(error, kind))


_DECISIONS = (Decision.ALLOW, Decision.DENY, Decision.ANSWER)


def _answer(body: Mapping[str, object]) -> Answer:
    decision = next((each for each in _DECISIONS if each.value == body.get("decision")), None)
    if decision is None:
        raise ValueError(f"expected decision to be one of {', '.join(_DECISIONS)}")
    return Answer(decision, _text(body, "text") or "")


def _refused(status: HTTPStatus, error: str) -> HttpAnswer:
    return HttpAnswer(status, json.dumps({"error": error}).encode())
