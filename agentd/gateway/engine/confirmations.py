"""Tools that somebody has to confirm: asked once, answered once, and the answer passed on to the agent.

An answer is stored before it is passed on, so that it survives the gateway; agentd takes the first one for a request, a
person's at the terminal included.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from agentd.api.client.socket import RefusedError
from agentd.gateway.engine.core import Core
from agentd.gateway.model.caller import Caller
from agentd.gateway.model.errors import AgentdUnreachableError, DecidedError, GatewayError, NotFoundError
from agentd.gateway.model.managed import Confirmation, Decider, ManagedAgent, SoughtTool, Tools
from agentd.gateway.model.objects import EventType, Json, JsonObject
from agentd.gateway.store import confirmations, events
from agentd.gateway.store.database import Writer
from agentd.gateway.store.events import NewEvent

log = structlog.get_logger(__name__)

_AGAIN: Final = 0.5
"""Seconds after which an answer is passed on again that could not be."""

_FOLLOWED: Final = 30.0
"""Seconds after its time in which it is told how a request ended, where somebody follows the agent."""

_LONGEST_PAUSE: Final = 30.0

_WAITING: Final = "waiting_permission"
"""agentd's word for an agent that asks for one."""
_AT_WORK: Final = (_WAITING, "working", "unknown", None)


@dataclass(frozen=True, slots=True)
class Ask:
    """What an agent asks for, by its stream."""

    target: str
    request: str
    tool: str | None
    arguments: JsonObject


_PREFIX: Final = "cnf_"


def new_request_id() -> str:
    """Make the id of a request: 128 random bits."""
    return f"{_PREFIX}{secrets.token_hex(16)}"


def is_request_id(text: str) -> bool:
    """Tell ids of requests from those that harnesses give."""
    return text.startswith(_PREFIX)


async def ask(writer: Writer, agent: ManagedAgent, sought: SoughtTool, wanted: Ask, now: float) -> Confirmation:
    """Ask for a confirmation, in the agent's session."""
    asked = Confirmation(
        id=new_request_id(),
        agent=agent.agent,
        username=agent.username,
        session_id=agent.session_id,
        target=wanted.target,
        request=wanted.request,
        server_name=sought.server,
        tool_name=sought.name,
        arguments=wanted.arguments,
        tool=wanted.tool,
        timeout_ms=sought.timeout_ms,
        default=sought.default,
        asked_at=now,
    )
    await confirmations.add(writer.connection, asked)
    await _tell(writer, asked, EventType.TOOL_CONFIRMATION_REQUEST, asked.request_json(), now)
    return asked


async def finish(writer: Writer, asked: Confirmation, by: Decider, now: float, *, confirmed: bool) -> Confirmation:
    """Note how it ended, and tell those who were asked."""
    ended = replace(asked, answer=confirmed, decided_by=by, confirmed=confirmed, decided_at=now)
    await confirmations.change(
        writer.connection, asked.id, answer=confirmed, decided_by=by.value, confirmed=confirmed, decided_at=now
    )
    await _tell(writer, ended, EventType.TOOL_CONFIRMATION_RESPONSE, ended.response_json(), now)
    return ended


async def _tell(writer: Writer, asked: Confirmation, kind: EventType, data: JsonObject, now: float) -> None:
    await events.add(writer, [NewEvent(asked.session_id, asked.username, kind, data)], now)


