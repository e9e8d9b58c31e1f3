"""One run being watched: makes a conversation and an activity of what its adapter says.

Whatever the adapter raises, and a call of it that takes too long, ends the watching of this run and nothing else: the
activity becomes ``unknown``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from agentd.model.states import Activity
from agentd.turns.activity import NOBODY_SPEAKS, Seen, Shown
from agentd.turns.activity_watch import ActivityWatch
from agentd.turns.adapter import Adapter, Answer, Granularity, Ground, Hook, LiveRun, TurnsError
from agentd.turns.adapter_call import CALL_LIMIT, meant
from agentd.turns.asked import Asked
from agentd.turns.conversation import Conversation, Request, Turn, decide, expired, take
from agentd.turns.events import Ended, Outcome, PermissionResolved, TextDelta, TurnEvent, Usage
from agentd.turns.late_usage import LateUsage
from agentd.turns.limit_watch import ZONE, LimitWatch
from agentd.turns.outlet import Outlet
from agentd.turns.plain_text import plain_event
from agentd.turns.quota import QuotaWindow, failed_at
from agentd.turns.reporter import Reporter
from agentd.turns.watched import Watched
from agentd.turns.witnesses import Witnesses

log = structlog.get_logger(__name__)

_NOT_THE_USERS = (Activity.WORKING, Activity.WAITING_PERMISSION, Activity.WAITING_INPUT)

_STARTED = 1.0
"""Seconds after which a program that has said nothing of itself counts as reading its terminal."""


class RunWatch:
    """A run and its adapter; also the adapter's `Voice`."""

    def __init__(self, run: LiveRun, ground: Ground, outlet: Outlet[RunWatch]) -> None:
        self.run = run
        self.conversation = Conversation()
        self._talked: str | None = None
        """The conversation in which a turn was seen to begin."""
        self._ground = ground
        self._outlet = outlet
        self._reporter = Reporter(run.facts.agent, run.facts.run_id, outlet.emit)
        self.limits = LimitWatch(run.limit, run.memo.get(ZONE), self._reporter.quota)
        self._doing = ActivityWatch(self, self.limits, ground.wall, self._reporter.activity)
        self._watched = Watched(run.facts.agent, self._fail)
        self._asked = Asked()
        self._reads_from = 0.0
        self._task: asyncio.Task[None] | None = None
        self._usage = LateUsage(lambda: self.conversation, lambda usage: self._reporter.event(usage, self.conversation))
        self._over = False
        self.stops = False
        """Whether it is being ended."""
        self._doing.judge()

    @property
    def current(self) -> Shown | None:
        """What it is doing."""
        return self._doing.current

    def shows(self) -> None:
        """What is shown of it has changed."""
        self._outlet.changed(self)

    @property
    def session(self) -> str | None:
        """The harness's id of the conversation."""
        return self._reporter.session

    @property
    def talked(self) -> bool:
        """Whether a turn began."""
        return self._talked is not None

    @property
    def agent(self) -> str:
        """Name of the agent."""
        return self.run.facts.agent

    def begin(self, adapter: Adapter) -> None:
        """Begin to watch."""
        if self.run.limit is not None:
            self.conversation = Conversation(last=failed_at(self.run.limit))
        watch = self._watched.begin(adapter, self.run, self, self._ground)
        if watch is None:
            return
        self._reads_from = asyncio.get_running_loop().time() + _STARTED
        self._task = asyncio.get_running_loop().create_task(watch.run(), name=f"turns of {self.agent}")
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Watch no more: nothing that this adapter says is believed."""
        if self._over:
            return
        log.warning(
            "agent_not_watched",
            agent=self.agent,
            harness=self.run.facts.harness,
            reason=f"{type(error).__name__}: {error}" if str(error) else type(error).__name__,
        )
        self._watched.watch = None
        if self._task is not None:
            self._task.cancel()
        self._doing.forget()
        self.conversation = Conversation(last=self.conversation.last, usage=self.conversation.usage)
        self._outlet.unheard(self)
        self._doing.judge()

    # -- the adapter's voice

    @property
    def screen(self) -> Seen | None:
        """What the terminal showed last."""
        return self._doing.screen

    def event(self, event: TurnEvent) -> None:
        """Something happened in a turn."""
        if self._over:
            return
        event = plain_event(event)
        if isinstance(event, Ended):
            self._usage.tell_now()
        before, at = self.conversation, self._ground.wall()
        self.conversation = take(before, event, at)
        self._asked.note(self.conversation)
        for resolved in expired(before, self.conversation, event):
            self._tell(resolved)
        # A long answer's pieces go on after what is kept of it is full.
        if self.conversation == before and not isinstance(event, TextDelta):
            return
        self._tell(event)
        self._usage.tell_soon()
        self._note_conversation()
        self._doing.judge()

    def seen(self, source: str, seen: Seen | None) -> None:
        """A witness says what the agent is doing."""
        if not self._over:
            self._doing.seen(source, seen)

    def identified(self, conversation: str | None) -> None:
        """The harness's own id of the conversation."""
        if conversation != self.session:
            self._reporter.session = conversation
            self._note_conversation()
            self._outlet.changed(self)

    def _note_conversation(self) -> None:
        """Note a conversation in which a turn began: of one without any, the harness may keep nothing."""
        turn = self.conversation.turn
        if turn is not None and self.session not in (None, self._talked):
            self._talked = self.session
            self._outlet.talked(self)

    def quota(self, source: str, windows: Sequence[QuotaWindow]) -> None:
        """What a witness says of the quota of the account."""
        if not self._over and windows:
            self.limits.take(source, windows)
            self._doing.judge()

    def background(self, names: tuple[str, ...]) -> None:
        """What still runs of turns that have ended."""
        self._doing.background(names)

    def _tell(self, event: TurnEvent) -> None:
        self._outlet.happened(self, event)
        if not isinstance(event, Usage):  # of which `LateUsage` tells
            self._reporter.event(event, self.conversation)

    # -- what others want of it

    async def hook(self, hook: Hook) -> bytes | None:
        """Have the adapter take what a hook posted; waits as long as it holds the hook."""
        return await self._watched.hook(hook)

    async def answer(self, request: str | None, answer: Answer, by: str | None = None) -> Request:
        """Answer a request; with no id the only one there is.

        Parameters
        ----------
        by
            Who answers, as `PermissionResolved` says it.

        Raises
        ------
        TurnsError
            If there is no such request any more, or the answer does not fit.
        """
        self._watched.required()
        await self._asked.wait(self.conversation, self.current)
        found = meant(self.agent, self.conversation.requests, request)
        await self._watched.answer(found, answer)
        self.conversation, first = decide(self.conversation, found.id)
        if first:
            self._tell(PermissionResolved(found.id, answer.decision, by))
            self._doing.judge()
        return found

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self.run.facts.run_id

    @property
    def witnesses(self) -> Witnesses:
        """Who says what becomes of a message."""
        return self._watched.witnesses

    @property
    def has_record(self) -> bool:
        """Whether what it told can be read again."""
        return self._watched.has_record

    @property
    def granularity(self) -> Granularity:
        """In what pieces the text of answers comes."""
        return self._watched.granularity

    @property
    def at_work(self) -> bool:
        """Whether something shows that the agent is at work or asks, also if no turn of it is known."""
        doing = NOBODY_SPEAKS if self.current is None else self.current.doing
        return self.conversation.turn is not None or (doing.activity in _NOT_THE_USERS and not doing.background)

    @property
    def _rests(self) -> bool:
        """Whether it is known that no turn is under way."""
        known = self.current is not None and self.current.doing.activity is not Activity.UNKNOWN
        return known and not self.at_work

    @property
    def wants_screen(self) -> bool:
        """Whether its terminal is to be looked at though a record tells what the agent is doing."""
        return self._watched.sees_screen and not self.at_work

    def saw(self, screen: str) -> None:
        """Have the adapter take what the terminal shows."""
        self._watched.saw(screen)

    def listens(self) -> bool:
        """Whether it is the user's move, and the run takes a message."""
        if self._watched.watch is None or self._over or self.stops or self.current is None:
            return False
        if self.at_work or self.conversation.requests:
            return False
        if self.current.doing.activity is not Activity.UNKNOWN:
            return True
        # A program that tells of its turns itself need not say that it is there.
        return self._watched.speaks_late and asyncio.get_running_loop().time() >= self._reads_from

    async def hindrance(self, *, returned: str | None) -> str | None:
        """Why the agent cannot be handed a message just now, though it is idle; as `Watch.hindrance`."""
        return await self._watched.hindrance(returned=returned)

    async def deliver(self, text: str) -> None:
        """Hand over a message.

        Raises
        ------
        NotNowError
            If nothing was handed over, and it may be tried again.
        TurnsError
            If it was not, or not for certain.
        """
        await self._watched.deliver(text)

    async def recall(self, text: str, turn: str | None, since: float) -> None:
        """Take up the turn of a message that a former daemon handed over, as far as the harness's record has it.

        Parameters
        ----------
        turn
            The turn, if that daemon saw it begin; where nothing keeps a record, it is under way still.
        """
        if self._watched.watch is None or await self._watched.recall(text, since):
            return
        if self._watched.tells_again and turn is not None and self.conversation.turn is None:
            self.conversation = replace(self.conversation, turn=Turn(turn, text, since))

    async def read_rest(self) -> None:
        """Take what a program that has ended recorded last: it may have taken a message, and answered, just before."""
        await self._watched.read_rest()

    async def settle(self, text: str, since: float) -> bool | None:
        """Say whether a program that has ended had taken a message; as `Receiver.settle`."""
        return await self._watched.settle(text, since)

    async def go_on(self) -> bool:
        """Have the agent go on after a usage limit, where its harness has a way of its own; says whether that was done.

        Raises
        ------
        TurnsError
            If that cannot be done.
        """
        if self.limits.known is None:
            raise TurnsError(f"{self.agent} is not at its usage limit any more")
        return await self._watched.go_on()

    async def interrupt(self) -> bool:
        """Interrupt the turn under way; says whether that was asked for: where none is known to be, nothing is done.

        At a prompt, the key that interrupts a turn ends many programs.

        Raises
        ------
        TurnsError
            If that cannot be done.
        """
        self._watched.required()
        if self._rests:
            return False
        await self._watched.interrupt()
        return True

    # -- the end

    async def end(self, *, succeeded: bool) -> None:
        """The process has ended: a turn under way ends with it."""
        if self._over:
            return
        turn = self.conversation.turn
        if turn is not None:
            end = await self._watched.at_exit(succeeded=succeeded)
            self.event(end or Ended(Outcome.LOST, None, None, "the agent's process ended"))
        self._usage.tell_soon()
        self._usage.tell_now()
        await self.let_go()

    async def let_go(self) -> None:
        """Watch no more; what goes on is not told."""
        self._over = True
        self._usage.cancel()
        self._doing.stop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=CALL_LIMIT)
