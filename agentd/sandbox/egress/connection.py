"""agentd's connection to the proxy, which it starts where there is none."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import structlog

from agentd.files.permissions import is_private
from agentd.model.user import AgentUser
from agentd.sandbox.egress.control import LONGEST_LINE, End, Serve
from agentd.sandbox.support import SandboxError

log = structlog.get_logger(__name__)

SOCKET: Final = "control.sock"
_PROCESS: Final = "agentd.sandbox.egress.process"
_START_LIMIT: Final = 15.0
"""Seconds for the proxy to start; it needs 0.2."""
_ANSWER_LIMIT: Final = 5.0
_END_LIMIT: Final = 2.0
"""Seconds for the proxy to end; it needs 0.01."""
_BACKLOG: Final = 8
_PASSED_ON: Final = ("PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "NIX_SSL_CERT_FILE", "RES_OPTIONS")


class Connection:
    """Speaks to the proxy; one order at a time.

    Parameters
    ----------
    user
        Whom the proxy runs as.
    environ
        agentd's environment.
    folder
        Of agentd's own: where the control socket is.
    runtime
        The runtime directory.
    on_ended
        Told that the proxy serves a run no longer; ``None`` for all, when it is gone.
    """

    def __init__(
        self,
        user: AgentUser,
        environ: Mapping[str, str],
        folder: Path,
        runtime: Path,
        on_ended: Callable[[str | None], None],
    ) -> None:
        self._user = user
        self._environment = {name: environ[name] for name in _PASSED_ON if name in environ}
        # Some installations find their packages by a wrapper of the program alone.
        self._environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if Path(path).is_absolute())
        self._folder = folder
        self._runtime = runtime
        self._on_ended = on_ended
        self._lock = asyncio.Lock()
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self._answer: asyncio.Future[str | None] | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a proxy, as far as is known."""
        return self._writer is not None

    async def say(self, order: Serve | End) -> None:
        """Have the proxy do something.

        Raises
        ------
        SandboxError
            If it cannot, or cannot be started.
        """
        async with self._lock:
            known = self.connected
            try:
                problem = await self._exchange(order)
            except ConnectionError as error:
                if not known:
                    raise SandboxError(f"the network proxy has ended: {error}") from error
                # It ended with the last run, just before this one.
                problem = await self._exchange_again(order)
        if problem is not None:
            raise SandboxError(f"the network proxy cannot serve it: {problem}")

    async def _exchange_again(self, order: Serve | End) -> str | None:
        try:
            return await self._exchange(order)
        except ConnectionError as error:
            raise SandboxError(f"the network proxy has ended: {error}") from error

    async def _exchange(self, order: Serve | End) -> str | None:
        if self._writer is None:
            await self._connect()
        assert self._writer is not None
        self._answer = asyncio.get_running_loop().create_future()
        answered = False
        try:
            self._writer.write(order.dump())
            await self._writer.drain()
            problem = await asyncio.wait_for(self._answer, _ANSWER_LIMIT)
            answered = True
        except TimeoutError:
            raise SandboxError(f"the network proxy did not answer within {_ANSWER_LIMIT:g} s") from None
        finally:
            self._answer = None
            if not answered:
                # An answer that comes later would be taken for that to the next order.
                self._lost()
        return problem

    async def close(self, *, ending: bool = False) -> None:
        """Let go of the proxy, which ends with its last run.

        Parameters
        ----------
        ending
            Whether there is no run any more: its end is waited for.
        """
        async with self._lock:
            if ending and self._writer is not None and self._listening is not None:
                self._writer.write_eof()
                await asyncio.wait([self._listening], timeout=_END_LIMIT)
            if self._listening is not None:
                self._listening.cancel()
                await asyncio.wait([self._listening])
            self._lost()

    def _lost(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._on_ended(None)
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("it has ended"))

    async def _connect(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise SandboxError(f"the network proxy cannot be started in {self._folder}: {error.strerror}") from error
        found = os.fstat(folder)
        if not is_private(found, os.getuid()):
            os.close(folder)
            raise SandboxError(
                f"expected {self._folder}, whose socket is told secrets, to belong to uid {os.getuid()} with mode "
                f"0700, found uid {found.st_uid} with mode {stat.S_IMODE(found.st_mode):04o}; remove it"
            )
        # By its descriptor, for a socket's path is limited to 107 bytes.
        path = f"/proc/self/fd/{folder}/{SOCKET}"
        try:
            try:
                streams = await asyncio.open_unix_connection(path, limit=LONGEST_LINE)
            except (FileNotFoundError, ConnectionRefusedError):
                await self._start(path)
                streams = await asyncio.open_unix_connection(path, limit=LONGEST_LINE)
        except OSError as error:
            raise SandboxError(f"the network proxy cannot be reached: {error.strerror or error}") from error
        finally:
            os.close(folder)
        self._writer = streams[1]
        self._listening = asyncio.create_task(self._listen(streams[0]), name="egress proxy")

    async def _start(self, path: str) -> None:
        """Start a proxy that takes its connections from a socket of ours, in a folder that it may not even enter."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 (in a folder of our own, on the way to a start)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.bind(path)
            os.chmod(path, 0o600)  # noqa: PTH101 (likewise)
            control.listen(_BACKLOG)
            user = self._user
            process = await asyncio.create_subprocess_exec(
                # Never from where agentd was started, where agents may write.
                *(sys.executable, "-P", "-s", "-m", _PROCESS),
                *(str(self._runtime), str(user.uid), str(user.gid), ",".join(map(str, user.groups))),
                stdin=control.fileno(),
                stdout=asyncio.subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(_START_LIMIT):
                status = await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise SandboxError(f"the network proxy did not start within {_START_LIMIT:g} s") from None
        if status != 0:
            raise SandboxError(f"the network proxy ended with status {status} as it started; the log says why")
        log.info("egress_proxy_started")

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while said := await reader.readline():
                self._take(json.loads(said))
        except (OSError, ValueError) as error:
            log.warning("egress_proxy_not_understood", error=str(error))
        self._lost()

    def _take(self, said: Mapping[str, str | None]) -> None:
        if "answer" in said:
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(said["answer"])
        elif "ended" in said:
            self._on_ended(said["ended"])
        elif "refused" in said:
            log.warning("egress_refused", agent=said.get("agent"), reason=said["refused"])
