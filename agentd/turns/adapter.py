"""How one harness is watched and talked to: the protocols `Adapter` and `Watch`.

A third party adds one for its harness by an entry point of the group ``agentd.turns``, under the harness's name::

    [project.entry-points."agentd.turns"]
    qwen = "acme_agentd:QWEN_TURNS"

The entry point names an object that satisfies `Adapter`, or something that gives one when called.

An adapter lives in a thread of its own kind, away from the daemon's loop. Whatever it raises, and a call that takes too
long, ends the watching of that run: its activity becomes ``unknown``, and the agent goes on untouched. It never blocks:
paths that users or agents control are touched with `Ground.looks` alone, sockets with deadlines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from agentd.files.looks import Looks
from agentd.harness.additions import SANDBOXED, Additions, LaunchFacts
from agentd.model.user import AgentUser
from agentd.process.identity import ProcessIdentity
from agentd.process.sandboxed import BoxedAgent, agent_in
from agentd.supervise.usage_limits import LimitHit
from agentd.turns.activity import Seen
from agentd.turns.conversation import Conversation, Request
from agentd.turns.events import Decision, Ended, TurnEvent
from agentd.turns.file_changes import FileChanges
from agentd.turns.quota import QuotaWindow
from agentd.turns.sending import Screen
from agentd.turns.witnesses import Witnesses

_IN_SANDBOX = 0.1
"""Seconds between two looks for the agent in its sandbox."""

GROUP = "agentd.turns"
"""Entry point group of third-party adapters."""


class Granularity(StrEnum):
    """In what pieces the text of an answer comes."""

    TOKEN = "token"  # noqa: S105 (a piece of text)
    LINE = "line"
    MESSAGE = "message"
    SCREEN = "screen"


class TurnsError(Exception):
    """Something that was asked cannot be done; the text says why, and what to do."""


class NotNowError(TurnsError):
    """A message was not handed over, not even in part; it may be tried again."""


class RefusedError(TurnsError):
    """A message was certainly not handed over, and will not be."""


@dataclass(frozen=True, slots=True)
class Typed:
    """A message to be typed."""

    text: str
    empty_box: str | None
    """What stands left of the cursor while the input box is empty, as in the harness' facts; ``None`` without a box."""
    unfinished: str | None
    """After which ends a space is typed before Enter, as in the harness' facts."""
    recorded: Callable[[], bool]
    """Whether the harness has recorded it; called from another thread."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody decides about a request."""

    decision: Decision
    """``allow`` or ``deny`` for a permission, ``answer`` or ``deny`` for a question."""
    text: str = ""
    """The answer to a question, or why a permission is denied."""


@dataclass(frozen=True, slots=True)
class Hook:
    """What a hook, or the program itself, posted to the daemon's socket."""

    name: str
    """Of the event."""
    body: Mapping[str, object] | None
    """What it says; ``None`` if that was too long to be read."""
    pid: int = 0
    """The process that posted it, by the kernel's account."""
    again: bool = False
    """Whether a former daemon was asked this: it may be decided meanwhile."""


class Terminal(Protocol):
    """The agent's terminal. Each call ends within seconds, or raises `TurnsError`."""

    def send(self, typed: Typed) -> Coroutine[object, object, None]:
        """Type a message, and press Enter; may take half a minute.

        Raises
        ------
        NotNowError
            If nothing was typed, and it may be tried again: the box is not empty, say.
        RefusedError
            If nothing was typed, and will not be.
        TurnsError
            If it is not certain what became of it.
        """
        ...

    def look(self) -> Coroutine[object, object, Screen]:
        """The screen around the cursor, as it is now."""
        ...

    def press(self, key: str) -> Coroutine[object, object, None]:
        """Press a key, in tmux's notation."""
        ...

    def show(self) -> Coroutine[object, object, str]:
        """What it shows now, with escape sequences for its styles."""
        ...

    def waits(self) -> Coroutine[object, object, bool | None]:
        """Whether the agent's program waits for input at it; ``None`` if that cannot be told."""
        ...


class Voice(Protocol):
    """How an adapter says what it sees. Cheap, in order, and never raising."""

    @property
    def conversation(self) -> Conversation:
        """What was made of it so far."""
        ...

    @property
    def screen(self) -> Seen | None:
        """What the terminal showed when it was last looked at; ``None`` if the rules know nothing of it.

        It is looked at while no record tells what the agent is doing, once a second while it changes.
        """
        ...

    def event(self, event: TurnEvent) -> None:
        """Something happened in a turn."""
        ...

    def seen(self, source: str, seen: Seen | None) -> None:
        """A witness says what the agent is doing; ``None`` if it no longer knows."""
        ...

    def identified(self, conversation: str | None) -> None:
        """The harness's own id of the conversation, by which it is resumed; ``None`` before another one has any."""
        ...

    def quota(self, source: str, windows: Sequence[QuotaWindow]) -> None:
        """What a witness says of the quota of the account."""
        ...


