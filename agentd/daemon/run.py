"""The daemon's process: starting, the loops that keep it going, and the two ways to end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from aiohttp import web

from agentd import __version__
from agentd.api.app import build_app
from agentd.api.serve import serve
from agentd.daemon.alone import DataDirectory, StartError, find_living, runtime_path, take_locks
from agentd.daemon.api_socket import ApiSocket
from agentd.daemon.careful_reader import CarefulReader
from agentd.daemon.folders import FolderError, Folders
from agentd.daemon.inputs import Inputs, SettledReader
from agentd.daemon.logs import Redactor, configure
from agentd.daemon.measuring import DaemonMeasures
from agentd.daemon.memory import keep_all
from agentd.daemon.own_paths import OwnPaths
from agentd.daemon.screens import DaemonScreens
from agentd.daemon.status import DaemonStatus
from agentd.daemon.telling import tell_configuration, tell_started, tell_stopped, tell_stopping
from agentd.daemon.watch import Watcher
from agentd.files.locks import AlreadyRunningError, PathLock, SocketTakenError
from agentd.files.looks import Looks
from agentd.harness.registry import load_harnesses
from agentd.launch.census import Instance
from agentd.launch.identity import (
    AdminGroup,
    IdentityError,
    admin_group,
    base_environment,
    path_origin,
    server_environment,
)
from agentd.launch.login import Login, ask_login
from agentd.launch.preflight import Preflight
from agentd.launch.rundir import RuntimeDirectory, RuntimeDirectoryError
from agentd.model.events import Event
from agentd.model.user import AgentUser
from agentd.process.handed_down import raise_file_limit
from agentd.process.remains import Reaper, Remains
from agentd.recording.journal.journal import Journal
from agentd.recording.metrics.answer import Metrics
from agentd.recording.metrics.measures import Counters
from agentd.recording.transcripts.disk import Limits, TranscriptDisk
from agentd.recording.transcripts.files import TranscriptFiles
from agentd.recording.transcripts.reader import TranscriptReader
from agentd.recording.transcripts.recorder import Transcripts
from agentd.recording.transcripts.writer import find_writer
from agentd.settings.context import load_context, resolve_agent_user, resolve_data_dir
from agentd.settings.flags import OnShutdown
from agentd.settings.settings import Settings, SettingsError, templates_folder
from agentd.supervise.desired import DesiredAgent
from agentd.supervise.host import Clock, Host
from agentd.supervise.plan import Action, plan
from agentd.supervise.reconciler import Reconciler
from agentd.supervise.work_folders import WorkFolders
from agentd.systemd.notify import ServiceNotifier
from agentd.systemd.run import ServiceManager, service_manager
from agentd.text.quoting import printable
from agentd.tmux.errors import TmuxError, TmuxStartError, TmuxUnreachableError
from agentd.tmux.server import TmuxServer
from agentd.tmux.setup import ServerUser

log = structlog.get_logger(__name__)

_SHUTDOWN_MARGIN = 15.0
"""Seconds after the longest grace period at which agentd ends even if an agent cannot be ended."""

_START_PATIENCE = 5.0
"""Seconds that a start under way has to come to its end after a signal."""

_CANNOT_START = (
    AlreadyRunningError,
    FolderError,
    IdentityError,
    RuntimeDirectoryError,
    SettingsError,
    SocketTakenError,
    StartError,
    TmuxError,
    TmuxStartError,
    TmuxUnreachableError,
)


def run(settings: Settings, ignored: Sequence[str] = ()) -> int:
    """Run the daemon until it is told to end; what is ignored of its command line is said first.

    Returns
    -------
    int
        Exit status: 0 after a clean shutdown, 1 if it cannot start.
    """
    redactor = Redactor()
    configure(settings.log_format, debug=settings.debug, redactor=redactor)
    for text in ignored:
        log.warning("flags", ignored=text)
    looks = Looks()
    try:
        with asyncio.Runner() as runner:
            runner.run(_Daemon(settings, redactor, looks).main())
    except _CANNOT_START as error:
        sys.stderr.write(f"agentd: cannot start: {printable(str(error))}\n")
        looks.leave(1)
        return 1
    looks.leave(0)
    return 0


@dataclass(slots=True)
class _Signals:
    """What the process was told."""

    stop: asyncio.Event
    stop_at_once: asyncio.Event

    def install(self, reload: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told, number)
        loop.add_signal_handler(signal.SIGHUP, reload.set)

    def _told(self, number: signal.Signals) -> None:
        if self.stop.is_set():
            log.warning("second_signal", signal=number.name, effect="stopping at once")
            self.stop_at_once.set()
        else:
            log.info("signal", signal=number.name)
        self.stop.set()


class _Daemon:
    def __init__(self, settings: Settings, redactor: Redactor, looks: Looks) -> None:
        self._settings = settings
        self._redactor = redactor
        self._instance: Instance
        self._clock: Clock
        self._changed = asyncio.Event()
        self._notifier = ServiceNotifier(os.environ)
        self._started = asyncio.Event()
        self._manager = _service_manager()
        self._locks: list[PathLock] = []
        self._folders: Folders
        self._looks = looks
        looks.on_answer = self._changed.set

    async def main(self) -> None:
        signals = _Signals(asyncio.Event(), asyncio.Event())
        signals.install(self._changed)
        settings = self._settings
        user, warning = resolve_agent_user(settings.agent_user, os.environ)
        if warning is not None:
            log.warning("agent_user", warning=warning)
        admins = admin_group(settings.admin_group)
        self._folders = Folders(settings, user, admins)
        await self._folders.check_answering(self._looks)
        self._instance = Instance.of(settings.state_dir, runtime_path(settings))
        self._clock = Clock(self._instance.prefix)
        self._folders.make()
        async with contextlib.AsyncExitStack() as stack:
            self._locks = take_locks(settings, stack, self._looks)
            await self._serve_unless_stopped(stack, signals, user, admins)

    async def _serve_unless_stopped(
        self, stack: contextlib.AsyncExitStack, signals: _Signals, user: AgentUser, admins: AdminGroup | None
    ) -> None:
        """Serve; a signal while starting lets the start come to its end, for what was started must be ended too."""
        serving = asyncio.create_task(self._serve(stack, signals, user, admins), name="serve")
        told = asyncio.create_task(signals.stop.wait(), name="signal")
        await asyncio.wait([serving, told], return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if not self._started.is_set():
            ready = asyncio.create_task(self._started.wait(), name="started")
            await asyncio.wait([serving, ready], timeout=_START_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            if not self._started.is_set() and not serving.done():
                log.warning("stopped", agents="not looked at", reason="tmux did not answer")
                serving.cancel()
                await asyncio.wait([serving])
                return
        await serving

    async def _serve(
        self, stack: contextlib.AsyncExitStack, signals: _Signals, user: AgentUser, admins: AdminGroup | None
    ) -> None:
        settings = self._settings
        login = await ask_login(user, os.environ)
        if login.problem is not None:
            log.warning("login", problem=login.problem, effect="agents have agentd's own PATH alone")
        data_dir = resolve_data_dir(settings.data_dir, user)
        data = DataDirectory(data_dir)
        stack.callback(data.release)
        host = self._host(user, admins, login, data)
        counters = Counters(self._clock.now)
        journal = await self._open_journal(stack, host, counters)
        host.runtime.prepare()
        host.runtime.listen(host.hint)
        stack.callback(host.runtime.close)
        census = await find_living(host, self._instance)
        await host.tmux.connect()
        stack.push_async_callback(host.tmux.close)
        kept_files = TranscriptFiles(settings.state_dir, user)
        transcripts = await self._transcripts(stack, host, kept_files)
        reconciler = Reconciler(host)
        host.tmux.on_change = reconciler.observe_soon
        await reconciler.adopt(census)
        stack.push_async_callback(reconciler.close)
        if transcripts is not None:
            transcripts.start()

        registry = load_harnesses()
        for text in registry.warnings:
            log.warning("harness", warning=text)
        context = load_context(settings.config, user.name, user.home, registry.harnesses, data_dir)
        inputs = Inputs(
            settings.config,
            settings.secret_dir,
            context,
            registry.harnesses,
            user,
            reconciler.digest_key,
            self._looks,
        )
        status = DaemonStatus(
            reconciler, self._clock, str(settings.config), user.name, context, started=self._clock.now()
        )
        status.journal = journal.health
        status.looks = self._looks
        if transcripts is not None:
            status.transcripts = transcripts.health
        reconciler.on_pass = counters.passed
        metrics = Metrics(counters, self._clock.now, DaemonMeasures(status).standing)
        stack.push_async_callback(metrics.close)
        reader = TranscriptReader(kept_files)
        stack.callback(reader.close)
        app = build_app(status, transcripts=reader, screens=DaemonScreens(reconciler), journal=journal, metrics=metrics)
        api = await self._open_api(stack, app, admins)
        own = OwnPaths(host, self._folders, self._locks, api, reconciler.keep_records)

        def changed() -> None:
            self._changed.set()
            own.soon.set()

        watcher = Watcher(lambda: (*inputs.files(), *own.watched), (settings.secret_dir,), changed, self._looks)
        kept = await self._work(host, reconciler, (inputs, status, watcher, own), signals, transcripts)
        tell_stopped(host, os.getpid(), _fate(kept=kept))
        # While the API is still there, so that those who follow events get the last ones.
        await journal.close()

    async def _work(
        self,
        host: Host,
        reconciler: Reconciler,
        following: tuple[Inputs, DaemonStatus, Watcher, OwnPaths],
        signals: _Signals,
        transcripts: Transcripts | None,
    ) -> bool:
        """Keep the loops going until a signal, then end the agents unless they are kept; says whether they are."""
        inputs, status, watcher, own = following
        keep_all()
        async with asyncio.TaskGroup() as tasks:
            loops = [
                tasks.create_task(host.tmux.stay_connected(reconciler.tmux_reconnected), name="tmux connection"),
                tasks.create_task(watcher.run(), name="file watching"),
                tasks.create_task(self._follow(inputs, reconciler, status, watcher), name="configuration"),
                tasks.create_task(self._notifier.feed_watchdog(), name="watchdog"),
                tasks.create_task(own.run(self._settings.interval), name="own paths"),
            ]
            tell_started(host, version=__version__, pid=os.getpid(), adopted=len(reconciler.agents))
            self._started.set()
            await signals.stop.wait()
            status.stopping = True
            self._notifier.send("STOPPING=1")
            keep = await self._keeps_agents()
            tell_stopping(host, os.getpid(), _fate(kept=keep))
            for task in loops[1:]:
                task.cancel()
            await asyncio.wait(loops[1:])
            if not keep:
                await self._stop_agents(reconciler, signals)
            loops[0].cancel()
            await asyncio.wait(loops[:1])
            if not keep:
                if transcripts is not None:
                    await transcripts.finish()
                await self._close_server(host)
        return keep

    async def _open_journal(self, stack: contextlib.AsyncExitStack, host: Host, counters: Counters) -> Journal:
        journal = Journal(self._settings.state_dir / "journal", self._clock.wall)
        await journal.open()
        stack.push_async_callback(journal.close)

        def take(event: Event) -> None:
            counters.take(event)
            journal.add(event)

        host.sink = take
        return journal

    async def _keeps_agents(self) -> bool:
        """Whether the agents are to outlive this daemon: not where everything ends with the machine."""
        if self._settings.on_shutdown is OnShutdown.STOP:
            return False
        return self._manager is None or not await self._manager.is_stopping()

    def _host(self, user: AgentUser, admins: AdminGroup | None, login: Login, data: DataDirectory) -> Host:
        settings = self._settings
        as_user = ServerUser(user.uid, user.gid, user.groups) if user.switch else ServerUser()
        shell = shutil.which("bash") or "/bin/sh"
        open_files = raise_file_limit()
        tmux = TmuxServer(
            settings.tmux_socket,
            user=as_user,
            environment=server_environment(user, os.environ, shell),
            admin_gid=None if admins is None else admins.gid,
            admin_names=tuple if admins is None else admins.members,
            manager=self._manager,
        )
        return Host(
            tmux=tmux,
            runtime=RuntimeDirectory(runtime_path(settings), user.uid, user.gid, self._instance.shares),
            reaper=Reaper(),
            user=user,
            open_files=open_files,
            base_environment=base_environment(user, os.environ, login, root=os.geteuid() == 0),
            path_origin=path_origin(user, login),
            slots=asyncio.Semaphore(settings.launch_concurrency),
            folders=WorkFolders(
                user,
                os.environ,
                templates_folder(os.environ),
                resolve_data_dir(settings.data_dir, user),
                self._looks,
                data.claim,
                open_files=open_files,
            ),
            preflight=Preflight(self._looks, user),
            clock=self._clock,
            debug=settings.debug,
            redact=self._redactor,
        )

    async def _transcripts(
        self, stack: contextlib.AsyncExitStack, host: Host, files: TranscriptFiles
    ) -> Transcripts | None:
        """Have recorded what agents print, unless that is off."""
        total = self._settings.transcripts
        if total is None:
            return None
        transcripts = Transcripts(TranscriptDisk(files, Limits.of(total)), host.tmux, find_writer())
        stack.push_async_callback(transcripts.close)
        await transcripts.prepare()
        host.recorder = transcripts
        return transcripts

    async def _open_api(
        self, stack: contextlib.AsyncExitStack, app: web.Application, admins: AdminGroup | None
    ) -> ApiSocket:
        api = ApiSocket(self._settings.api_socket, None if admins is None else admins.gid)
        try:
            sock = api.bind()
        except OSError as error:
            raise StartError(f"cannot make the API socket {api.path}: {error.strerror}") from error
        stack.callback(api.remove)
        api.listen = await stack.enter_async_context(serve(app, sock))
        return api

    async def _follow(self, inputs: Inputs, reconciler: Reconciler, status: DaemonStatus, watcher: Watcher) -> None:
        """Take each change of the files, and look at everything anew at every resync."""

        def stops(desired: Sequence[DesiredAgent]) -> bool:
            observed = [agent.life.view for agent in reconciler.agents.values()]
            operations = plan([agent.view for agent in desired], observed)
            return any(operation.action in (Action.STOP, Action.RESTART) for operation in operations)

        reader = SettledReader(inputs, stops)
        careful = CarefulReader(reader.next_change)
        ready = False
        loop = asyncio.get_running_loop()
        resync = loop.time() + self._settings.interval
        while True:
            configuration = await careful.next_change(status.configuration)
            if configuration is not None:
                self._redactor.update(reader.secret_values)
                before, status.configuration = status.configuration, configuration
                if configuration.valid:
                    status.loaded_at = self._clock.wall()
                tell_configuration(reconciler.host, configuration, before)
                if configuration.desired is not None:
                    reconciler.declare(configuration.desired)
            await watcher.refresh()
            if not ready:
                ready = True
                self._notifier.send("READY=1")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(resync):
                    await self._changed.wait()
            self._changed.clear()
            if loop.time() >= resync:
                resync = loop.time() + self._settings.interval
                reconciler.reconcile()
                reconciler.look_soon()
                await reconciler.observe()

    async def _stop_agents(self, reconciler: Reconciler, signals: _Signals) -> None:
        graces = [agent.life.policy.grace_period for agent in reconciler.agents.values()]
        stopped = asyncio.create_task(reconciler.shut_down(), name="stop agents")
        at_once = asyncio.create_task(signals.stop_at_once.wait(), name="second signal")
        await asyncio.wait(
            [stopped, at_once], timeout=max(graces, default=0) + _SHUTDOWN_MARGIN, return_when=asyncio.FIRST_COMPLETED
        )
        if not stopped.done():
            reconciler.kill_now()
            await asyncio.wait([stopped], timeout=_SHUTDOWN_MARGIN)
        if not stopped.done():
            log.error("agents_left", agents=sorted(reconciler.agents))
            stopped.cancel()
        at_once.cancel()
        await asyncio.wait([stopped, at_once])

    async def _close_server(self, host: Host) -> None:
        """Close the tmux server, and end what inspection shells may have started."""
        runs = host.runtime.run_ids()
        await host.tmux.kill_server()
        await asyncio.gather(*(host.reaper.end(Remains(run_id, None)) for run_id in runs))
        host.runtime.remove()


def _service_manager() -> ServiceManager | None:
    """The systemd that runs this process as a service, if one does."""
    try:
        cgroups = Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        cgroups = ""
    program = shutil.which("systemd-run") or "systemd-run"
    return service_manager(os.environ, uid=os.geteuid(), pid=os.getpid(), program=program, cgroups=cgroups)


def _fate(*, kept: bool) -> str:
    return "kept" if kept else "stopped"
