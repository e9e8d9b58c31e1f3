"""One run at work: its message is given to agentd, its turn followed, what happens stored, and its end.

All that counts is in the database and at agentd. A driver that is lost at any point is followed by another one, which
finds the same: agentd knows a message by its id, and takes none twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Final

import structlog

from agentd.api.client.socket import RefusedError
from agentd.gateway.engine.agents import Agents
from agentd.gateway.engine.asked_again import give_up_former
from agentd.gateway.engine.core import Core
from agentd.gateway.engine.ends import Ends
from agentd.gateway.engine.forks import forks, point_of
from agentd.gateway.engine.reader import Reader
from agentd.gateway.engine.runs import resolve
from agentd.gateway.engine.steps import End
from agentd.gateway.engine.stopping import Stopping
from agentd.gateway.engine.taking import Taken, take, time_out
from agentd.gateway.model import follow
from agentd.gateway.model.errors import AgentdUnreachableError, AgentNotReadyError
from agentd.gateway.model.follow import Asked, Began, Change, Line, NotDelivered, Progress, TurnEnded
from agentd.gateway.model.objects import RunError
from agentd.gateway.model.outcome import NOT_READY, TIMEOUT
from agentd.gateway.model.states import RunStatus
from agentd.gateway.store import requests, runs, sessions
from agentd.gateway.store.database import Writer
from agentd.gateway.store.requests import Answer, Request
from agentd.gateway.store.runs import Stage, StoredRun
from agentd.gateway.store.sessions import StoredSession

log = structlog.get_logger(__name__)

_AGAIN: Final = 0.2
"""Seconds after which agentd is asked again while it is not there, or does not know of the agent yet."""

_LONGEST_AGAIN: Final = 2.0

_LOOK: Final = 1.0
"""Seconds between looks at an agent that has not taken the message."""

_DECLARE_LIMIT: Final = 10.0
"""Seconds that agentd may take to see a drop-in; it takes 0.3."""

_UNDECLARED_AGAIN: Final = 0.05

_LATE: Final = {"claude-code": 0.3}
"""Seconds after the end of a turn for which a harness may go on to tell what it used."""


class Driver:
    """Follows one run.

    Parameters
    ----------
    stored
        The run; it is at work.
    progress
        How far its output has come.
    """

    def __init__(
        self, core: Core, agents: Agents, stored: StoredRun, session: StoredSession, progress: Progress
    ) -> None:
        self._core = core
        self._agents = agents
        self._stored = stored
        self._session = session
        self._ends = Ends(core)
        self._stopping = Stopping(core, agents)
        self._progress = progress.next_turn() if stored.turn_id is None else progress
        self._news = asyncio.Event()
        self._reader = Reader(core.turns, stored.target, session.stream_after or 0, self._news)
        self._changed = False
        """Whether the run may have been changed from outside."""
        self._answers = True
        """Whether there may be answers to pass on."""
        self._posted: str | None = None
        """The message that agentd is known to have."""
        self._not_before = 0.0
        """When agentd is asked again, by the loop's clock."""
        self._again = _AGAIN
        self._undeclared_since: float | None = None
        self._look_at = 0.0
        self._since = math.nan, 0.0
        """When the run began to be worked at, by the wall clock and by the loop's."""

    def nudge(self) -> None:
        """Say that the run was changed from outside."""
        self._changed = True
        self._news.set()

    async def drive(self) -> None:
        """Follow the run until its agent is free."""
        reading = asyncio.create_task(self._reader.run(), name=f"stream of {self._stored.target}")
        try:
            while self._stored.stage is Stage.WORKING:
                self._news.clear()
                wake = await self._step()
                if self._stored.stage is Stage.WORKING:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout_at(wake):
                            await self._news.wait()
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    async def _step(self) -> float | None:
        """Do what there is to do; returns when there is more, by the loop's clock."""
        if self._changed:
            await self._reload()
        try:
            lines, lost = self._reader.take()
            if lost:
                self._posted = None
            await self._take(lines)
            if self._stored.stage is not Stage.WORKING:
                return None
            return await (self._stop() if self._stored.status.terminal else self._go_on())
        except AgentdUnreachableError as error:
            if self._again == _AGAIN:
                log.warning("agentd_unreachable", run=self._stored.id, reason=str(error))
            self._posted = None
            return self._later()

    def _later(self) -> float:
        self._not_before = asyncio.get_running_loop().time() + self._again
        self._again = min(self._again * 2, _LONGEST_AGAIN)
        return self._not_before

    async def _reload(self) -> None:
        self._changed, self._answers = False, True
        async with self._core.database.read() as connection:
            stored = await runs.find(connection, self._stored.id)
            session = await sessions.find(connection, self._session.id)
        assert stored is not None, "what is at work is not removed"
        assert session is not None, "nor is its session"
        self._stored, self._session = stored, session

    # -- while the run goes on

    async def _go_on(self) -> float | None:
        now = asyncio.get_running_loop().time()
        wakes: list[float | None] = [self._deadline()]
        if wakes[0] is not None and now >= wakes[0]:
            return await self._time_out()
        if self._posted != self._stored.delivery_id:
            wakes.append(self._not_before if now < self._not_before else await self._deliver())
        if self._stored.stage is Stage.WORKING and self._posted is not None:
            if self._answers:
                await self._pass_on_answers()
            if self._stored.turn_id is None:
                wakes.append(await self._look_at_agent())
        return min((wake for wake in wakes if wake is not None), default=None)

    def _deadline(self) -> float | None:
        """When the turn has taken too long, by the loop's clock: the wall clock may be set meanwhile."""
        timeout, since = self._stored.run.timeout_s, self._stored.working_since
        if timeout is None or since is None:
            return None
        if since != self._since[0]:
            passed = max(0.0, self._core.wall() - since)
            self._since = since, asyncio.get_running_loop().time() - passed
        return self._since[1] + timeout

    async def _time_out(self) -> float | None:
        error = RunError(TIMEOUT, f"the turn took longer than {self._stored.run.timeout_s:g} s")
        end = End(RunStatus.TIMED_OUT, error=error)
        stored = await self._core.database.write(
            lambda writer: time_out(writer, self._stored.id, end, self._core.wall())
        )
        self._stored = stored or self._stored
        return await self._stop()

    async def _deliver(self) -> float | None:
        """Give agentd the message, or ask what became of it; returns when to try again."""
        message_id = self._stored.delivery_id
        assert message_id is not None, "a run at work has one"
        try:
            view = await self._given(message_id)
        except AgentNotReadyError as error:
            await self._fail(str(error))
            return None
        except RefusedError as error:
            return await self._refused(error)
        self._posted, self._again, self._undeclared_since = message_id, _AGAIN, None
        self._reader.hurry()
        await self._take([view])
        return None

    async def _given(self, message_id: str) -> Line:
        turns, target = self._core.turns, self._stored.target
        if self._stored.turn_id is None:
            await self._agents.ensure(self._session)
            return await turns.deliver(target, message_id, self._stored.delivery_text or "")
        # The agent has had it, and must not get it again, whatever agentd remembers.
        view = await turns.message(target, message_id)
        lost: Line = {"kind": "message", "message": message_id, "status": "ended", "outcome": "lost"}
        return lost if view is None else view

    async def _refused(self, error: RefusedError) -> float | None:
        now = asyncio.get_running_loop().time()
        if error.status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
            return self._later()
        since = self._undeclared_since = self._undeclared_since or now
        if error.status != HTTPStatus.NOT_FOUND or not self._session.own:
            await self._fail(str(error))
        elif now - since > _DECLARE_LIMIT:
            target = self._stored.target
            await self._fail(f"agentd has not taken up the drop-in of {target}; agentctl validate may say why")
        else:
            self._not_before = now + _UNDECLARED_AGAIN
            return self._not_before
        return None

    async def _fail(self, reason: str) -> None:
        await self._store([], End(RunStatus.FAILED, error=RunError(NOT_READY, reason)))

    async def _look_at_agent(self) -> float:
        """Fail the run if its agent ended before it took the message, or cannot be started."""
        now = asyncio.get_running_loop().time()
        if now >= self._look_at:
            self._look_at = now + _LOOK
            end = await self._ends.of_agent(self._stored)
            if end is not None and await self._withdrawn():
                await self._store([], end)
        return self._look_at

    async def _withdrawn(self) -> bool:
        assert self._posted is not None
        try:
            await self._core.turns.withdraw(self._stored.target, self._posted)
        except RefusedError as error:
            # Else it is being delivered after all.
            return error.status == HTTPStatus.NOT_FOUND
        return True

    async def _pass_on_answers(self) -> None:
        """Give the agent the answers that its parent, or an earlier allowance, gave to what it asks for."""
        self._answers = False
        async with self._core.database.read() as connection:
            waiting = await requests.waiting(connection, self._stored.id)
        for request in waiting:
            if request.answer is not None:
                await self._answer(request, request.answer)

    async def _answer(self, request: Request, answer: Answer) -> None:
        decision = answer.decision
        try:
            await self._core.turns.answer(self._stored.target, request.id, decision, answer.text)
        except RefusedError as error:
            log.info("answer_not_taken", run=self._stored.id, request=request.id, reason=str(error))
            decision = "expired"
        except AgentdUnreachableError:
            self._answers = True
            raise
        await self._core.database.write(
            lambda writer: resolve(writer, self._stored.id, request.id, decision, self._core.wall())
        )
        self._changed = True
        self._news.set()

    # -- once it is over, and its agent may still be at it

    async def _stop(self) -> float | None:
        view, wake = await self._stopping.step(self._stored, self._session)
        if view is not None:
            await self._take([view])
        return wake

    # -- what agentd tells

    async def _take(self, lines: list[Line]) -> None:
        changes = self._changes(lines)
        ended = _end_in(changes)
        patience = _LATE.get(self._session.session.harness)
        if patience is not None and isinstance(ended, TurnEnded) and not self._stored.status.terminal:
            late = self._changes(await self._late_lines(patience))
            ended, changes = _end_in(late) or ended, [*changes, *late]
        told = [change for change in changes if not isinstance(change, TurnEnded | NotDelivered)]
        if told:
            if any(isinstance(change, Asked) for change in told):
                told = [*await give_up_former(self._core, self._stored, told), *told]
            await self._store(told, None)
        if ended is not None:
            if self._stored.fork_point is None and forks(self._session):
                await self._note_conversation()
            over = self._stored.status.terminal
            await self._store([], End(RunStatus.CANCELED) if over else await self._ends.of_turn(self._stored, ended))

    def _changes(self, lines: list[Line]) -> list[Change]:
        changes: list[Change] = []
        for line in lines if self._stored.delivery_id is not None else ():
            self._progress, more = follow.take(self._progress, line, self._stored.delivery_id or "")
            changes += more
        return changes

    async def _late_lines(self, patience: float) -> list[Line]:
        """Wait for what a harness tells after the end of a turn."""
        lines: list[Line] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while not any(line.get("status") == "ended" for line in lines):
                    self._news.clear()
                    await self._news.wait()
                    lines += self._reader.take()[0]
        return lines

    async def _store(self, changes: Sequence[Change], end: End | None) -> None:
        taken = Taken(changes, self._reader.after, self._stored.delivery_id, end)
        run_id, now = self._stored.id, self._core.wall()
        stored = await self._core.database.write(lambda writer: take(writer, run_id, taken, now), lasting=False)
        assert stored is not None, "what is at work is not removed"
        if stored.delivery_id != self._stored.delivery_id:
            self._progress = self._progress.next_turn()
        self._stored = stored
        self._answers = self._answers or any(isinstance(change, Asked) for change in changes)
        if any(isinstance(change, Began) for change in changes):
            await self._note_conversation()

    async def _note_conversation(self) -> None:
        """Keep the harness's own id of the conversation, which a new one has once its first turn began."""
        agent = await self._core.agentd.agent(self._stored.target)
        thread = None if agent is None else agent.get("conversation")
        if not isinstance(thread, str):
            return
        session_id, run_id, point = self._session.id, self._stored.id, point_of(self._session, self._stored, thread)

        async def note(writer: Writer) -> None:
            await sessions.change(writer.connection, session_id, provider_thread_id=thread)
            await runs.change(writer.connection, run_id, fork_point=point)

        if thread != self._session.session.provider_thread_id or point != self._stored.fork_point:
            await self._core.database.write(note, lasting=False)
            self._stored = replace(self._stored, fork_point=point)


def _end_in(changes: list[Change]) -> TurnEnded | NotDelivered | None:
    return next((each for each in reversed(changes) if isinstance(each, TurnEnded | NotDelivered)), None)
