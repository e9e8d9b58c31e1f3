"""JSON-RPC 2.0 with the agent's process, by its standard input and output: one message a line.

What it prints is not trusted: a line may be of any length, no JSON, or no message.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

JsonObject = dict[str, object]

_LONGEST_LINE: Final = 16 << 20
"""Bytes; a longer line is passed over."""

_LAST_WORDS: Final = 0.5
"""Seconds in which what it printed last is still read."""

METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602


class RpcError(Exception):
    """The agent answered with an error."""

    def __init__(self, error: Mapping[str, object]) -> None:
        message = error.get("message")
        super().__init__(message if isinstance(message, str) else "an error without a message")
        code, data = error.get("code"), error.get("data")
        self.code = code if isinstance(code, int) and not isinstance(code, bool) else 0
        self.data: Mapping[str, object] = data if isinstance(data, dict) else {}


class GoneError(Exception):
    """The agent's process has ended, or closed its output."""


@dataclass(slots=True)
class Handlers:
    """Who takes what the agent says."""

    request: Callable[[object, str, JsonObject], None]
    """Its id, method and parameters; answered by `Agent.answer` or `Agent.refuse`."""
    notification: Callable[[str, JsonObject], None]
    noise: Callable[[str], None]
    """A line that is no message: of its output, or its standard error."""


@dataclass(slots=True)
class Agent:
    """The agent's process."""

    handlers: Handlers
    _process: asyncio.subprocess.Process | None = None
    _waiting: dict[int, asyncio.Future[object]] = field(default_factory=dict)
    _last: int = 0
    _gone: bool = False

    async def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it, away from our terminal.

        Raises
        ------
        OSError
            If it cannot be executed.
        """
        pipe = asyncio.subprocess.PIPE
        # In a session of its own it cannot open our terminal, and no key of ours is a signal to it.
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, start_new_session=True
        )

    async def read(self) -> None:
        """Take what it says until it ends, or closes its output."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        assert process.stderr is not None
        said = asyncio.create_task(_lines(process.stdout, self._take), name="output")
        others = [
            asyncio.create_task(_lines(process.stderr, self._complaint), name="complaints"),
            asyncio.create_task(process.wait(), name="end"),
        ]
        try:
            # What it started may hold its pipes open for long after its end.
            await asyncio.wait([said, others[1]], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait([said, *others], timeout=_LAST_WORDS)
        finally:
            for task in (said, *others):
                task.cancel()
            self._gone = True
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(GoneError())
            self._waiting.clear()

    async def wait(self) -> int:
        """Wait for its end; gives the exit status, negative for a signal."""
        assert self._process is not None
        return await self._process.wait()

    async def end(self, patience: float) -> int:
        """End it: its input ends, then SIGTERM and SIGKILL to all of its group.

        Parameters
        ----------
        patience
            Seconds before each of the two.
        """
        process = self._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    return await process.wait()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        return await process.wait()

    async def call(self, method: str, params: JsonObject) -> JsonObject:
        """Ask, and wait for the answer for as long as it takes.

        Raises
        ------
        RpcError
            If the answer is an error.
        GoneError
            If there will be none.
        """
        if self._gone:
            raise GoneError
        self._last += 1
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._waiting[self._last] = future
        self._send({"id": self._last, "method": method, "params": params})
        found = await future
        return found if isinstance(found, dict) else {}

    def notify(self, method: str, params: JsonObject) -> None:
        """Tell it something."""
        self._send({"method": method, "params": params})

    def answer(self, request: object, result: JsonObject) -> None:
        """Answer a request of it."""
        self._send({"id": request, "result": result})

    def refuse(self, request: object, code: int, message: str) -> None:
        """Answer a request of it with an error."""
        self._send({"id": request, "error": {"code": code, "message": message}})

    def _send(self, message: JsonObject) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        # ASCII: a lone surrogate from an agent's own text can be sent back.
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def _take(self, line: bytes) -> None:
        try:
            message: object = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            self.handlers.noise(line.decode("utf-8", "replace"))
            return
        method, params = message.get("method"), message.get("params")
        given: JsonObject = params if isinstance(params, dict) else {}
        if isinstance(method, str):
            if "id" in message:
                self.handlers.request(message["id"], method, given)
            else:
                self.handlers.notification(method, given)
            return
        number = message.get("id")
        future = self._waiting.pop(number, None) if isinstance(number, int) else None
        if future is None or future.done():
            return
        error = message.get("error")
        if isinstance(error, dict):
            future.set_exception(RpcError(error))
        else:
            future.set_result(message.get("result"))

    def _complaint(self, line: bytes) -> None:
        self.handlers.noise(line.decode("utf-8", "replace"))


async def _lines(stream: asyncio.StreamReader, take: Callable[[bytes], None]) -> None:
    kept, skipping = bytearray(), False
    while piece := await stream.read(1 << 16):
        *ends, rest = piece.split(b"\n")
        for end in ends:
            kept += end
            if not skipping and kept.strip():
                take(bytes(kept))
            kept.clear()
            skipping = False
        kept += rest
        if len(kept) > _LONGEST_LINE:
            kept.clear()
            skipping = True
        # A flood lets the keyboard and the daemon go first.
        await asyncio.sleep(0)