@dataclass(frozen=True, slots=True)
class Ground:
    """What adapters may use."""

    looks: Looks
    """For paths that may not answer."""
    changes: FileChanges
    """Tells when a file has changed, half a second later at most, and at next to no cost."""
    user: AgentUser
    """The agents' user: what it may not read is not read for it."""
    wall: Callable[[], float]
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run whose process exists."""

    facts: LaunchFacts
    """As at its launch, but for the command line and the environment: what counts of these is in the memo."""
    process: ProcessIdentity
    memo: Mapping[str, str]
    """What `Additions.memo` was at its launch, perhaps by a former daemon."""
    terminal: Terminal
    conversation: str | None = None
    """The conversation that a former daemon saw it talk in last."""
    limit: LimitHit | None = None
    """The usage limit that its conversation was at when a former daemon, or run, last knew of it."""

    def own(self) -> BoxedAgent | None:
        """Find the agent's own process, and its pid as it knows it; ``None`` while it is not in its sandbox yet."""
        if not self.memo.get(SANDBOXED):
            return BoxedAgent(self.process, self.process.pid)
        return agent_in(self.process)

    async def begun(self) -> BoxedAgent:
        """Give the same, once it is there: a sandbox takes 14 ms, and longer where its network is to be served."""
        while (own := self.own()) is None:  # noqa: ASYNC110 (the kernel tells of no such thing)
            await asyncio.sleep(_IN_SANDBOX)
        return own


@runtime_checkable
class GoesOn(Protocol):
    """What a `Watch` may be too: its harness goes on after a usage limit in another way than by a message."""

    async def go_on(self) -> bool:
        """Have it go on; says whether that was done: otherwise it is told by a message.

        Raises
        ------
        TurnsError
            If it cannot be done now.
        """
        ...


@runtime_checkable
class TellsAgain(Protocol):
    """What a `Watch` may be too: its program tells a later daemon how the turn went on that a former one knew."""

    @property
    def tells_again(self) -> bool:
        """Whether that is still to come."""
        ...


@runtime_checkable
class SeesScreen(Protocol):
    """What a `Watch` may be too: while it is the user's move, the terminal shows what its harness does not record."""

    def shows(self, screen: str) -> None:
        """Take what the terminal shows, with escape sequences for its styles: once a second while it changes."""
        ...


@runtime_checkable
class NamesWitnesses(Protocol):
    """What a `Watch` may be too: it says who tells what became of a message."""

    @property
    def witnesses(self) -> Witnesses:
        """As of now."""
        ...


@runtime_checkable
class SaysGranularity(Protocol):
    """What a `Watch` may be too: in what pieces text comes depends on how it watches now."""

    @property
    def granularity(self) -> Granularity:
        """As of now."""
        ...


@runtime_checkable
class Recalls(Protocol):
    """What a `Watch` may be too: its harness keeps a record of what happened while no agentd watched."""

    async def recall(self, text: str, since: float) -> None:
        """Tell, as of now, of the turn that began with this message since then, if there is one, and what followed it.

        Parameters
        ----------
        since
            In seconds since the epoch.
        """
        ...


@runtime_checkable
class ReadsLate(Protocol):
    """What a `Watch` may be too: it looks at its harness's record now and then, so that it may lack the last lines."""

    async def read_rest(self) -> None:
        """Tell of all that the record has by now; the program has ended."""
        ...


@runtime_checkable
class Settles(Protocol):
    """What a `Watch` may be too: its harness's record can be read after its program's end, and is whole then."""

    async def settle(self, text: str, since: float) -> bool:
        """Say whether the record has a message handed over since then, and tell of its turn as `Recalls` does.

        Raises
        ------
        TurnsError
            If the record cannot be read.
        """
        ...


class Watch(Protocol):
    """One run being watched."""

    async def run(self) -> None:
        """Watch until cancelled, which happens when the run has ended."""
        ...

    async def hook(self, hook: Hook) -> bytes | None:
        """Take what a hook posted, and give the answer to it, if any.

        May wait, for as long as the hook is to be held; cancelled if the hook's process ends before.
        """
        ...

    async def hindrance(self, *, returned: str | None) -> str | None:
        """Why the agent cannot be handed a message just now, though it is idle; ``None`` if it can.

        Parameters
        ----------
        returned
            The last message, if its turn was interrupted: a harness may have put it back into its input box, where it
            is to be removed.
        """
        ...

    async def deliver(self, text: str) -> None:
        """Hand over a message while the agent is idle; return once it was handed over.

        That it was taken shows in the event `Started`, never in a changed screen.

        Raises
        ------
        NotNowError
            If nothing was handed over, and it may be tried again.
        TurnsError
            If it was not, or not for certain.
        """
        ...

    async def answer(self, request: Request, answer: Answer) -> None:
        """Pass on an answer; the request is open, and this is the first."""
        ...

    async def interrupt(self) -> None:
        """Interrupt the turn under way, in the harness's own way."""
        ...

    async def at_exit(self, *, succeeded: bool) -> Ended | None:
        """What the end of the process means for the turn under way; ``None`` if that is lost with it.

        A one-shot run is one turn, which its exit ends.
        """
        ...


@runtime_checkable
class Adapter(Protocol):
    """One harness; holds no state."""

    @property
    def granularity(self) -> Granularity:
        """In what pieces the text of an answer comes."""
        ...

    def additions(self, facts: LaunchFacts) -> Additions:
        """What is added to a launch. Pure."""
        ...

    def watch(self, run: LiveRun, voice: Voice, ground: Ground) -> Watch:
        """Begin to watch a run; called once for each, in the adapters' loop."""
        ...
