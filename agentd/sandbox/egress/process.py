"""The proxy's process: one for all runs of an agentd, whose end it outlives, up to that of the last run.

It is started by agentd with its control socket as standard input, becomes the agents' user, and lets no other process
of that user look into its memory, where the secrets are.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from agentd.launch.pipes import NETWORK_SUFFIX, READY, READY_SUFFIX
from agentd.sandbox.egress.control import (
    LONGEST_LINE,
    End,
    Serve,
    line,
    parse,
    peer_uid,
)
from agentd.sandbox.egress.dial import Dialer
from agentd.sandbox.egress.netns import LIBC, Entrance, EntryError, ended, first_process_in
from agentd.sandbox.egress.run_proxy import RunProxy, trusting

_PR_SET_DUMPABLE: Final = 4
_THREADS: Final = 16
"""They look up names: a resolver that does not answer holds up one for each."""
_UNSTARTED_LIMIT: Final = 30.0
"""Seconds that a run without agentd may take to make its sandbox."""
_LONGEST_INFO: Final = 4096


class _Run:
    """One run that is served, or will be once its sandbox is there."""

    def __init__(self, proxy: RunProxy) -> None:
        self.proxy = proxy
        self.descriptors: list[int] = []
        self.watched: list[int] = []
        self.info = b""
        self.entry: asyncio.Task[None] | None = None
        self.started = False


class EgressProcess:
    """All runs, and the connection of agentd.

    Parameters
    ----------
    folder
        Where the runs' FIFOs are made.
    entrance
        Enters sandboxes.
    dialer
        Connects to hosts.
    """

    def __init__(self, folder: Path, entrance: Entrance, dialer: Dialer) -> None:
        self._folder = folder
        self._entrance = entrance
        self._dialer = dialer
        self._one_at_a_time = ThreadPoolExecutor(1, "entrance")
        self._runs: dict[str, _Run] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._agentd: set[asyncio.StreamWriter] = set()
        self._done = asyncio.Event()

    async def run(self, control: socket.socket) -> None:
        """Serve until there is neither a run nor an agentd."""
        await asyncio.start_unix_server(self._agentd_connected, sock=control, limit=LONGEST_LINE)
        await self._done.wait()
        self._entrance.close()
        # With that agentd's connection ends: who waits for it waits for nothing more of this process.
        os._exit(0)

    async def _agentd_connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if peer_uid(writer.get_extra_info("socket")) != _OWNER:
            writer.close()
            return
        self._agentd.add(writer)
        try:
            while said := await reader.readline():
                writer.write(line(answer=await self._answer(said)))
                await writer.drain()
        except (OSError, ValueError):
            # It is gone, or of a version that says more than we take.
            pass
        finally:
            self._agentd.discard(writer)
            asyncio.get_running_loop().call_later(_UNSTARTED_LIMIT, self._drop_unstarted)
            self._look_whether_done()
            if not self._done.is_set():
                writer.close()

    async def _answer(self, said: bytes) -> str | None:
        """Do what agentd says; why that failed, else ``None``."""
        try:
            order = parse(said)
        except (ValueError, KeyError, TypeError) as error:
            return f"it does not understand this agentd: {type(error).__name__}; it is of another version"
        if isinstance(order, End):
            self._end(order.run_id)
            return None
        run = self._runs.get(order.run_id)
        if run is not None:
            run.proxy.reach = order.reach
            return None
        run = self._runs[order.run_id] = _Run(RunProxy(order.reach, self._dialer, self._tell))
        try:
            if order.bubblewrap is not None:
                await self._enter(order.run_id, run, first_process_in(order.bubblewrap), None)
            else:
                self._await_sandbox(order, run)
        except (OSError, EntryError) as error:
            self._end(order.run_id)
            return error.strerror or str(error) if isinstance(error, OSError) else str(error)
        return None

    def _await_sandbox(self, order: Serve, run: _Run) -> None:
        """Make the FIFOs of a run, and wait for bubblewrap to say which process is in the sandbox."""
        for suffix in (NETWORK_SUFFIX, READY_SUFFIX):
            path = self._folder / (order.run_id + suffix)
            os.mkfifo(path, 0o600)
            # Opened for both: so nobody waits for us, and nothing is lost when nobody reads yet.
            run.descriptors.append(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC))
        self._watch(run, run.descriptors[0], lambda: self._told_process(order.run_id, run))

    def _watch(self, run: _Run, descriptor: int, callback: Callable[[], None]) -> None:
        asyncio.get_running_loop().add_reader(descriptor, callback)
        run.watched.append(descriptor)

    def _unwatch(self, run: _Run, descriptor: int) -> None:
        asyncio.get_running_loop().remove_reader(descriptor)
        run.watched.remove(descriptor)

    def _told_process(self, run_id: str, run: _Run) -> None:
        run.info += os.read(run.descriptors[0], _LONGEST_INFO)
        if b"}" not in run.info and len(run.info) < _LONGEST_INFO:
            return
        self._unwatch(run, run.descriptors[0])
        try:
            info = json.loads(run.info)
            pid, namespace = int(info["child-pid"]), int(info.get("net-namespace", 0))
        except (ValueError, KeyError, TypeError):
            os.write(run.descriptors[1], b"bubblewrap does not say which process is in it\n")
            return
        run.entry = asyncio.create_task(self._enter_and_say(run_id, run, pid, namespace))

    async def _enter_and_say(self, run_id: str, run: _Run, pid: int, namespace: int) -> None:
        try:
            await self._enter(run_id, run, pid, namespace)
            said = READY
        except (OSError, EntryError) as error:
            said = str(error)
        with contextlib.suppress(OSError):
            os.write(run.descriptors[1], said.encode() + b"\n")

    async def _enter(self, run_id: str, run: _Run, pid: int, namespace: int | None) -> None:
        process = os.pidfd_open(pid)
        run.descriptors.append(process)
        loop = asyncio.get_running_loop()
        listener = await loop.run_in_executor(self._one_at_a_time, self._entrance.listen, pid, namespace)
        if ended(process):
            listener.close()
            raise EntryError("the sandbox has ended")
        await run.proxy.serve(listener)
        self._watch(run, process, lambda: self._end(run_id))
        run.started = True

    def _end(self, run_id: str) -> None:
        run = self._runs.pop(run_id, None)
        if run is None:
            return
        for descriptor in list(run.watched):
            self._unwatch(run, descriptor)
        task = asyncio.create_task(self._close(run))
        self._closing.add(task)
        task.add_done_callback(self._closed)
        self._say(line(ended=run_id))

    async def _close(self, run: _Run) -> None:
        if run.entry is not None:
            run.entry.cancel()
            await asyncio.gather(run.entry, return_exceptions=True)
        await run.proxy.close()
        for descriptor in run.descriptors:
            os.close(descriptor)

    def _closed(self, task: asyncio.Task[None]) -> None:
        self._closing.discard(task)
        self._look_whether_done()

    def _drop_unstarted(self) -> None:
        """Forget the runs that an agentd, which is gone, never launched."""
        if not self._agentd:
            for run_id in [run_id for run_id, run in self._runs.items() if not run.started]:
                self._end(run_id)

    def _look_whether_done(self) -> None:
        if not (self._runs or self._closing or self._agentd):
            self._done.set()

    def _tell(self, agent: str, reason: str) -> None:
        self._say(line(refused=reason, agent=agent))

    def _say(self, text: bytes) -> None:
        for writer in self._agentd:
            writer.write(text)


_OWNER = os.getuid()
"""Who started this process, and alone may control it."""


def main() -> None:
    """Leave a daemon behind that serves.

    The arguments are the runtime directory, and the numeric user, group and groups to become.
    """
    folder, uid, gid, groups = sys.argv[1:]
    control = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    dialer = Dialer(trusting())
    "".encode("idna")
    # Whoever started this waits for it to be ready, and is not its parent.
    if os.fork() > 0:
        os._exit(0)
    os.setsid()
    os.chdir("/")
    if os.getuid() == 0:
        os.setgroups([int(group) for group in groups.split(",") if group])
        os.setgid(int(gid))
        os.setuid(int(uid))
    if LIBC.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        sys.exit("the kernel does not keep others from the memory of this process")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in (signal.SIGINT, signal.SIGHUP):
        # What is typed for agentd in a terminal ends its agents, not what they need until then.
        signal.signal(number, signal.SIG_IGN)
    entrance = Entrance()
    asyncio.run(_serve(EgressProcess(Path(folder), entrance, dialer), control))


async def _serve(process: EgressProcess, control: socket.socket) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "egress"))
    await process.run(control)


if __name__ == "__main__":
    main()
