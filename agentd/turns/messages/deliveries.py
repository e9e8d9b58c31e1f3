"""The queues of messages to agents: one a conversation, and one message at a time.

A message is handed over while it is the user's move, and never again once it may have arrived: its status is on disk
before. The next one waits for the end of its turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from agentd.turns.messages import message as messages
from agentd.turns.messages.changes import Changes
from agentd.turns.messages.handover import Handover
from agentd.turns.messages.keeper import Keeper
from agentd.turns.messages.message import Message, Status
from agentd.turns.messages.queue import ConflictError, NoSuchMessageError, Queue, QueueFullError
from agentd.turns.messages.receiver import Receiver
from agentd.turns.messages.store import Store, StoreError, Summary
from agentd.turns.whole import Whole

log = structlog.get_logger(__name__)

_SETTLE_LIMIT: Final = 5.0
"""Seconds for a call that hands over a message to end after the program that it was for."""

_KEEP_LIMIT: Final = 3.0
"""Seconds for a change to be written; SQLite waits 2 for somebody else who has the file."""


class Deliveries:
    """All queues.

    Parameters
    ----------
    store
        Keeps the messages.
    wall
        Seconds since the epoch.
    tell
        Takes each change of a message.
    takes
        Whether an agent of that name takes messages: as a sender, it is told by one what was not delivered.
    holds
        Why no turn of an agent may begin, if none may.
    """

    def __init__(
        self,
        store: Store,
        wall: Callable[[], float],
        tell: Callable[[Message], None],
        takes: Callable[[str], bool],
        holds: Callable[[str], str | None] = lambda _agent: None,
    ) -> None:
        self._keeper = Keeper(store)
        self._wall = wall
        self._tell = tell
        self._takes = takes
        self._queues: dict[str, Queue] = {}
        self._changes = Changes(self._keeper, wall, tell, self._queue_of_sender, self._look)
        self._handover = Handover(self._changes, holds, self._look)
        self._declared: frozenset[str] = frozenset()
        self._all_known = False
        self._opened = asyncio.Event()
        self._whole = Whole()

    # -- the beginning and the end

    async def open(self) -> None:
        """Take up what a former daemon left."""
        try:
            found = await self._keeper.live()
        except StoreError as error:
            log.error("messages_not_read", reason=str(error))
            found = []
        for message in found:
            queue = self._queue(message.agent)
            if message.status is Status.QUEUED:
                queue.waiting.append(message)
            elif queue.current is None:
                queue.current = message
            else:
                self._changes.changed(messages.lost(message, "another message was under way", self._wall()))
        self._opened.set()
        for queue in list(self._queues.values()):
            self._begin(queue)
        if self._declared:
            self.declared(self._declared, all_known=self._all_known)

    async def close(self) -> None:
        """Deliver nothing any more; what is under way is settled by a later daemon."""
        for queue in self._queues.values():
            if queue.again is not None:
                queue.again.cancel()
            if queue.delivering is not None:
                queue.delivering.cancel()
        tasks = [queue.delivering for queue in self._queues.values() if queue.delivering is not None]
        if tasks:
            await asyncio.wait(tasks)
        await self._whole.settled()
        await self._keeper.close()

    # -- those who send

    async def accept(
        self, agent: str, message_id: str, text: str, expires_s: float | None, sender: str | None = None
    ) -> Message:
        """Take a message, or show the one there is of that id; it is taken though its sender leaves meanwhile.

        Raises
        ------
        ConflictError
            If there is one with another text.
        QueueFullError
            If too many wait.
        StoreError
            If it cannot be kept.
        """
        await self._opened.wait()
        return await self._whole.do(self._accept(agent, message_id, text, expires_s, sender))

    async def _accept(
        self, agent: str, message_id: str, text: str, expires_s: float | None, sender: str | None
    ) -> Message:
        queue = self._queue(agent)
        async with queue.accepting:
            known = await self._find(agent, message_id)
            if known is not None:
                if known.text != text:
                    raise ConflictError(f"the message {message_id} of {agent} has another text")
                return known
            if queue.full:
                raise QueueFullError(
                    f"{len(queue.waiting)} messages to {agent} wait already; send it again once some were taken"
                )
            now = self._wall()
            expires = None if expires_s is None else now + expires_s
            message = Message(agent, message_id, text, now, expires, sender, changed=now)
            await self._keeper.put(message)
            queue.waiting.append(message)
        self._tell(message)
        self._look(queue)
        return message

    async def find(self, agent: str, message_id: str) -> Message:
        """A message by its id.

        Raises
        ------
        NoSuchMessageError
            If there is none.
        StoreError
            If that cannot be looked up.
        """
        await self._opened.wait()
        found = await self._find(agent, message_id)
        if found is None:
            raise NoSuchMessageError(f"there is no message {message_id} to {agent}")
        return found

    async def newest(self, agent: str | None, most: int, *, undelivered: bool = False) -> list[Summary]:
        """The newest messages, the newest first; raises `StoreError` if they cannot be read.

        Parameters
        ----------
        agent
            To whom; ``None`` is to all.
        undelivered
            Only those that were not delivered.
        """
        await self._opened.wait()
        return await self._keeper.newest(agent, most, undelivered=undelivered)

    async def withdraw(self, agent: str, message_id: str) -> Message:
        """Take back a message that waits; no later daemon delivers it, either.

        Raises
        ------
        ConflictError
            If it does not wait any more.
        StoreError
            If that cannot be looked up, or kept: it waits as before.
        NoSuchMessageError
            If there is none.
        """
        await self._opened.wait()
        return await self._whole.do(self._withdraw(agent, message_id))

    async def _withdraw(self, agent: str, message_id: str) -> Message:
        message = await self.find(agent, message_id)
        waiting = self._queue(agent).waiting
        place = next((place for place, each in enumerate(waiting) if each.id == message_id), None)
        if place is None:
            if message.status is Status.WITHDRAWN:
                return message
            raise ConflictError(f"the message {message_id} to {agent} is {message.status}, and cannot be withdrawn")
        waits = waiting.pop(place)
        taken = messages.withdrawn(waits, self._wall())
        try:
            await self._keeper.put(taken)
        except StoreError:
            queue = self._queue(agent)
            queue.waiting.insert(place, waits)
            self._look(queue)
            raise
        self._tell(taken)
        return taken

    async def _find(self, agent: str, message_id: str) -> Message | None:
        queue = self._queues.get(agent.lower())
        if queue is not None:
            found = queue.live(message_id)
            if found is not None:
                return found
        return await self._keeper.find(agent, message_id)

    # -- the agents' side

    def declared(self, agents: frozenset[str], *, all_known: bool) -> None:
        """Say which agents are declared or run, in lower case.

        Parameters
        ----------
        all_known
            Whether there are no others.
        """
        self._declared, self._all_known = agents, all_known
        if not self._opened.is_set():
            return
        for name, queue in list(self._queues.items()):
            if all_known and name not in agents:
                self._changes.give_up(queue)
            if queue.receiver is None and queue.busy:
                # A former daemon's run that this one did not find.
                self._changes.lose(queue, "the agent ended while agentd was away")
            if queue.empty and name not in agents:
                del self._queues[name]

    def began(self, agent: str, receiver: Receiver) -> None:
        """A run of an agent is heard."""
        queue = self._queue(agent)
        queue.receiver = receiver
        if self._opened.is_set():
            self._begin(queue)

    def _begin(self, queue: Queue) -> None:
        receiver, current = queue.receiver, queue.current
        if receiver is None:
            return
        if queue.busy and current is not None and current.run != receiver.run_id:
            self._changes.lose(queue, "the agent ended")
        if queue.busy and queue.delivering is None:
            self._handover.recall(queue, receiver)
        self._look(queue)

    async def settle(self, agent: str, receiver: Receiver) -> None:
        """A run's program has ended: have its record say whether it was handed the message that is under way."""
        queue = self._queues.get(agent.lower())
        if queue is None or queue.receiver is not receiver:
            return
        if queue.delivering is not None:
            await asyncio.wait([queue.delivering], timeout=_SETTLE_LIMIT)
        current = queue.current
        if current is None or current.status not in (Status.DELIVERING, Status.DELIVERED):
            return
        arrived = await receiver.settle(current.text, current.begun)
        if arrived is False and queue.current is current:
            self._changes.put_back(queue, "the agent ended before it had arrived")

    def over(self, agent: str, receiver: Receiver, reason: str) -> None:
        """A run is over, or is not heard any more."""
        queue = self._queues.get(agent.lower())
        if queue is not None and queue.receiver is receiver:
            queue.receiver = None
            if queue.busy and queue.delivering is None:
                self._changes.lose(queue, reason)

    def took(self, agent: str, receiver: Receiver) -> list[Message]:
        """Something happened in a run's conversation: give the messages that changed by it, to be told."""
        queue = self._queues.get(agent.lower())
        if queue is None or queue.receiver is not receiver or queue.current is None:
            return []
        changes: list[Message] = []
        now, witness = self._wall(), receiver.witnesses.started
        began = messages.started(queue.current, receiver.conversation, witness, now)
        for after in (began, messages.ended(began or queue.current, receiver.conversation, now)):
            if after is not None and after != queue.current:
                queue.current = after
                changes.append(after)
        for change in changes:
            self._keeper.keep(change)
        return changes

    async def kept(self) -> None:
        """Wait until what was told so far is on disk, or could not be written, or the disk does not answer."""
        await self._keeper.kept(_KEEP_LIMIT)

    def of_turn(self, agent: str, turn: str | None) -> str | None:
        """The message that a turn began with, if it was one of ours."""
        queue = self._queues.get(agent.lower())
        known = None if queue is None else queue.current
        return known.id if known is not None and turn is not None and known.turn == turn else None

    def unfinished(self, agent: str) -> int:
        """How many messages to an agent wait, or are at their turn."""
        return 0 if (queue := self._queues.get(agent.lower())) is None else len(queue.waiting) + queue.busy

    def look(self, agent: str) -> None:
        """Deliver the next message to an agent, if it is the time."""
        if (queue := self._queues.get(agent.lower())) is not None:
            self._look(queue)

    # -- delivering

    def _queue(self, agent: str) -> Queue:
        return self._queues.setdefault(agent.lower(), Queue(agent))

    def _queue_of_sender(self, sender: str) -> Queue | None:
        return self._queue(sender) if self._takes(sender) else None

    def _look(self, queue: Queue) -> None:
        if not self._opened.is_set():
            return
        self._changes.expire(queue)
        loop, receiver = asyncio.get_running_loop(), queue.receiver
        if not queue.waiting or queue.busy or queue.delivering is not None:
            self._changes.look_later(queue)
            return
        if receiver is None or not receiver.listens() or loop.time() < queue.not_before:
            self._changes.look_later(queue)
            return
        self._handover.begin(queue, receiver)
