"""Codex, watched and talked to by its own server; as long as that is not there, by its rollout file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from agentd.model.states import Activity
from agentd.turns.activity import Seen
from agentd.turns.adapter import Answer, Granularity, Ground, Hook, LiveRun, NotNowError, TurnsError, Voice
from agentd.turns.codex.by_rollout import RolloutWatch
from agentd.turns.codex.launch import SERVER
from agentd.turns.codex.protocol import Reader, Thread
from agentd.turns.codex.quota import windows
from agentd.turns.codex.requests import reply
from agentd.turns.codex.server import Connection, Message, connect
from agentd.turns.conversation import Request
from agentd.turns.events import Ended
from agentd.turns.fields import mapping, number, text
from agentd.turns.messages.message import CLOCKS
from agentd.turns.witnesses import Witnesses

log = structlog.get_logger(__name__)

_SERVER: Final = "app-server"
"""The witness."""
_RETRY: Final = (0.1, 0.1, 0.2, 0.2, 0.4, 1.0, 2.0, 5.0)
"""Seconds between attempts to connect, the last again and again: a start takes 0.3 s, loaded 5."""
_PATIENCE: Final = 6
"""Attempts before the rollout file is read instead."""
_LAST_ATTEMPT: Final = 20
"""Attempts, in some 70 s, before a server that was never there is given up: Codex was launched without."""
_HEAR_AGAIN: Final = (0.02, 0.05, 0.1, 0.5, 2.0)
"""Seconds before a thread is asked for again whose file is just being made, the last again and again."""
_MOST_THREADS: Final = 20
_PAGE: Final = {"limit": 3, "sortDirection": "desc", "itemsView": "summary"}
"""What of a thread's turns is asked for: the ends of the last, of each what was said first and last."""


