"""Hands messages over to the runs that take them: one at a time, and never one that may have arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import structlog

from agentd.turns.adapter import NotNowError, RefusedError, TurnsError
from agentd.turns.messages import message as messages
from agentd.turns.messages.changes import Changes
from agentd.turns.messages.expectation import RECALL_LIMIT, expect
from agentd.turns.messages.message import UNCERTAIN
from agentd.turns.messages.queue import Queue
from agentd.turns.messages.receiver import Receiver
from agentd.turns.messages.store import StoreError

log = structlog.get_logger(__name__)


class Handover:
    """Delivers to one run what is the next in its queue.

    Parameters
    ----------
    holds
        Why no turn of an agent may begin, if none may.
    look
        Delivers the next message of a queue, if it is the time.
    """

    def __init__(self, changes: Changes, holds: Callable[[str], str | None], look: Callable[[Queue], None]) -> None:
        self._changes = changes
        self._holds = holds
        self._look = look

    def begin(self, queue: Queue, receiver: Receiver) -> None:
        """Hand over the first message that waits."""
        self._do(queue, self._deliver(queue, receiver))

    def recall(self, queue: Queue, receiver: Receiver) -> None:
        """Take up what a former daemon handed over."""
        self._do(queue, self._recall(queue, receiver))

    async def _recall(self, queue: Queue, receiver: Receiver) -> None:
        current = queue.current
        assert current is not None
        await receiver.recall(current.text, current.turn, current.begun)
        expect(queue, self._unheard_of(queue), RECALL_LIMIT)

    def _do(self, queue: Queue, work: Coroutine[object, object, None]) -> None:
        task = queue.delivering = asyncio.get_running_loop().create_task(work, name=f"message to {queue.agent}")
        task.add_done_callback(lambda done: self._delivered(queue, done))

    async def _deliver(self, queue: Queue, receiver: Receiver) -> None:
        changes = self._changes
        reason = self._holds(queue.agent) or await receiver.hindrance(returned=messages.returned(queue.current))
        if not queue.waiting or queue.receiver is not receiver or not receiver.listens():
            return
        if reason is not None:
            changes.hold_back(queue, reason)
            return
        message = queue.current = messages.begin(queue.waiting.pop(0), receiver.run_id, changes.wall())
        try:
            await changes.keeper.put(message)
        except StoreError as error:
            log.warning("message_not_delivered", agent=queue.agent, message=message.id, reason=str(error))
            changes.put_back(queue, str(error))
            return
        changes.tell(message)
        if (held := self._holds(queue.agent)) is not None or not receiver.listens():
            changes.put_back(queue, held or "the agent has begun something else")
            return
        try:
            await receiver.deliver(message.text)
        except NotNowError as error:
            changes.put_back(queue, str(error))
        except RefusedError as error:
            refusal = str(error)
            changes.settle(queue, lambda now: messages.failed(now, refusal, changes.wall()))
        except TurnsError as error:
            told = f"{error}: {UNCERTAIN}"
            changes.settle(queue, lambda now: messages.failed(now, told, changes.wall()))
        else:
            changes.settle(queue, lambda now: messages.handed_over(now, receiver.witnesses.delivered, changes.wall()))
            expect(queue, self._unheard_of(queue))

    def _delivered(self, queue: Queue, task: asyncio.Task[None]) -> None:
        queue.delivering = None
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            log.error("message_not_delivered", agent=queue.agent, exc_info=error)
            now = self._changes.wall()
            self._changes.settle(queue, lambda known: messages.failed(known, f"agentd failed: {UNCERTAIN}", now))
        if queue.receiver is None and queue.busy:
            self._changes.lose(queue, "the agent ended")
        self._look(queue)

    def _unheard_of(self, queue: Queue) -> Callable[[str], None]:
        def lost(reason: str) -> None:
            self._changes.lose(queue, reason)
            self._look(queue)

        return lost
