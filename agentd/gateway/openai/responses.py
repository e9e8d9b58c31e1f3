"""Responses: made as runs, shown from the runs' events."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from http import HTTPStatus
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

import structlog

from agentd.gateway.engine.engine import Engine
from agentd.gateway.http.errors import ApiError
from agentd.gateway.model.caller import NOBODY, Caller
from agentd.gateway.model.errors import (
    GatewayError,
    InvalidTransitionError,
    NotFoundError,
    NotTheLastRunError,
)
from agentd.gateway.model.objects import Event, Run
from agentd.gateway.model.once import Once
from agentd.gateway.model.requests import NewMessage
from agentd.gateway.openai.conversations import Conversations
from agentd.gateway.openai.objects import Facts, JsonObject
from agentd.gateway.openai.placing import Place, Placing
from agentd.gateway.openai.refusal import missing
from agentd.gateway.openai.said import message_to_agent
from agentd.gateway.openai.stream import ResponseStream, RunEvent, replay
from agentd.gateway.openai.wanted import Wanted
from agentd.gateway.store import conversations as conversation_store
from agentd.gateway.store import events, runs
from agentd.gateway.store import responses as store
from agentd.gateway.store.database import Writer
from agentd.gateway.store.responses import StoredResponse

_T = TypeVar("_T")

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

PATIENCE: Final = 3.0
"""Seconds in which a client that lost its connection may repeat its request and still find its turn; OpenAI's own
client repeats after 0.5 s, then after 1."""

_LONG: Final = 3600.0
"""Seconds to wait for the end of a turn at a time."""


class Responses:
    """All responses.

    Parameters
    ----------
    engine
        Makes the turns.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.conversations = Conversations(engine.database, self._items_of)
        self._placing = Placing(engine, self.conversations, self._find)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._leaving: dict[str, asyncio.Task[None]] = {}
        """Of runs whose clients left, what will interrupt them."""
        self._attending: Counter[str] = Counter()
        """How many clients wait for each run."""
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Own what outlives a request while the context is open."""
        async with self._engine.database.read() as connection:
            left = await store.all_alone(connection)
        for response in left:
            self._start(self._close_when_over(response))
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _own(self, work: Coroutine[object, object, _T]) -> asyncio.Task[_T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _start(self, work: Coroutine[object, object, None]) -> None:
        self._own(work).add_done_callback(_report)

    # -- making them

    async def create(self, caller: Caller, wanted: Wanted, once: Once | None = None) -> StoredResponse:
        """Begin a response; a caller that is cancelled leaves, and what it began is interrupted.

        Raises
        ------
        ApiError
            If it cannot be had.
        GatewayError
            What `Engine.send_message` raises.
        """
        creating = self._own(self._create(caller, wanted, once))
        try:
            return await asyncio.shield(creating)
        except asyncio.CancelledError:
            self._start(self._leave_created(caller, creating))
            raise

    async def _leave_created(self, caller: Caller, creating: asyncio.Task[StoredResponse]) -> None:
        with suppress(ApiError, GatewayError):
            created = await creating
            if not created.background:
                await self._interrupt(caller, created)

    async def _create(self, caller: Caller, wanted: Wanted, once: Once | None) -> StoredResponse:
        if wanted.conversation is None:
            place = await self._placing.place(caller, wanted)
            try:
                return await self._create_at(caller, wanted, place, once)
            except (NotTheLastRunError, InvalidTransitionError):
                if place.follows is None:
                    raise
            return await self._create_at(caller, wanted, await self._placing.forked(caller, place.follows), once)
        lock = self._locks.setdefault(wanted.conversation, asyncio.Lock())
        async with lock:
            return await self._create_at(caller, wanted, await self._placing.place(caller, wanted), once)

    async def _create_at(self, caller: Caller, wanted: Wanted, place: Place, once: Once | None) -> StoredResponse:
        made: list[StoredResponse] = []

        async def also(writer: Writer, run: Run) -> None:
            new = _new(caller, wanted, place, run)
            await store.add(writer.connection, new)
            if wanted.conversation is not None:
                await conversation_store.set_told(writer.connection, place.told)
                await conversation_store.add_response(writer.connection, wanted.conversation, new.id)
                await conversation_store.go_on(writer.connection, wanted.conversation, place.session_id, place.model)
            made.append(new)

        text = message_to_agent(wanted.instructions, [*place.before, *wanted.items])
        message = NewMessage(text, expect_last_run=place.expect_last_run)
        try:
            await self._engine.sessions.send_message(caller, place.session_id, message, once, also)
        except BaseException:
            if place.fresh:
                await self._engine.sessions.close(caller, place.session_id)
            raise
        if made[-1].alone:
            self._start(self._close_when_over(made[-1]))
        return made[-1]

    async def _close_when_over(self, response: StoredResponse) -> None:
        """Let the agent go that nobody can talk to any more."""
        with suppress(NotFoundError):
            while (await self._engine.runs.wait(NOBODY, response.run_id, _LONG)).timed_out:
                pass
            await self._engine.sessions.close(NOBODY, response.session_id)
        await self._engine.database.write(lambda writer: store.set_closed(writer.connection, response.id))

    # -- finding and showing them

    async def find(self, caller: Caller, identity: str) -> StoredResponse:
        """Find a response.

        Raises
        ------
        ApiError
            If there is none for this caller.
        """
        found = await self._find(identity)
        if found is None or not caller.sees(found.owner):
            raise missing("Response", identity)
        return found

    async def _find(self, identity: str) -> StoredResponse | None:
        async with self._engine.database.read() as connection:
            found = await store.find(connection, identity)
        return found if found is not None and found.stored else None

    async def of_run(self, run_id: str) -> StoredResponse | None:
        """Find the response that a run gives."""
        async with self._engine.database.read() as connection:
            return await store.find(connection, response_id(run_id))

    async def repeated(self, request: str) -> StoredResponse | None:
        """Find the response to a request that nobody has had yet; it is not interrupted any more."""
        async with self._engine.database.read() as connection:
            found = await store.of_unanswered(connection, request)
        if found is not None and (leaving := self._leaving.pop(found.run_id, None)) is not None:
            leaving.cancel()
        return found

    async def show(self, response: StoredResponse) -> ResponseStream:
        """Reduce what happened in a response so far."""
        return replay(facts_of(response), (await self._happened(response))[0])

    async def follow(
        self, caller: Caller, response: StoredResponse
    ) -> AsyncIterator[tuple[ResponseStream, list[JsonObject]]]:
        """Give the events of a response, from the first to the last, as they come; with what they make it."""
        stream = ResponseStream(facts_of(response))
        yield stream, stream.begin()
        happened, cursor = await self._happened(response)
        for each in happened:
            if told := stream.take(each):
                yield stream, told
        if stream.over():
            return
        coming = self._engine.happenings.follow(caller, response.session_id, cursor)
        try:
            async for event in coming:
                if event.run_id == response.run_id and (told := stream.take(run_event(event))):
                    yield stream, told
                    if stream.over():
                        return
        finally:
            if isinstance(coming, AsyncGenerator):
                await coming.aclose()

    async def _happened(self, response: StoredResponse) -> tuple[list[RunEvent], int]:
        """Read the events of a response's run, and the cursor after which more may come."""
        async with self._engine.database.read() as connection:
            # First the run: if it is over by then, all its events are there.
            run = await runs.find(connection, response.run_id)
            found = await events.of_run(connection, response.run_id)
        happened = [run_event(event) for event in found]
        if run is not None and run.status.terminal and not any(event.event_type.ends for event in found):
            # Its events are older than the retention.
            happened.append(_end_of(run.run))
        return happened, found[-1].cursor if found else 0

    async def _items_of(self, identity: str) -> list[JsonObject]:
        async with self._engine.database.read() as connection:
            found = await store.find(connection, identity)
        if found is None:
            return []
        stream = await self.show(found)
        output = stream.response["output"] if stream.over() else []
        assert isinstance(output, list)
        return [*found.input, *output]

    # -- ending them

    async def cancel(self, caller: Caller, response: StoredResponse) -> None:
        """Cancel a response; canceling it again changes nothing.

        Raises
        ------
        ApiError
            If it has ended in another way.
        """
        try:
            await self._engine.runs.cancel(caller, response.run_id, "the response was canceled")
        except InvalidTransitionError:
            message = f"Cannot cancel response '{response.id}': it has ended."
            raise ApiError(HTTPStatus.BAD_REQUEST, "response_ended", message) from None

    async def remove(self, caller: Caller, response: StoredResponse) -> None:
        """Have nobody find a response any more; one that is under way is canceled."""
        await self._interrupt(caller, response)
        await self._engine.database.write(lambda writer: store.hide(writer.connection, response.id))

    @contextmanager
    def attending(self, response: StoredResponse) -> Iterator[None]:
        """Count a client that waits for a response while the context is open."""
        self._attending[response.run_id] += 1
        try:
            yield
        finally:
            self._attending[response.run_id] -= 1
            if not self._attending[response.run_id]:
                del self._attending[response.run_id]

    def leave(self, caller: Caller, response: StoredResponse, patience: float = 0.0) -> None:
        """Interrupt the turn of a client that left, after the time in which it may come back, if no other waits."""

        async def interrupt() -> None:
            await asyncio.sleep(patience)
            self._leaving.pop(response.run_id, None)
            if response.run_id not in self._attending:
                await self._interrupt(caller, response)

        leaving = self._leaving[response.run_id] = self._own(interrupt())
        leaving.add_done_callback(_report)

    async def _interrupt(self, caller: Caller, response: StoredResponse) -> None:
        with suppress(InvalidTransitionError, NotFoundError):
            await self._engine.runs.cancel(caller, response.run_id, "the client left")

    async def answered(self, response: StoredResponse) -> None:
        """Note that a client has the answer."""
        if response.unanswered is not None:
            await self._engine.database.write(lambda writer: store.set_answered(writer.connection, response.id))


