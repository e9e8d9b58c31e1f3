"""The renderer's composition: the agent, the terminal, agentd; and its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from agentd.acp.display import Display
from agentd.acp.line import Action, Choose, Interrupt, Leave, Submit
from agentd.acp.link import Link
from agentd.acp.outbox import JsonObject, Outbox
from agentd.acp.rpc import GoneError
from agentd.acp.screen import RED
from agentd.acp.session import Session, StartError
from agentd.harness.acp import RESUME_VARIABLE, split_argv
from agentd.harness.additions import HOOK_VARIABLE
from agentd.model.spec import RUN_ID_VARIABLE
from agentd.turns.events import TurnEvent

_LEAVE: Final = "/exit"
_AGAIN: Final = 2.0
"""Seconds in which a second C-c leaves."""
_PATIENCE: Final = 1.0
"""Seconds for the agent to end, before SIGTERM and again before SIGKILL."""
_LAST_WORDS: Final = 2.0
"""Seconds in which agentd is told of the end."""
_SIGNALLED: Final = 128

_USAGE: Final = "usage: python -m agentd.acp COMMAND... MESSAGE, at a terminal; MESSAGE may be empty\n"


class Program:
    """The parts, and what people and agentd want of them.

    Parameters
    ----------
    run
        Id of the run.
    hook
        Path of agentd's socket, if there is one.
    """

    def __init__(self, run: str, hook: str | None) -> None:
        self.left = asyncio.Event()
        self.display = Display(sys.stdin.fileno(), sys.stdout.fileno(), self.act, lambda: self.session.asks)
        self.session = Session(run, self.display, self)
        self.outbox = Outbox()
        self.link = None if hook is None else Link(hook, self.outbox, self.take)
        self._armed = float("-inf")
        """When C-c was last pressed with nothing to interrupt."""

    def identified(self, session: str) -> None:
        """Tell agentd of the session."""
        self.outbox.conversation = session
        self._nudge()

    def event(self, event: TurnEvent) -> None:
        """Tell agentd."""
        if self.link is not None:
            self.outbox.put(event)
            self._nudge()

    def _nudge(self) -> None:
        if self.link is not None:
            self.link.nudge()

    def act(self, action: Action) -> None:
        """Take what a person does."""
        match action:
            case Submit(text):
                if text.strip() == _LEAVE:
                    self.left.set()
                else:
                    self.session.message(text)
            case Choose(number):
                self.session.choose(number)
            case Interrupt():
                self._interrupt()
            case Leave():
                self.left.set()

    def _interrupt(self) -> None:
        if self.session.interrupt():
            return
        now = asyncio.get_running_loop().time()
        if now - self._armed < _AGAIN:
            self.left.set()
        self._armed = now
        self.session.say_status("C-c again leaves")

    def take(self, wish: JsonObject) -> None:
        """Take what agentd wants."""
        message, answer = wish.get("message"), wish.get("answer")
        if isinstance(message, str):
            self.session.message(message)
        elif wish.get("interrupt") is True:
            self.session.interrupt()
        elif isinstance(answer, dict):
            request, decision, words = (str(answer.get(name) or "") for name in ("request", "decision", "text"))
            self.outbox.answered(request, self.session.answer(request, decision, words))
            self._nudge()


async def _run(argv: Sequence[str]) -> int:
    command, first = split_argv(argv)
    environment = dict(os.environ)
    hook, former = environment.pop(HOOK_VARIABLE, None), environment.pop(RESUME_VARIABLE, None)
    program = Program(environment.get(RUN_ID_VARIABLE) or str(os.getpid()), hook)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, program.left.set)
    program.display.open()
    try:
        return await _converse(program, command, first, environment, former)
    finally:
        program.display.close()


async def _converse(
    program: Program, command: Sequence[str], first: str, environment: dict[str, str], former: str | None
) -> int:
    session, link = program.session, program.link
    try:
        await session.agent.start(command, environment)
    except OSError as error:
        program.display.row(f"{command[0]} cannot be executed: {error.strerror}", RED)
        return 127
    tasks: list[asyncio.Task[object]] = [asyncio.create_task(session.agent.read(), name="agent")]
    leaving = asyncio.create_task(program.left.wait(), name="leaving")
    course = asyncio.create_task(_course(program, first, former), name="course")
    tasks += [leaving, course]
    if link is not None:
        tasks += [asyncio.create_task(link.tell(), name="tell"), asyncio.create_task(link.listen(), name="listen")]
    failed = False
    try:
        await asyncio.wait([leaving, course], return_when=asyncio.FIRST_COMPLETED)
        if course.done():
            try:
                course.result()
            except StartError as error:
                program.display.row(str(error), RED)
                failed = True
            except GoneError:
                pass
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    status = await session.agent.end(_PATIENCE)
    if link is not None:
        await link.last_words(_LAST_WORDS)
    if leaving.done() and not leaving.cancelled():
        return 0
    if failed and status == 0:
        return 1
    return status if status >= 0 else _SIGNALLED - status


async def _course(program: Program, first: str, former: str | None) -> None:
    await program.session.open(Path.cwd(), former)
    if first:
        program.session.message(first)
    await program.session.converse()


def main(argv: Sequence[str]) -> int:
    """Run the renderer; gives the exit status: the agent's, or 0 if somebody left."""
    if len(argv) < 2 or not sys.stdin.isatty() or not sys.stdout.isatty():  # noqa: PLR2004 (a command and a message)
        sys.stderr.write(_USAGE)
        return 2
    with contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(_run(argv))
    return 1
