"""Agents' terminals, for those who talk to agents: through the daemon's own connection to tmux."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from agentd.process.waiting import waits_for_input
from agentd.supervise.host import Host
from agentd.supervise.run_watcher import StartedRun
from agentd.text.quoting import quote
from agentd.tmux.agent_input import AgentInput, SenderLock
from agentd.tmux.errors import TmuxError, TmuxUnreachableError
from agentd.tmux.panes import Pane
from agentd.turns.adapter import NotNowError, RefusedError, TurnsError, Typed
from agentd.turns.sending import (
    LOOK_AFTER,
    Do,
    GoneError,
    LongLineError,
    NoBoxError,
    NotReadError,
    NotShownError,
    NotTakenError,
    Paste,
    PasteAndEnter,
    Reply,
    Screen,
    Sending,
    SendingError,
    Step,
    Wait,
)

_TMUX_LIMIT = 2.0
"""Seconds for one question to tmux."""

_LOCK_LIMIT = 2.0
"""Seconds to wait for another sender."""

_SENT_LIMIT = 10.0
"""Seconds for the box to show the message, and again for the agent to take it."""


@dataclass(frozen=True, slots=True)
class PaneTerminal:
    """The terminal of a run; gone with its pane."""

    host: Host
    run: StartedRun

    async def press(self, key: str) -> None:
        """Press a key."""
        pane = self._pane()
        async with self._asked(f"press {key} for"):
            refused = await self.host.tmux.press(pane, key)
        if refused is not None:
            raise NotNowError(f"nothing was pressed for {self.run.agent}: {refused}")

    async def show(self) -> str:
        """What it shows now."""
        pane = self._pane()
        async with self._asked("show the screen of"):
            screen = await self.host.tmux.show(pane, styled=True)
        return "\n".join(screen.rows)

    async def look(self) -> Screen:
        """The screen around the cursor."""
        pane = self._pane()
        async with self._asked("show the screen of"):
            shown = await self.host.tmux.show(pane, styled=False)
        return Screen.of(tuple(shown.rows), *shown.cursor)

    async def waits(self) -> bool | None:
        """Whether the agent's program waits for input at it; ``None`` if that cannot be told."""
        pane = self._pane()
        async with self._asked("name the terminal of"):
            path = await self.host.tmux.terminal_of(pane)
        try:
            return await asyncio.to_thread(waits_for_input, self.run.process.pid, Path(path))
        except OSError:
            return None

    async def send(self, typed: Typed) -> None:
        """Type a message, and press Enter."""
        pane = self._pane()
        async with self._asked("name the terminal of"):
            path = await self.host.tmux.terminal_of(pane)
        # It cannot hang: it is a terminal of this machine.
        own = await asyncio.to_thread(AgentInput.open, path, self.host.user.uid)
        try:
            lock = await asyncio.to_thread(SenderLock, self.host.tmux.socket, own)
            try:
                sending = Sending(
                    text=typed.text,
                    enter=True,
                    empty_box=typed.empty_box,
                    unfinished=typed.unfinished,
                    box_limit=0.0,
                    limit=_SENT_LIMIT,
                    reads_lines=own is not None and own.reads_lines,
                    at_once=True,
                )
                await _Typing(self, typed, own, lock).do(sending)
            finally:
                lock.release()
        except OSError as error:
            raise NotNowError(f"it cannot be locked for one sender: {error.strerror}") from error
        except SendingError as error:
            _explain(error)
        finally:
            if own is not None:
                own.close()

    async def paste(self, text: str, *, enter: bool) -> None:
        """Paste a text, bracketed if the program asked for that, and perhaps press Enter behind it."""
        pane, runtime = self._pane(), self.host.runtime
        try:
            path = await asyncio.to_thread(runtime.write_paste, self.run.run_id, text.encode())
        except OSError as error:
            raise NotNowError(f"nothing was typed for {self.run.agent}: {error.strerror}") from error
        try:
            async with self._asked("paste for"):
                refused = await self.host.tmux.paste(pane, path, enter=enter)
        finally:
            runtime.remove_paste(self.run.run_id)
        if refused is not None:
            raise NotNowError(f"nothing was typed for {self.run.agent}: {refused}")

    @contextlib.asynccontextmanager
    async def _asked(self, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(_TMUX_LIMIT):
                yield
        except (TmuxError, TmuxUnreachableError) as error:
            raise TurnsError(f"tmux did not {what} {self.run.agent}: {error}") from error
        except TimeoutError as error:
            raise TurnsError(f"tmux did not {what} {self.run.agent} within {_TMUX_LIMIT:g} s") from error

    def _pane(self) -> Pane:
        if self.run.pane is None:
            raise RefusedError(f"{self.run.agent} has no terminal")
        return self.run.pane


@dataclass(frozen=True, slots=True)
class _Typing:
    """One message being typed."""

    terminal: PaneTerminal
    typed: Typed
    own: AgentInput | None
    lock: SenderLock

    async def do(self, sending: Sending) -> None:
        steps = sending.steps()
        step = next(steps)
        with contextlib.suppress(StopIteration):
            while True:
                try:
                    reply = await self._step(step)
                except GoneError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(reply)

    async def _step(self, step: Step) -> Reply:
        screen = await self.terminal.look() if step is Do.LOOK else None
        unread = self.own.unread if step is Do.UNREAD and self.own is not None else None
        match step:
            case Paste(text) | PasteAndEnter(text):
                await self.terminal.paste(text, enter=isinstance(step, PasteAndEnter))
            case Wait(seconds):
                await asyncio.sleep(seconds)
            case Do.LOCK:
                await self._take_lock()
            case Do.ENTER:
                await self._enter()
            case Do.CHECK if not self.terminal.run.process.alive():
                raise GoneError(f"{self.terminal.run.agent} has ended")
            case Do.DISCARD if self.own is not None:
                self.own.discard()
            case _:
                pass
        return Reply(time.monotonic(), screen, unread, self.typed.recorded())

    async def _enter(self) -> None:
        try:
            await self.terminal.press("Enter")
        except NotNowError as error:
            raise TurnsError(f"it was pasted, and Enter not pressed: {error}") from error

    async def _take_lock(self) -> None:
        end = time.monotonic() + _LOCK_LIMIT
        while not self.lock.take():
            if time.monotonic() >= end:
                raise NotNowError("somebody else is sending to it")
            await asyncio.sleep(LOOK_AFTER)


def _explain(error: SendingError) -> None:
    """Say what became of a message that was not sent, or not seen to be taken.

    Raises
    ------
    TurnsError
        Unless its record is to tell.
    """
    match error:
        case NoBoxError():
            raise NotNowError(f"its input box is not there, or not empty: there stands {quote(str(error))}") from error
        case GoneError():
            raise NotNowError(str(error)) from error
        case LongLineError():
            raise RefusedError(f"a line of it has {error} bytes, more than its terminal takes") from error
        case NotReadError():
            raise RefusedError("it did not read its terminal: what it had not read was discarded") from error
        case NotTakenError() | NotShownError():
            # Whether it was taken after all, its record tells.
            return
        case _:
            raise TurnsError(f"it was pasted, and its input box did not show it within {_SENT_LIMIT:g} s") from error