def _report(task: asyncio.Task[None]) -> None:
    """Log how what outlived its request failed."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("gateway_response_task_failed", error=str(error), exc_info=error)


def response_id(run_id: str) -> str:
    """Name the response that a run gives: by the run's own characters."""
    return f"resp_{run_id.partition('_')[2]}"


def facts_of(response: StoredResponse) -> Facts:
    """Give what never changes of a response."""
    return Facts(
        response.id, int(response.created_at), response.model, response.harness, response.background, response.asked
    )


def run_event(event: Event) -> RunEvent:
    """Give an event of a run as a response reads it."""
    return RunEvent(event.id, event.event_type.value, event.data, event.created_at)


def _new(caller: Caller, wanted: Wanted, place: Place, run: Run) -> StoredResponse:
    return StoredResponse(
        id=response_id(run.id),
        run_id=run.id,
        session_id=place.session_id,
        owner=caller.user,
        created_at=run.created_at,
        model=place.model,
        harness=place.harness,
        background=wanted.background,
        stored=wanted.stored,
        alone=place.fresh and wanted.alone,
        conversation_id=wanted.conversation,
        asked=wanted.asked,
        input=wanted.items,
        unanswered=wanted.request,
    )


def _end_of(run: Run) -> RunEvent:
    error = None if run.error is None else {"code": run.error.code, "message": run.error.message}
    data = {"result_text": run.result_text, "error": error, "usage": run.usage}
    return RunEvent(f"evt_{run.id.partition('_')[2]}", f"run.{run.status.value}", data, run.ended_at or run.created_at)
