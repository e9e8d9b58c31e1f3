"""All runs that are watched, and who may say or ask what of them. Lives in a loop of its own.

Hooks count for the run that the process at the other end of the connection belongs to by the kernel's account, whatever
it says. An answer is taken from root, the agents' user and the admin group, but not from inside a run: an agent does
not allow itself things.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote

import structlog

from agentd.model.states import Activity
from agentd.process.identity import ProcessIdentity
from agentd.turns.activity import SCREEN, Rank, Seen
from agentd.turns.adapter import Adapter, Answer, Ground, Hook, LiveRun, TurnsError
from agentd.turns.events import Decision
from agentd.turns.hook_command import PATH as HOOK_PATH
from agentd.turns.hook_socket import HttpAnswer, HttpRequest
from agentd.turns.peers import Peer, is_in_a_run, run_of
from agentd.turns.run_watch import Outlet, RunWatch
from agentd.turns.screen.judging import judge_screen
from agentd.turns.views import conversation_view

log = structlog.get_logger(__name__)

TURNS_PATH = "/v1/turns/"
"""Of the requests of those who talk to agents, before the agent's name."""

_HOOKS_A_SECOND, _HOOKS_AT_ONCE = 200.0, 400.0


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


class Turns:
    """The runs that are watched.

    Parameters
    ----------
    adapters
        By harness.
    """

    def __init__(self, adapters: Mapping[str, Adapter], ground: Ground, outlet: Outlet, access: Access) -> None:
        self._adapters = adapters
        self._ground = ground
        self._outlet = outlet
        self._access = access
        self._runs: dict[str, RunWatch] = {}
        self._by_pid: dict[int, tuple[ProcessIdentity, RunWatch]] = {}
        self._flows: dict[str, _Flow] = {}
        self._ending: set[asyncio.Task[None]] = set()

    # -- the supervisor's side

    def started(self, run: LiveRun, *, by_adapter: bool) -> None:
        """Watch a run; without an adapter, its screen alone tells."""
        adapter = self._adapters.get(run.facts.harness) if by_adapter else None
        watch = RunWatch(run, self._ground, self._outlet)
        self._runs[run.facts.run_id] = watch
        self._by_pid[run.process.pid] = run.process, watch
        if adapter is not None:
            watch.begin(adapter)

    def ended(self, run_id: str, *, succeeded: bool) -> None:
        """Watch a run no more."""
        watch = self._runs.pop(run_id, None)
        if watch is None:
            return
        self._flows.pop(run_id, None)
        if watch.run.facts.resume is not None and not watch.talked and not succeeded:
            self._outlet.not_resumed(watch)
        if self._by_pid.get(watch.run.process.pid, (None, None))[1] is watch:
            del self._by_pid[watch.run.process.pid]
        task = asyncio.get_running_loop().create_task(watch.end(succeeded=succeeded), name=f"end of {watch.agent}")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def saw(self, run_id: str, ansi: str, title: str) -> None:
        """Take what a run's terminal shows."""
        watch = self._runs.get(run_id)
        if watch is None:
            return
        try:
            found = judge_screen(watch.run.facts.harness, ansi, title)
        except Exception as error:  # noqa: BLE001 (a third party's rules may be wrong in any way)
            log.warning("screen_not_judged", agent=watch.agent, reason=f"{type(error).__name__}: {error}")
            return
        if found.activity is Activity.UNKNOWN:
            watch.seen(SCREEN, None)
        else:
            watch.seen(SCREEN, Seen(found.activity, self._ground.wall(), found.text or "", Rank.SCREEN))

    async def close(self) -> None:
        """Let go of all runs, which go on."""
        await asyncio.gather(*(watch.let_go() for watch in self._runs.values()))
        if self._ending:
            await asyncio.wait(self._ending)

    # -- the socket's side

    async def handle(self, request: HttpRequest) -> HttpAnswer:
        """Answer a request."""
        if request.method == "POST" and request.path.startswith(HOOK_PATH):
            return await self._hook(request, request.path.removeprefix(HOOK_PATH))
        if request.path.startswith(TURNS_PATH):
            if is_in_a_run(request.peer.pid, self._by_pid):
                return _refused(HTTPStatus.FORBIDDEN, "an agent may not talk to agents here, nor answer for itself")
            name, _, what = request.path.removeprefix(TURNS_PATH).partition("/")
            return await self._talk(request, unquote(name), what)
        return _refused(HTTPStatus.NOT_FOUND, f"expected {HOOK_PATH}EVENT or {TURNS_PATH}AGENT")

    def may_connect(self, peer: Peer) -> bool:
        """Whether a peer has any business here."""
        return self._access.may_connect(peer)

    async def _hook(self, request: HttpRequest, name: str) -> HttpAnswer:
        watch = run_of(request.peer.pid, self._by_pid)
        if watch is None:
            return _refused(HTTPStatus.FORBIDDEN, "the process that posts this belongs to no run")
        flow = self._flows.setdefault(watch.run.facts.run_id, _Flow())
        if not flow.take(asyncio.get_running_loop().time()):
            if not flow.told:
                flow.told = True
                log.warning("hook_flood", agent=watch.agent, reason=f"over {_HOOKS_A_SECOND:g} hooks a second")
            return _refused(HTTPStatus.TOO_MANY_REQUESTS, f"over {_HOOKS_A_SECOND:g} hooks a second")
        try:
            body = None if request.body is None else _object(request.body)
        except ValueError as error:
            return _refused(HTTPStatus.BAD_REQUEST, str(error))
        return HttpAnswer(HTTPStatus.OK, await watch.hook(Hook(name, body)) or b"")

    async def _talk(self, request: HttpRequest, name: str, what: str) -> HttpAnswer:
        found = [watch for watch in self._runs.values() if watch.agent.lower() == name.lower()]
        if not found:
            return _refused(HTTPStatus.NOT_FOUND, f"no agent {name} is running")
        watch = found[-1]
        try:
            body = _object(request.body or b"{}")
            match request.method, what:
                case "GET", "":
                    pass
                case "POST", "answer":
                    await watch.answer(_text(body, "request"), _answer(body))
                case "POST", "interrupt":
                    await watch.interrupt()
                case _:
                    return _refused(HTTPStatus.NOT_FOUND, "expected GET, or POST of answer or interrupt")
        except TurnsError as error:
            return _refused(HTTPStatus.CONFLICT, str(error))
        except ValueError as error:
            return _refused(HTTPStatus.BAD_REQUEST, str(error))
        return HttpAnswer(HTTPStatus.OK, json.dumps(conversation_view(watch)).encode())


def _object(body: bytes) -> Mapping[str, object]:
    try:
        found: object = json.loads(body)
    except RecursionError:
        found = None
    if not isinstance(found, dict):
        raise ValueError("expected a JSON object")  # noqa: TRY004 (what is wrong is a value that somebody sent)
    return found


def _text(body: Mapping[str, object], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"expected {name} to be a text")
    return value


_DECISIONS = (Decision.ALLOW, Decision.DENY, Decision.ANSWER)


def _answer(body: Mapping[str, object]) -> Answer:
    decision = next((each for each in _DECISIONS if each.value == body.get("decision")), None)
    if decision is None:
        raise ValueError(f"expected decision to be one of {', '.join(_DECISIONS)}")
    return Answer(decision, _text(body, "text") or "")


def _refused(status: HTTPStatus, error: str) -> HttpAnswer:
    return HttpAnswer(status, json.dumps({"error": error}).encode())
