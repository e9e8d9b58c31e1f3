"""One long-lived control-mode client: commands are pipelined over its pipe, with no fork and no argv.

Measured with tmux 3.3a: a session is made in 2.6 ms and 1000 panes are listed in 7 ms over the pipe; one fork of
``tmux`` per command costs 3-11 ms and grows with the number of sessions.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import structlog

from agentd.tmux.errors import (
    TmuxError,
    TmuxGreetingError,
    TmuxHungUpError,
    TmuxStartError,
    TmuxUnreachableError,
)
from agentd.tmux.protocol import FROM_THIS_CLIENT, ControlParser, Notification, ProtocolError, Reply
from agentd.tmux.syntax import sequence

log = structlog.get_logger(__name__)

ANSWER_LIMIT = 30.0
"""Seconds without an answer after which the server counts as unreachable."""

_STDERR_KEPT = 2000
_LEAVE_LIMIT = 1.0
"""Seconds that the client has to end by itself; it cannot while the server does not answer."""


@dataclass(frozen=True, slots=True)
class ClientCommand:
    """How the control client is started."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    user: int | None = None
    """Numeric user to become, ``None`` to stay."""
    group: int | None = None
    extra_groups: tuple[int, ...] | None = None
    cwd: str = "/"


@dataclass(slots=True)
class _Request:
    answers: int
    """That are to come."""
    answered: asyncio.Future[list[tuple[str, ...]]]
    lines: list[tuple[str, ...]] = field(default_factory=list)