@dataclass(slots=True)
class ServerWatch:
    """A run of Codex."""

    run_: LiveRun
    voice: Voice
    ground: Ground
    _rollout: RolloutWatch
    _reader: Reader = field(init=False)
    _connection: Connection | None = None
    _reading: asyncio.Task[None] | None = None
    """Of the rollout file, while there is no server."""
    _asks: set[asyncio.Task[None]] = field(default_factory=set)
    _told: tuple[Activity, str] | None = None
    _asking: set[str] = field(default_factory=set)
    """Threads that are being asked for."""

    def __post_init__(self) -> None:
        """Begin with nothing heard."""
        self._reader = Reader(self.ground.wall())

    async def run(self) -> None:
        """Follow the server, over its reconnections."""
        path, failures, met = Path(self.run_.memo[SERVER]), 0, False
        try:
            while met or failures < _LAST_ATTEMPT:
                try:
                    async with connect(path, self.run_, self.ground) as connection:
                        await self._read_no_more()
                        failures, met = 0, True
                        await self._follow(connection)
                    reason = "it ended the connection"
                except (OSError, TurnsError) as error:
                    reason = str(error)
                log.debug("codex_not_heard", agent=self.run_.facts.agent, reason=reason)
                failures += 1
                if failures == _PATIENCE and self._reading is None:
                    self._reading = asyncio.get_running_loop().create_task(self._rollout.run(), name="rollout")
                await self._pause(_RETRY[min(failures, len(_RETRY)) - 1])
            if self._reading is not None:
                await self._reading
        finally:
            await self._read_no_more()

    async def _pause(self, seconds: float) -> None:
        """Wait, or fail as the reading of the file does."""
        if self._reading is None:
            await asyncio.sleep(seconds)
            return
        await asyncio.wait([self._reading], timeout=seconds)
        if self._reading.done():
            await self._reading

    async def _read_no_more(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
            self._rollout.silence()

    async def _follow(self, connection: Connection) -> None:
        try:
            self._connection = connection
            self._ask(self._find_threads(connection))
            async for message in connection.messages():
                self._take(connection, message)
        finally:
            self._connection = None
            for task in self._asks:
                task.cancel()
            self._asking.clear()
            self._reader.disconnected()
            self._told = None
            self.voice.seen(_SERVER, None)

    def _ask(self, work: Awaitable[None]) -> None:
        task = asyncio.get_running_loop().create_task(_quietly(work, self.run_.facts.agent), name="codex asks")
        self._asks.add(task)
        task.add_done_callback(self._asks.discard)

    async def _find_threads(self, connection: Connection) -> None:
        """Learn which threads there are already: the terminal program may have been quicker."""
        found = (await connection.ask("thread/loaded/list", {})).get("data")
        names = [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
        threads = [await self._look_up(connection, name) for name in names[:_MOST_THREADS]]
        for thread in sorted(threads, key=lambda thread: number(thread, "recencyAt")):
            self._reader.loaded(thread)
        self._after(connection)

    @staticmethod
    async def _look_up(connection: Connection, name: str) -> Message:
        return mapping(await connection.ask("thread/read", {"threadId": name, "includeTurns": False}), "thread")

    async def _meet(self, connection: Connection, name: str) -> None:
        """Learn of a thread that was gone back to."""
        self._reader.loaded(await self._look_up(connection, name))
        self._after(connection)

    def _take(self, connection: Connection, message: Message) -> None:
        method, said = text(message, "method"), mapping(message, "params")
        if method == "account/rateLimits/updated":
            self.voice.quota(_SERVER, windows(mapping(said, "rateLimits")))
        events = (
            self._reader.request(message["id"], method, said) if "id" in message else self._reader.read(method, said)
        )
        for event in events:
            self.voice.event(event)
        name = text(said, "threadId")
        if method == "thread/status/changed" and not self._reader.is_known(name) and name not in self._asking:
            self._ask(self._meet(connection, name))
        self._after(connection)

    def _after(self, connection: Connection) -> None:
        """Tell what changed, and hear of threads in which something happens now."""
        if self._reader.current is not None:
            self.voice.identified(self._reader.current)
        doing = self._reader.doing
        if doing != self._told:
            self._told = doing
            self.voice.seen(_SERVER, None if doing is None else Seen(doing[0], self.ground.wall(), doing[1]))
        for name, thread in self._reader.threads.items():
            if not thread.heard and not thread.refused and name not in self._asking:
                self._asking.add(name)
                self._ask(self._hear(connection, name))

    async def _hear(self, connection: Connection, name: str) -> None:
        """Have the server tell of a thread; it refuses until the first message was taken."""
        params = {"threadId": name, "excludeTurns": True, "initialTurnsPage": _PAGE}
        await connection.request("thread/resume", params, partial(self._heard, connection, name))

    def _heard(self, connection: Connection, name: str, said: Message) -> None:
        self._asking.discard(name)
        thread = self._reader.threads.get(name)
        if thread is None or connection is not self._connection:
            return
        if "result" not in said:
            thread.refused += 1
            if text(thread.status, "type") == "active":
                self._ask(self._hear_again(connection, name, thread))
            return
        turn = self.voice.conversation.turn
        for event in self._reader.caught_up(name, mapping(said, "result"), None if turn is None else turn.id):
            self.voice.event(event)
        self._after(connection)

    async def _hear_again(self, connection: Connection, name: str, thread: Thread) -> None:
        """Ask again for a thread whose file is just being made."""
        await asyncio.sleep(_HEAR_AGAIN[min(thread.refused, len(_HEAR_AGAIN)) - 1])
        if not thread.heard and name not in self._asking:
            self._asking.add(name)
            await self._hear(connection, name)

    async def hook(self, hook: Hook) -> bytes | None:  # noqa: ARG002 (the protocol's)
        """Codex has no hooks of ours."""
        return None

    async def recall(self, text: str, since: float) -> None:  # noqa: ARG002 (all turns since then are told)
        """Have the server report, once it answers, what began while no agentd listened."""
        self._reader.since = min(self._reader.since, since - CLOCKS)

    async def hindrance(self, *, returned: str | None) -> str | None:
        """Say whether it has a conversation, and no turn; what stands in the terminal's box is not touched."""
        if self._connection is None:
            return await self._rollout.hindrance(returned=returned)
        doing = self._reader.doing
        if self._reader.current is None or doing is None:
            return "it has no conversation yet"
        return None if self._reader.turn is None and doing[0] is Activity.IDLE else "it is busy"

    @property
    def witnesses(self) -> Witnesses:
        """Who says what became of a message."""
        return self._rollout.witnesses if self._connection is None else Witnesses(_SERVER, _SERVER)

    @property
    def granularity(self) -> Granularity:
        """In what pieces text comes: in smaller ones than the file's."""
        return self._rollout.granularity if self._connection is None else Granularity.TOKEN

    async def deliver(self, text: str) -> None:
        """Begin a turn with a message; while one is under way, it would be lost in that."""
        connection = self._connection
        if connection is None:
            await self._rollout.deliver(text)
            return
        reason = await self.hindrance(returned=None)
        if reason is not None:
            raise NotNowError(f"{self.run_.facts.agent} cannot take a message: {reason}")
        params = {"threadId": self._reader.current, "input": [{"type": "text", "text": text}]}
        await connection.ask("turn/start", params)

    async def go_on(self) -> bool:
        """Leave it to a message, which needs no box where the server takes it."""
        return False if self._connection is not None else await self._rollout.go_on()

    async def answer(self, request: Request, answer: Answer) -> None:
        """Answer the server."""
        if self._connection is None:
            await self._rollout.answer(request, answer)
            return
        asked = self._reader.asked.get(request.id)
        if asked is None:
            raise TurnsError("the request is decided already")
        result = reply(asked, answer)
        self._reader.decided.add(request.id)
        await self._connection.send({"id": asked.identity, "result": result})

    async def interrupt(self) -> None:
        """Have the server interrupt the turn."""
        connection, turn = self._connection, self._reader.turn
        if connection is None or turn is None:
            await self._rollout.interrupt()
            return
        await connection.ask("turn/interrupt", {"threadId": self._reader.current, "turnId": turn})

    async def read_rest(self) -> None:
        """Read its file to the end, where that tells."""
        if self._connection is None:
            await self._rollout.read_rest()

    async def at_exit(self, *, succeeded: bool) -> Ended | None:  # noqa: ARG002 (the protocol's)
        """A program that stays ends its turns by its own word."""
        return None


async def _quietly(work: Awaitable[None], agent: str) -> None:
    """Ask something that the server may refuse, or take no answer to."""
    try:
        await work
    except TurnsError as error:
        log.debug("codex_not_asked", agent=agent, reason=str(error))
