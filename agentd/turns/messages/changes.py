"""Changes of messages in their queues: each is kept, and told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from agentd.turns.messages import message as messages
from agentd.turns.messages.keeper import Keeper
from agentd.turns.messages.message import Message, Status
from agentd.turns.messages.queue import Queue
from agentd.turns.messages.undelivered import notice_of, sending_agent

_AGAIN: Final = 1.0
"""Seconds after which a message that could not be handed over is tried again."""


class Changes:
    """Changes messages.

    Parameters
    ----------
    keeper
        Keeps them.
    wall
        Seconds since the epoch.
    tell
        Takes each change.
    sender
        The queue of an agent that sent a message, if it takes messages itself.
    look
        Delivers the next message of a queue, if it is the time.
    """

    def __init__(
        self,
        keeper: Keeper,
        wall: Callable[[], float],
        tell: Callable[[Message], None],
        sender: Callable[[str], Queue | None],
        look: Callable[[Queue], None],
    ) -> None:
        self.keeper = keeper
        self.wall = wall
        self.tell = tell
        self._sender = sender
        self._look = look

    def changed(self, message: Message) -> Message:
        """Keep a change and tell it; an agent is told by a message that its own was not delivered."""
        sender = sending_agent(message)
        queue = None if sender is None else self._sender(sender)
        if queue is None or queue.full:
            self.keeper.keep(message)
            self.tell(message)
            return message
        notice = notice_of(message, queue.agent, self.wall())
        self.keeper.keep(message, notice)
        self.tell(message)
        queue.waiting.append(notice)
        self.tell(notice)
        asyncio.get_running_loop().call_soon(self._look, queue)
        return message

    def settle(self, queue: Queue, change: Callable[[Message], Message]) -> None:
        """Change the message that is being delivered, unless its turn has begun meanwhile."""
        if queue.current is not None and queue.current.status is Status.DELIVERING:
            queue.current = self.changed(change(queue.current))

    def hold_back(self, queue: Queue, reason: str) -> None:
        """Try again later; why, is told once."""
        queue.not_before = asyncio.get_running_loop().time() + _AGAIN
        first = queue.waiting[0]
        if first.error != reason:
            queue.waiting[0] = self.changed(messages.held_back(first, reason))

    def put_back(self, queue: Queue, reason: str) -> None:
        """Have the message that was to be handed over wait again, as the first."""
        current = queue.current
        if current is not None and current.status in (Status.DELIVERING, Status.DELIVERED):
            queue.current = None
            queue.waiting.insert(0, self.changed(messages.put_back(current, reason, self.wall())))
            queue.not_before = asyncio.get_running_loop().time() + _AGAIN

    def lose(self, queue: Queue, reason: str) -> None:
        """Give up the message that is under way: nobody will say what becomes of it."""
        if queue.current is not None and not queue.current.over:
            queue.current = self.changed(messages.lost(queue.current, reason, self.wall()))

    def expire(self, queue: Queue) -> None:
        """Give up those that waited too long."""
        now = self.wall()
        for message in [each for each in queue.waiting if each.expires is not None and each.expires <= now]:
            queue.waiting.remove(message)
            self.changed(messages.expired(message, now))

    def give_up(self, queue: Queue) -> None:
        """Give up all that wait for an agent that is declared no more."""
        waiting, queue.waiting = queue.waiting, []
        for message in waiting:
            self.changed(messages.failed(message, f"{queue.agent} is not declared any more", self.wall()))

    def look_later(self, queue: Queue) -> None:
        """Look again when a message expires, or may be tried again."""
        if queue.again is not None:
            queue.again.cancel()
            queue.again = None
        if not queue.waiting:
            return
        loop, now = asyncio.get_running_loop(), self.wall()
        waits = [each.expires - now for each in queue.waiting if each.expires is not None]
        if queue.not_before > loop.time():
            waits.append(queue.not_before - loop.time())
        elif queue.receiver is not None and not queue.busy:
            waits.append(_AGAIN)
        if waits:
            queue.again = loop.call_later(max(0.01, min(waits)), self._look, queue)
