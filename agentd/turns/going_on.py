"""Tells agents to go on: after a usage limit, and those that were launched again since they did not go on."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Final

import structlog

from agentd.model.stall import UNTOLD
from agentd.supervise.run_watcher import NotTold
from agentd.turns.adapter import TurnsError
from agentd.turns.messages.deliveries import Deliveries
from agentd.turns.messages.message import Message, Status
from agentd.turns.messages.queue import ConflictError, QueueFullError
from agentd.turns.messages.store import StoreError
from agentd.turns.messages.undelivered import OURS
from agentd.turns.run_watch import RunWatch

log = structlog.get_logger(__name__)

GO_ON: Final = "continue"
"""What an agent is told."""

_WITHIN: Final = 300.0
"""Seconds in which that message must have been taken."""

ToldOn = Callable[[NotTold | None], None]
"""Told why an agent could not be told to go on, or ``None``."""


class GoingOn:
    """Tells them, by messages as others send them.

    Parameters
    ----------
    holds
        Why no turn of an agent may begin, if none may.
    do
        Owns a task.
    """

    def __init__(
        self,
        deliveries: Deliveries,
        holds: Callable[[str], str | None],
        do: Callable[[Coroutine[object, object, None], str], object],
    ) -> None:
        self._deliveries = deliveries
        self._holds = holds
        self._do = do
        self._asked: dict[str, ToldOn] = {}
        """Whom to tell what became of a message, by its id."""

    def after_limit(self, watch: RunWatch, number: int, told: ToldOn) -> None:
        """Tell a run that was at its usage limit."""
        self._do(self._after_limit(watch, number, told), f"going on of {watch.agent}")

    async def _after_limit(self, watch: RunWatch, number: int, told: ToldOn) -> None:
        held = self._holds(watch.agent)
        if held is not None:
            told(NotTold(held, held=True))
            return
        try:
            if await watch.go_on():
                told(None)
                return
        except TurnsError as error:
            told(NotTold(str(error)))
            return
        known = watch.limits.known
        # Another daemon that is as far gives it the same id, and it is said once.
        at = 0.0 if known is None else known.at
        await self._say(watch, f"go-on.{watch.run_id}.{at:.0f}.{number}", told)

    def launched_again(self, watch: RunWatch) -> None:
        """Tell a run that goes on with the conversation of one that was stuck; its budget may hold the message back.

        One that ends with its answer has been told by its prompt, and a program of somebody's own has no conversation
        that agentd could have it go on with.
        """
        facts = watch.run.facts
        if facts.resume is None or not facts.stays or facts.harness == UNTOLD:
            return

        def told(why: NotTold | None) -> None:
            if why is not None:
                log.warning("agent_not_told_to_go_on", agent=watch.agent, reason=why.error)

        # One that a later daemon finds is told once, too.
        self._do(self._say(watch, f"go-on.{watch.run_id}", told), f"going on of {watch.agent}")

    async def _say(self, watch: RunWatch, message_id: str, told: ToldOn) -> None:
        self._asked[message_id] = told
        try:
            # By its name: the run may not be heard yet.
            message = await self._deliveries.accept(watch.agent, message_id, GO_ON, _WITHIN, OURS)
        except (ConflictError, QueueFullError, StoreError) as error:
            del self._asked[message_id]
            told(NotTold(str(error)))
        else:
            self.changed(message)

    def changed(self, message: Message) -> None:
        """Take each change of a message, and tell what became of it."""
        if message.status in (Status.QUEUED, Status.DELIVERING, Status.DELIVERED):
            return
        told = self._asked.pop(message.id, None)
        if told is not None:
            done = message.status in (Status.STARTED, Status.ENDED)
            told(None if done else NotTold(message.error or message.status.value))
