"""One channel: connected, consumed and answered as long as it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

import structlog

from agentd.gateway.channels.link import (
    DEADLINE,
    Delay,
    Incoming,
    LaterError,
    Link,
    LinkError,
    OversizedError,
    UnusableError,
)
from agentd.gateway.channels.state import State
from agentd.gateway.engine.inbox import Inbox
from agentd.gateway.ids import new_id
from agentd.gateway.model.channels import LARGEST, Answer, Bad, Decided, Said, Skipped, buried, read
from agentd.gateway.model.errors import (
    DatabaseUnavailableError,
    DecidedError,
    GatewayError,
    InvalidRequestError,
    InvalidTransitionError,
    NotFoundError,
    TooLargeError,
)
from agentd.gateway.model.results import ChannelCondition
from agentd.model.channels import ChannelDeclaration

log = structlog.get_logger(__name__)

_AFTER_DEFECT: Final = 30.0
"""Seconds until it is tried again after an error that nobody foresaw."""

_STABLE: Final = 1.0
"""Seconds that a connection has to hold for the next to be tried at once."""

_LEFT: Final = (LARGEST, 100_000, 1000)
"""Characters of a bad message that are put aside with it: so many as the broker takes."""

Opener = Callable[[], AbstractAsyncContextManager[Link]]
"""Connects to the broker."""


class Channel:
    """It runs until it is cancelled."""

    def __init__(self, declared: ChannelDeclaration, inbox: Inbox, opener: Opener) -> None:
        self.state = State(declared)
        self._declared = declared
        self._inbox = inbox
        self._open = opener
        self._link: Link | None = None

    async def run(self) -> None:
        """Connect, consume and answer, again and again."""
        delay = Delay()
        while True:
            pause = None
            try:
                await self._connected(delay)
            except UnusableError as error:
                self._is_down(error, "none until the gateway is started again")
                return
            except (LinkError, DatabaseUnavailableError) as error:
                self._is_down(error, "it is tried again")
            except Exception as error:
                self.state.condition, self.state.error = ChannelCondition.UNAVAILABLE, "a defect: see the log"
                log.error("channel_failed", **self._named(), exc_info=error)
                pause = _AFTER_DEFECT
            await asyncio.sleep(pause or delay.next())

    async def _connected(self, delay: Delay) -> None:
        async with self._open() as link:
            log.info("channel_connected", **self._named())
            self.state.condition, self.state.error = ChannelCondition.CONNECTED, None
            self._link = link
            tasks: list[asyncio.Task[None]] = [
                asyncio.create_task(link.consume(self), name=f"channel {self._declared.where}"),
                asyncio.create_task(self._answer(link), name=f"answers {self._declared.where}"),
            ]
            begun = asyncio.get_running_loop().time()
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._link = None
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
                # Both may have failed; the first says why.
                for task in tasks:
                    if not task.cancelled():
                        task.exception()
            if asyncio.get_running_loop().time() - begun > _STABLE:
                delay.reset()
            await done.pop()

    def _is_down(self, error: Exception, action: str) -> None:
        if (ChannelCondition.UNAVAILABLE, str(error)) != (self.state.condition, self.state.error):
            self.state.condition, self.state.error = ChannelCondition.UNAVAILABLE, str(error)
            log.warning("channel_unavailable", **self._named(), reason=str(error), action=action)

    def _named(self) -> dict[str, str]:
        declared = self._declared
        return {"agent": declared.agent, "backend": declared.backend.value, "channel": declared.where}

    # -- what comes

    async def take(self, incoming: Incoming) -> bool:
        """Take a message; says whether something was stored."""
        what = read(incoming.data) if incoming.fault is None else Bad(incoming.fault)
        try:
            match what:
                case Said():
                    return await self._say(incoming, what)
                case Decided():
                    await self._decide(incoming, what)
                case Skipped(own):
                    self.state.counts["own" if own else "skipped"] += 1
                case Bad(reason):
                    await self._bury(incoming, reason)
        except (LinkError, LaterError):
            raise
        except GatewayError as error:
            # Neither the message's fault nor the broker's.
            if self.state.error != str(error):
                self.state.error = str(error)
                log.warning("channel_waits", **self._named(), reason=str(error))
            raise LaterError(str(error)) from error
        if self.state.error is not None:
            self.state.error = None
        return False

    async def _say(self, incoming: Incoming, said: Said) -> bool:
        identity = incoming.id or (None if said.id is None else f"sent {said.id}") or new_id("msg")
        try:
            new = await self._inbox.take(self._declared, identity, incoming.name, said)
        except TooLargeError as error:
            await self._bury(incoming, str(error))
            return False
        except InvalidRequestError as error:
            if error.field != "text":
                raise
            await self._bury(incoming, str(error))
            return False
        self.state.error = None
        self.state.counts["taken" if new else "repeated"] += 1
        return True

    async def _decide(self, incoming: Incoming, decided: Decided) -> None:
        try:
            await self._inbox.decide(self._declared, decided)
        except TooLargeError as error:
            await self._bury(incoming, str(error))
        except (DecidedError, InvalidRequestError, InvalidTransitionError, NotFoundError) as error:
            self.state.counts["skipped"] += 1
            log.info("channel_answer_skipped", **self._named(), reason=str(error))
        else:
            self.state.counts["decided"] += 1

    async def _bury(self, incoming: Incoming, reason: str) -> None:
        assert self._link is not None, "messages come by a link"
        for least in _LEFT:
            try:
                await self._link.bury(buried(incoming.data, reason, incoming.name or self._declared.where, least))
                break
            except OversizedError as error:
                log.debug("channel_message_cut", **self._named(), reason=str(error))
        else:
            raise LinkError("the broker takes not even the beginning of a bad message")
        self.state.counts["dead"] += 1
        log.info("channel_message_bad", **self._named(), message=incoming.name, reason=reason)

    async def give_up(self, incoming: Incoming) -> None:
        """Leave a message to another gateway."""
        assert incoming.id is not None, "it can be given to somebody else by its id"
        await self._inbox.give_up(self._declared, incoming.id)

    # -- what goes

    async def _answer(self, link: Link) -> None:
        cursor: int | None = None
        with self._inbox.following(self._declared) as follower:
            while True:
                # What is committed from here on is heard of.
                follower.taken()
                reached, answers = await self._inbox.outgoing(self._declared, cursor)
                if reached == cursor:
                    await follower.news.wait()
                    continue
                if answers:
                    await self._send(link, answers)
                    self.state.counts["sent"] += len(answers)
                    await self._inbox.sent(self._declared, reached)
                cursor = reached

    async def _send(self, link: Link, answers: Sequence[Answer]) -> None:
        """Write answers, with less in one that is too large for the broker: the others would wait for ever."""
        while answers:
            try:
                await link.send(answers)
                return
            except OversizedError as error:
                large, rest = answers[error.index], answers[error.index + 1 :]
                cut = large.smaller()
                log.warning(
                    "channel_answer_cut", **self._named(), answer=large.id, reason=str(error), sent=cut is not None
                )
                answers = rest if cut is None else [cut, *rest]

    async def say(self, data: bytes) -> str | None:
        """Write a message as somebody at the other end does; gives the broker's id of it.

        Raises
        ------
        LinkError
            If there is no broker.
        TooLargeError
            If the broker takes no message of that size.
        """
        if self._link is None:
            raise LinkError(self.state.error or "it is not connected")
        try:
            async with asyncio.timeout(DEADLINE):
                return await self._link.say(data)
        except OversizedError as error:
            raise TooLargeError(f"content: the message has {len(data)} bytes, which is too large: {error}") from error
