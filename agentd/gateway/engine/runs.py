"""Runs: what clients do with them."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

from agentd.api.client.socket import RefusedError
from agentd.gateway.engine import steps
from agentd.gateway.engine.core import Core
from agentd.gateway.engine.steps import End
from agentd.gateway.engine.texts import check_answer
from agentd.gateway.model.caller import Caller
from agentd.gateway.model.errors import AgentNotReadyError, InvalidRequestError, InvalidTransitionError, NotFoundError
from agentd.gateway.model.objects import Event, Run, RunError
from agentd.gateway.model.requests import RunQuery
from agentd.gateway.model.results import Canceled, RunPage, Waited
from agentd.gateway.model.states import RunStatus
from agentd.gateway.store import requests, runs, sessions
from agentd.gateway.store.database import Writer
from agentd.gateway.store.requests import Answer, Request
from agentd.gateway.store.runs import StoredRun

_DECISIONS: Final = ("allow", "deny", "allow_always")

_ERRORS: Final = {RunStatus.FAILED: "failed", RunStatus.TIMED_OUT: "timeout"}


class Runs:
    """What clients do with runs."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def get(self, caller: Caller, run_id: str) -> Run:
        """Show a run."""
        async with self._core.database.read() as connection:
            return (await steps.find_run(connection, caller, run_id)).run

    async def list(self, caller: Caller, query: RunQuery) -> RunPage:
        """List runs, the newest first."""
        async with self._core.database.read() as connection:
            if query.session_id is not None:
                await steps.find_session(connection, caller, query.session_id)
            found = await runs.page(connection, caller, query)
        shown = found[: query.limit]
        return RunPage(tuple(shown), shown[-1].id if len(found) > query.limit else None)

    async def wait(self, caller: Caller, run_id: str, timeout_s: float) -> Waited:
        """Wait until a run is over, or for so many seconds."""
        run = await self.get(caller, run_id)

        def ends(event: Event, _owner: str | None) -> bool:
            return event.run_id == run_id and event.event_type.ends

        # What is committed from here on is heard of.
        with self._core.feed.following(run.session_id, ends) as follower:
            run = await self.get(caller, run_id)
            if not run.status.terminal:
                try:
                    async with asyncio.timeout(timeout_s):
                        await follower.news.wait()
                except TimeoutError:
                    pass
                run = await self.get(caller, run_id)
        return Waited(run, timed_out=not run.status.terminal)

    async def transition(self, caller: Caller, run_id: str, to: RunStatus, reason: str | None = None) -> Run:
        """Put a run into another state; one that is ended so is interrupted, and ``canceled`` is as `cancel`.

        Raises
        ------
        InvalidTransitionError
            If that may not follow.
        """
        if to is RunStatus.CANCELED:
            return (await self._cancel(caller, run_id, reason, again=False)).run

        async def work(writer: Writer) -> Run:
            stored = await steps.find_run(writer.connection, caller, run_id)
            session = await sessions.find(writer.connection, stored.run.session_id)
            assert session is not None, "sessions are removed with their runs"
            if stored.status is RunStatus.QUEUED and to is RunStatus.RUNNING:
                raise InvalidTransitionError(f"the run {run_id} is started when it is its turn")
            now = self._core.wall()
            if to.terminal:
                error = None if to is RunStatus.SUCCEEDED else RunError(_ERRORS[to], reason or "set from outside")
                return (await steps.end_run(writer, session, stored, End(to, error=error), now)).run
            data = {} if reason is None else {"text": reason}
            return (await steps.change_status(writer, session, stored, to, data, now)).run

        return await self._core.database.write(work)

    async def cancel(self, caller: Caller, run_id: str, reason: str | None = None) -> Canceled:
        """Cancel a run and, from the children of its runs down, all that it spawned. Canceling again changes nothing.

        It is ``canceled`` when this returns; its agent is interrupted in the background, and free after that.

        Raises
        ------
        InvalidTransitionError
            If it has ended in another way.
        """
        return await self._cancel(caller, run_id, reason, again=True)

    async def _cancel(self, caller: Caller, run_id: str, reason: str | None, *, again: bool) -> Canceled:
        async def work(writer: Writer) -> Canceled:
            stored = await steps.find_run(writer.connection, caller, run_id)
            if stored.status is not RunStatus.CANCELED or not again:
                steps.check_transition(stored, RunStatus.CANCELED)
            canceled = await steps.cancel_tree(writer, [stored], reason, self._core.wall())
            root = canceled.pop(run_id, stored)
            return Canceled(root.run, tuple(canceled))

        return await self._core.database.write(work)

    async def answer(self, caller: Caller, run_id: str, request_id: str, decision: str, text: str | None = None) -> Run:
        """Answer what the agent asked for: ``allow``, ``deny`` or ``allow_always``.

        ``allow_always`` allows the very same thing from then on, in this session. To a question, ``allow`` answers with
        the text.

        Raises
        ------
        NotFoundError
            If the run has no such request.
        InvalidTransitionError
            If it is decided.
        AgentdUnreachableError
            If agentd does not answer.
        """
        if decision not in _DECISIONS:
            raise InvalidRequestError("decision", f"found {decision}, expected {', '.join(_DECISIONS)}")
        check_answer("text", text or "")
        stored, request = await self._request(caller, run_id, request_id)
        answer = _answer(request, decision, text or "")
        try:
            await self._core.turns.answer(stored.target, request_id, answer.decision, answer.text)
        except RefusedError as error:
            if error.status == HTTPStatus.BAD_REQUEST:
                raise InvalidRequestError("decision", str(error)) from error
            if error.status in (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND):
                raise InvalidTransitionError(f"the request {request_id} cannot be answered: {error}") from error
            raise AgentNotReadyError(str(error)) from error
        return await self._answered(stored, request, decision)

    async def _request(self, caller: Caller, run_id: str, request_id: str) -> tuple[StoredRun, Request]:
        async with self._core.database.read() as connection:
            stored = await steps.find_run(connection, caller, run_id)
            request = await requests.find(connection, run_id, request_id)
        if request is None:
            raise NotFoundError(f"the run {run_id} has no request {request_id}")
        if request.decision is not None:
            raise InvalidTransitionError(f"the request {request_id} is decided: {request.decision}")
        return stored, request

    async def _answered(self, stored: StoredRun, request: Request, decision: str) -> Run:
        async def work(writer: Writer) -> Run:
            if decision == "allow_always":
                await requests.allow_always(writer.connection, stored.run.session_id, request.name, request.text)
            await resolve(writer, stored.id, request.id, decision, self._core.wall())
            found = await runs.find(writer.connection, stored.id)
            return stored.run if found is None else found.run

        return await self._core.database.write(work)


async def resolve(writer: Writer, run_id: str, request_id: str, decision: str, now: float) -> None:
    """Note how a request was decided; with the last one the run is running again."""
    if not await requests.decide(writer.connection, run_id, request_id, decision):
        return
    stored = await runs.find(writer.connection, run_id)
    if stored is None or stored.status not in (RunStatus.AWAITING_INPUT, RunStatus.AWAITING_PARENT):
        return
    if await requests.waiting(writer.connection, run_id):
        return
    session = await sessions.find(writer.connection, stored.run.session_id)
    assert session is not None, "sessions are removed with their runs"
    await steps.change_status(writer, session, stored, RunStatus.RUNNING, {}, now)


def _answer(request: Request, decision: str, text: str) -> Answer:
    if decision == "deny":
        return Answer("deny", text)
    if request.kind != "question":
        return Answer("allow", text)
    if not text:
        raise InvalidRequestError("text", "missing, expected the answer to the question")
    return Answer("answer", text)