class Confirmations:
    """All of them."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._news = asyncio.Event()
        self._passing: set[str] = set()
        """Answers that somebody is passing on now."""

    async def pending(self, agent: str) -> tuple[Confirmation, ...]:
        """List what waits for an answer, the oldest first; `agent` is agentd's name of the managed one."""
        async with self._core.database.read() as connection:
            return tuple(each for each in await confirmations.undecided(connection, agent) if each.open)

    async def confirm(
        self, caller: Caller, request_id: str, confirmed: bool, *, agent: str | None = None
    ) -> Confirmation:
        """Let a tool run, or not. The first answer counts.

        Parameters
        ----------
        agent
            Whose request it must be; agentd's name of the managed one.

        Raises
        ------
        NotFoundError
            If there is no such request, or it is somebody else's.
        DecidedError
            If it is decided already.
        """

        async def claim(writer: Writer) -> Confirmation:
            asked = await confirmations.find(writer.connection, request_id)
            if asked is None or not caller.sees(asked.username) or (agent is not None and asked.agent != agent):
                raise NotFoundError(f"there is no request {request_id}")
            if not asked.open:
                raise DecidedError(f"the request {request_id} is decided already")
            return await _claim(writer, asked, Decider.USER, confirmed=confirmed)

        asked = await self._core.database.write(claim)
        ended = await self._pass_on(asked)
        if ended.confirmed is None and ended.answer is None:
            raise DecidedError(f"the request {request_id} was decided at the agent's terminal")
        return ended

    def asked(self) -> None:
        """Say that there is something new to wait for."""
        self._news.set()

    async def run(self) -> None:
        """Answer by default what nobody answered in time, and pass on answers, until cancelled."""
        while True:
            self._news.clear()
            try:
                wake = await self._step()
            except GatewayError as error:
                log.error("confirmations_not_kept", reason=str(error))
                wake = _AGAIN
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wake):
                    await self._news.wait()

    async def _step(self) -> float:
        """Do what is due; returns seconds until more is."""
        async with self._core.database.read() as connection:
            undecided = await confirmations.undecided(connection)
        wake = _LONGEST_PAUSE
        for asked in undecided:
            now = self._core.wall()
            if asked.open and asked.deadline > now:
                wake = min(wake, asked.deadline - now)
                continue
            if asked.id in self._passing:
                continue
            ended = await self._pass_on(await self._with_default(asked) if asked.open else asked)
            if ended.confirmed is None:
                wake = min(wake, _AGAIN)
        return wake

    async def _with_default(self, asked: Confirmation) -> Confirmation:
        async def work(writer: Writer) -> Confirmation:
            found = await confirmations.find(writer.connection, asked.id)
            if found is None or not found.open:
                return found or asked
            return await _claim(writer, found, Decider.DEFAULT, confirmed=found.default)

        return await self._core.database.write(work)

    async def _pass_on(self, asked: Confirmation) -> Confirmation:
        """Give the agent the answer; returns the request as it is then."""
        if asked.confirmed is not None or asked.id in self._passing:
            return asked
        self._passing.add(asked.id)
        try:
            if asked.answer is None:
                return await self._look_at(asked)
            # No words: not all agents take them with an answer.
            await self._core.turns.answer(asked.target, asked.request, "allow" if asked.answer else "deny", "")
        except AgentdUnreachableError as error:
            log.warning("confirmation_not_passed_on", request=asked.id, agent=asked.target, reason=str(error))
            self._news.set()
            return asked
        except RefusedError:
            return await self._look_at(asked)
        finally:
            self._passing.discard(asked.id)
        return await self._end(asked, asked.decided_by or Decider.USER, confirmed=asked.answer)

    async def _look_at(self, asked: Confirmation) -> Confirmation:
        """Find out what became of a request that takes no answer."""
        shown = await self._core.turns.conversation(asked.target)
        if is_over(shown):
            # Whoever follows the agent says so, once it is certain; this is for one that nobody follows any more.
            late = self._core.wall() > asked.deadline + _FOLLOWED
            return await self._end(asked, Decider.NOBODY, confirmed=False) if late else asked
        assert shown is not None, "then it is over"
        asks = _requests(shown.get("requests"))
        again = next((each for each in asks if _is_same(asked, each)), None)
        unheard = shown.get("turn") is None or (shown.get("activity") == _WAITING and not asks)
        if again is not None and again.get("id") != asked.request:
            return await self._asked_again(asked, str(again.get("id")))
        if asked.gone or unheard or again is not None:
            # Whoever follows the agent learns whether the tool ran; or it will ask again, after agentd's restart.
            return asked

        async def work(writer: Writer) -> None:
            await confirmations.change(writer.connection, asked.id, answer=None, decided_by=None, gone=True)

        await self._core.database.write(work)
        return replace(asked, answer=None, decided_by=None, gone=True)

    async def _asked_again(self, asked: Confirmation, request: str) -> Confirmation:
        """Note by which id the agent asks since agentd was restarted; the answer is passed on to that next."""
        await self._core.database.write(
            lambda writer: confirmations.change(writer.connection, asked.id, request=request, gone=False)
        )
        self._news.set()
        return replace(asked, request=request, gone=False)

    async def _end(self, asked: Confirmation, by: Decider, *, confirmed: bool) -> Confirmation:
        async def work(writer: Writer) -> Confirmation:
            found = await confirmations.find(writer.connection, asked.id)
            if found is None or found.confirmed is not None:
                return found or asked
            return await finish(writer, found, by, self._core.wall(), confirmed=confirmed)

        return await self._core.database.write(work)


def is_over(shown: JsonObject | None) -> bool:
    """Whether an agent, as agentd shows it, asks for nothing any more: it does not run, or its turn is over.

    A new agentd knows of no turn at first, though there may be one.
    """
    return shown is None or (shown.get("turn") is None and shown.get("activity") not in _AT_WORK)


async def _claim(writer: Writer, asked: Confirmation, by: Decider, *, confirmed: bool) -> Confirmation:
    await confirmations.change(writer.connection, asked.id, answer=confirmed, decided_by=by.value)
    return replace(asked, answer=confirmed, decided_by=by)


def _requests(shown: Json) -> Sequence[JsonObject]:
    return [each for each in (shown if isinstance(shown, list) else []) if isinstance(each, dict)]


def _is_same(asked: Confirmation, shown: JsonObject) -> bool:
    """Whether what an agent asks for is what a confirmation is about."""
    tool = SoughtTool(asked.server_name, asked.tool_name, asked.timeout_ms, asked.default)
    named = Tools((tool,)).find_named(str(shown.get("name") or ""), str(shown.get("text") or ""))
    return named is not None and (shown.get("arguments") or {}) == asked.arguments
