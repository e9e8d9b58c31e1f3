"""What watches one run by its harness: asked within limits, for what not each can do, until it fails."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from agentd.turns.adapter import (
    Adapter,
    Answer,
    GoesOn,
    Granularity,
    Ground,
    Hook,
    LiveRun,
    NamesWitnesses,
    NotNowError,
    ReadsLate,
    Recalls,
    SaysGranularity,
    SeesScreen,
    Settles,
    TellsAgain,
    TurnsError,
    Voice,
    Watch,
)
from agentd.turns.adapter_call import CALL_LIMIT, within
from agentd.turns.conversation import Request
from agentd.turns.events import Ended
from agentd.turns.witnesses import Witnesses

log = structlog.get_logger(__name__)

_DELIVERY_LIMIT: Final = 30.0
"""Seconds for handing over a message: it is typed, seen to be typed, and Enter pressed again after 3 s."""

_RECALL_LIMIT: Final = 15.0
"""Seconds for looking up a message in the harness's record, which may have to be found first."""

_ADAPTER: Final = Witnesses("adapter", "adapter")
"""Of a third party's adapter that does not say more."""

T = TypeVar("T")


class Watched:
    """The watch of one run.

    Parameters
    ----------
    agent
        Its name.
    failed
        Told what the adapter raised that it may not: nothing that it says is believed any more.
    """

    def __init__(self, agent: str, failed: Callable[[BaseException], None]) -> None:
        self.watch: Watch | None = None
        """``None`` before it begins, and after it has failed."""
        self._agent = agent
        self._failed = failed
        self._granularity = Granularity.SCREEN

    def begin(self, adapter: Adapter, run: LiveRun, voice: Voice, ground: Ground) -> Watch | None:
        """Have an adapter begin to watch; ``None`` if it failed."""
        try:
            self.watch = adapter.watch(run, voice, ground)
            self._granularity = adapter.granularity
        except Exception as error:  # noqa: BLE001 (an adapter may raise anything; it costs its own run's activity)
            self._failed(error)
        return self.watch

    @property
    def witnesses(self) -> Witnesses:
        """Who says what becomes of a message."""
        watch = self.watch
        return watch.witnesses if watch is not None and isinstance(watch, NamesWitnesses) else _ADAPTER

    @property
    def granularity(self) -> Granularity:
        """In what pieces the text of answers comes."""
        watch = self.watch
        return watch.granularity if watch is not None and isinstance(watch, SaysGranularity) else self._granularity

    @property
    def speaks_late(self) -> bool:
        """Whether its program need not say that it is there."""
        return self._granularity is Granularity.SCREEN

    @property
    def tells_again(self) -> bool:
        """Whether a turn that is under way is told of by nothing but its end."""
        watch = self.watch
        return self.speaks_late or (watch is not None and isinstance(watch, TellsAgain) and watch.tells_again)

    @property
    def has_record(self) -> bool:
        """Whether its harness keeps a record of what happened while no agentd watched."""
        return isinstance(self.watch, Recalls)

    @property
    def sees_screen(self) -> bool:
        """Whether it is told what the terminal shows."""
        return self.watch is not None and isinstance(self.watch, SeesScreen)

    def saw(self, screen: str) -> None:
        """Have it take what the terminal shows."""
        watch = self.watch
        if watch is not None and isinstance(watch, SeesScreen):
            try:
                watch.shows(screen)
            except Exception as error:  # noqa: BLE001 (an adapter may raise anything; it costs its own run's activity)
                self._failed(error)

    async def hook(self, hook: Hook) -> bytes | None:
        """Have it take what a hook posted; waits as long as it holds the hook."""
        if self.watch is None:
            return None
        try:
            return await self.watch.hook(hook)
        except Exception as error:  # noqa: BLE001 (an adapter may raise anything; it costs its own run's activity)
            self._failed(error)
            return None

    async def hindrance(self, *, returned: str | None) -> str | None:
        """Why the agent cannot be handed a message just now, though it is idle; as `Watch.hindrance`."""
        if self.watch is None:
            return "it is not watched any more"
        try:
            return await self._call(self.watch.hindrance(returned=returned))
        except TurnsError as error:
            return str(error)

    async def deliver(self, text: str) -> None:
        """Hand over a message.

        Raises
        ------
        NotNowError
            If nothing was handed over, and it may be tried again.
        TurnsError
            If it was not, or not for certain.
        """
        if self.watch is None:
            raise NotNowError(f"{self._agent} is not watched any more")
        await self._call(self.watch.deliver(text), _DELIVERY_LIMIT)

    async def recall(self, text: str, since: float) -> bool:
        """Take up the turn of a message that a former daemon handed over; says whether its harness has a record."""
        watch = self.watch
        if watch is None or not isinstance(watch, Recalls):
            return False
        with contextlib.suppress(TurnsError):
            await self._call(watch.recall(text, since), _RECALL_LIMIT)
        return True

    async def read_rest(self) -> None:
        """Take what a program that has ended recorded last: it may have taken a message, and answered, just before."""
        watch = self.watch
        if watch is None or not isinstance(watch, ReadsLate):
            return
        try:
            await self._call(watch.read_rest())
        except TurnsError as error:
            log.info("record_not_read_to_its_end", agent=self._agent, reason=str(error))

    async def settle(self, text: str, since: float) -> bool | None:
        """Say whether a program that has ended had taken a message; as `Receiver.settle`."""
        watch = self.watch
        if watch is None or not isinstance(watch, Settles):
            return None
        try:
            return await self._call(watch.settle(text, since))
        except TurnsError as error:
            log.info("message_not_settled", agent=self._agent, reason=str(error))
            return None

    async def answer(self, request: Request, answer: Answer) -> None:
        """Pass on an answer; raises `TurnsError` if that cannot be done."""
        await self._call(self.required().answer(request, answer))

    async def go_on(self) -> bool:
        """Have the agent go on after a usage limit; says whether its harness has a way of its own for that.

        Raises
        ------
        TurnsError
            If that cannot be done.
        """
        watch = self.required()
        return isinstance(watch, GoesOn) and await self._call(watch.go_on())

    async def interrupt(self) -> None:
        """Interrupt the turn under way; raises `TurnsError` if that cannot be done."""
        await self._call(self.required().interrupt())

    async def at_exit(self, *, succeeded: bool) -> Ended | None:
        """What the end of the process means for the turn under way; ``None`` if that is lost with it."""
        if self.watch is None:
            return None
        try:
            async with asyncio.timeout(CALL_LIMIT):
                return await self.watch.at_exit(succeeded=succeeded)
        except Exception as error:  # noqa: BLE001 (an adapter may raise anything)
            log.warning("agent_not_watched", agent=self._agent, reason=f"{type(error).__name__}: {error}")
            return None

    def required(self) -> Watch:
        """Give the watch.

        Raises
        ------
        TurnsError
            If there is none.
        """
        if self.watch is None:
            raise TurnsError(f"{self._agent} is not watched: its harness cannot be asked; use agentctl keys")
        return self.watch

    async def _call(self, call: Awaitable[T], limit: float = CALL_LIMIT) -> T:
        return await within(call, limit, self._agent, self._failed)