class _Client(asyncio.SubprocessProtocol):
    """Bytes of the client process, handed on as they come."""

    def __init__(self, connection: ControlConnection) -> None:
        self._connection = connection

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 1:
            self._connection.received(data)
        else:
            self._connection.complained(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        if fd == 1:
            self._connection.hung_up()

    def process_exited(self) -> None:
        self._connection.exited()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        self._connection.left()


_FLUSH_AT = 16
"""Requests that are sent without waiting for more; more at once would cost tmux no less."""


class ControlConnection:
    """A connected control-mode client.

    Parameters
    ----------
    on_notification
        Called for each notification, in the event loop.
    answer_limit
        Seconds without an answer after which the server counts as unreachable.
    """

    def __init__(self, on_notification: Callable[[Notification], None], answer_limit: float = ANSWER_LIMIT) -> None:
        loop = asyncio.get_running_loop()
        self._on_notification = on_notification
        self._answer_limit = answer_limit
        self._parser = ControlParser()
        self._waiting: deque[_Request] = deque()
        self._unsent: list[bytes] = []
        self._transport: asyncio.SubprocessTransport | None = None
        self._stderr = b""
        self._said_why = ""
        self._exited = asyncio.Event()
        self._left = asyncio.Event()
        self._greeted: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[str] = loop.create_future()
        """Done when the connection ended, with the reason."""

    @classmethod
    async def open(
        cls,
        client: ClientCommand,
        on_notification: Callable[[Notification], None],
        answer_limit: float = ANSWER_LIMIT,
        greeting_limit: float = ANSWER_LIMIT,
    ) -> ControlConnection:
        """Start the client and wait until the server has greeted it.

        Raises
        ------
        TmuxStartError
            If the client cannot be started, or the server does not greet it; `TmuxHungUpError` if one of them ends.
        """
        connection = cls(on_notification, answer_limit)
        starting = asyncio.create_task(connection._start(client))
        try:
            # Shielded: asyncio waits for ever for a process whose start was cancelled (seen with Python 3.11).
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.wait([starting])
            await connection.close()
            raise
        try:
            async with asyncio.timeout(greeting_limit):
                await connection._greeted
        except TimeoutError:
            await connection.close()
            raise TmuxGreetingError(f"the tmux server did not answer within {greeting_limit:g} s") from None
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _start(self, client: ClientCommand) -> None:
        try:
            self._transport, _ = await asyncio.get_running_loop().subprocess_exec(
                lambda: _Client(self),
                *client.argv,
                env=dict(client.environment),
                cwd=client.cwd,
                user=client.user,
                group=client.group,
                extra_groups=client.extra_groups,
                # Terminal signals for agentd (C-c in its terminal) are not for the connection it needs to stop agents.
                start_new_session=True,
            )
        except OSError as error:
            raise TmuxStartError(f"cannot start {client.argv[0]}: {error.strerror}") from error

    @property
    def pid(self) -> int:
        """The client's process."""
        assert self._transport is not None
        return self._transport.get_pid() or 0

    async def run(self, *commands: str, more: int = 0) -> list[tuple[str, ...]]:
        """Execute commands in one go and return the lines each printed.

        Parameters
        ----------
        more
            Answers that come beside those to the commands themselves: ``if-shell`` executes others.

        Raises
        ------
        TmuxError
            If one was refused; those after it were not executed.
        TmuxUnreachableError
            If the connection ended, or tmux did not answer in time; whether it acted is then unknown.
        """
        request = self._send(commands, more)
        try:
            async with asyncio.timeout(self._answer_limit):
                return await request.answered
        except TimeoutError:
            self.ended(f"tmux did not answer within {self._answer_limit:g} s")
            raise TmuxUnreachableError(f"tmux did not answer within {self._answer_limit:g} s") from None

    def _send(self, commands: Sequence[str], more: int) -> _Request:
        if self.closed.done() or self._transport is None:
            raise TmuxUnreachableError("the control connection is closed")
        assert commands, "an empty line makes tmux detach"
        loop = asyncio.get_running_loop()
        request = _Request(len(commands) + more, loop.create_future())
        self._waiting.append(request)
        if not self._unsent:
            # One write for all that a turn of the event loop sends: for 300 sessions tmux then needs 0.25 s of CPU
            # instead of 0.45 s, since it wakes up, flushes and notifies once for many commands.
            loop.call_soon(self._flush)
        self._unsent.append(sequence(commands).encode("utf-8", "surrogateescape") + b"\n")
        if len(self._unsent) >= _FLUSH_AT:
            # tmux works on these while the next ones are being prepared.
            self._flush()
        return request

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if not unsent or self.closed.done() or self._transport is None:
            return
        pipe = cast("asyncio.WriteTransport", self._transport.get_pipe_transport(0))
        pipe.write(b"".join(unsent))

    def received(self, data: bytes) -> None:
        """Take output of the client."""
        try:
            items = self._parser.feed(data)
        except ProtocolError as error:
            self.ended(f"tmux broke its protocol: {error}")
            return
        for item in items:
            if isinstance(item, Reply):
                self._answered(item)
                continue
            if item.name == "exit":
                self._said_why = item.rest
            self._on_notification(item)

    def complained(self, data: bytes) -> None:
        """Take the client's error output, kept for the reason when it ends."""
        self._stderr = (self._stderr + data)[-_STDERR_KEPT:]

    def _answered(self, reply: Reply) -> None:
        if not reply.flags & FROM_THIS_CLIENT:
            # The answer to the client's own command line: the session it attaches to exists now.
            if self._greeted.done():
                return
            if reply.ok:
                self._greeted.set_result(None)
            else:
                self._greeted.set_exception(TmuxGreetingError(f"tmux: {reply.text}"))
            return
        if not self._waiting:
            log.warning("tmux_unexpected_answer", answer=reply.text[:200])
            return
        request = self._waiting[0]
        request.lines.append(reply.lines)
        if reply.ok and len(request.lines) < request.answers:
            return
        self._waiting.popleft()
        if request.answered.done():
            return
        if reply.ok:
            request.answered.set_result(request.lines)
        else:
            request.answered.set_exception(TmuxError(reply.text))

    def hung_up(self) -> None:
        """The client's output ended."""
        if self._greeted.done():
            self.ended("tmux closed the control connection")
            return
        # Before the greeting the client's error output, which says why, may still be on its way: `left` follows, unless
        # the client hangs.
        asyncio.get_running_loop().call_later(_LEAVE_LIMIT, self.ended, "tmux closed the control connection")

    def exited(self) -> None:
        """The client ended; what it printed last may still be on its way."""
        self._exited.set()
        self.hung_up()

    def left(self) -> None:
        """The client is gone, and all it had to say was read."""
        self._left.set()
        self.ended("the tmux control client ended")

    def ended(self, reason: str) -> None:
        """Fail everything that waits; called once the connection has ended."""
        if self.closed.done():
            return
        complaint = self._stderr.decode("utf-8", "replace").strip() or self._said_why
        if complaint:
            reason = f"{reason}: {complaint}"
        self.closed.set_result(reason)
        if not self._greeted.done():
            self._greeted.set_exception(TmuxHungUpError(reason))
            self._greeted.exception()
        while self._waiting:
            request = self._waiting.popleft()
            if not request.answered.done():
                request.answered.set_exception(TmuxUnreachableError(reason))
        if self._transport is not None and self._transport.get_returncode() is None:
            pipe = self._transport.get_pipe_transport(0)
            if pipe is not None:
                pipe.close()

    async def close(self) -> None:
        """End the client; sessions stay."""
        self.ended("agentd closed the control connection")
        transport = self._transport
        if transport is None:
            return
        # Not asyncio.timeout: in a cancelled task that of Python 3.11.2 ends with a cancellation (3.11.7: not).
        exited = asyncio.create_task(self._exited.wait(), name="end of a tmux client")
        try:
            await asyncio.wait([exited], timeout=_LEAVE_LIMIT)
            if not exited.done():
                log.warning("tmux_client_killed", pid=transport.get_pid())
                # Not by the transport, which would reap the process and confuse asyncio's own waiting for it.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(transport.get_pid(), signal.SIGKILL)
                await exited
        finally:
            exited.cancel()
        # A client hands its pipes to the server, so they may outlive it: closed from this end.
        transport.close()
        await self._left.wait()
