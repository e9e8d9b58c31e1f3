"""The daemon's parts: made, put together, run until a signal, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Sequence
from functools import partial

import structlog

from agentd import __version__
from agentd.api.app import build_app
from agentd.api.serve import serve
from agentd.api.socket_file import ApiSocket
from agentd.daemon.config_files import ConfigFiles
from agentd.daemon.control_loop import ControlLoop
from agentd.daemon.folder_record import FolderRecord, recorded_folders
from agentd.daemon.folders import Folders
from agentd.daemon.inputs import Inputs
from agentd.daemon.known_accounts import remember_accounts
from agentd.daemon.measuring import DaemonMeasures
from agentd.daemon.outgoing import Outgoing
from agentd.daemon.own_paths import OwnPaths
from agentd.daemon.pass_watch import PassWatch
from agentd.daemon.port_ledger import FILE as PORTS
from agentd.daemon.port_ledger import PortLedger
from agentd.daemon.process_watch import ProcessWatch
from agentd.daemon.reports import report_started, report_stopped, report_stopping
from agentd.daemon.resolving import Resolver
from agentd.daemon.schedule_ledger import FILE as SCHEDULES
from agentd.daemon.schedule_ledger import ScheduleLedger
from agentd.daemon.screens import DaemonScreens
from agentd.daemon.shutdown import Signals, close_server, keeps_agents, stop_agents, told_to_be_replaced
from agentd.daemon.single_instance import DataDirectory, StartError, find_living
from agentd.daemon.stall_watch import StallWatch
from agentd.daemon.status import DaemonStatus
from agentd.daemon.trigger_ledger import FILE as TRIGGERS
from agentd.daemon.trigger_ledger import TriggerLedger
from agentd.daemon.trigger_watch import TriggerWatch
from agentd.daemon.turns import TurnsPart, watching_turns
from agentd.daemon.watch import Watcher
from agentd.files.looks import Looks
from agentd.files.path_lock import PathLock
from agentd.harness.registry import load_harnesses
from agentd.launch.census import Instance
from agentd.launch.identity import base_environment, path_origin, server_environment
from agentd.launch.login import Login, ask_login
from agentd.launch.preflight import Preflight
from agentd.launch.rundir import RuntimeDirectory
from agentd.limits.groups import RunGroups
from agentd.model.events import Event, EventSink
from agentd.model.spec import LoadContext
from agentd.model.status import NOT_RECORDED
from agentd.notify.notifier import Notifier
from agentd.otel.exporter import Exporter
from agentd.process.inherited_state import raise_file_limit
from agentd.process.memory import keep_all
from agentd.process.reaper import Reaper
from agentd.recording.journal.journal import Journal
from agentd.recording.metrics.answer import Metrics
from agentd.recording.metrics.measures import Counters
from agentd.recording.transcripts.disk import TranscriptDisk
from agentd.recording.transcripts.files import TranscriptFiles
from agentd.recording.transcripts.reader import TranscriptReader
from agentd.recording.transcripts.recorder import Transcripts
from agentd.recording.transcripts.retention import Retention
from agentd.recording.transcripts.writer import find_writer
from agentd.sandbox.egress.service import Egress
from agentd.sandbox.engines import Where
from agentd.sandbox.maker import Sandboxes
from agentd.sandbox.own import own_of, runtime_path
from agentd.settings.context import load_context, resolve_data_dir
from agentd.settings.folders import templates_folder
from agentd.settings.logs import Redactor
from agentd.supervise.accounts import Accounts
from agentd.supervise.emitter import Emitter
from agentd.supervise.hooks import Hooks
from agentd.supervise.host import Clock, Host
from agentd.supervise.reconciler import Reconciler
from agentd.supervise.run_recorder import RunRecorder
from agentd.supervise.scheduler import Scheduler
from agentd.supervise.trigger_queue import TriggerQueue
from agentd.supervise.trigger_spool import FOLDER as SPOOL
from agentd.supervise.work_folders import WorkFolders
from agentd.systemd.notify import ServiceNotifier
from agentd.systemd.run import find_service_manager, reachable_manager
from agentd.tmux.server import TmuxServer
from agentd.tmux.setup import ServerUser

log = structlog.get_logger(__name__)

_START_PATIENCE = 5.0
"""Seconds that a start under way has to come to its end after a signal."""


class Daemon:
    """The daemon, holding its folders and locks.

    Parameters
    ----------
    changed
        Set when something may have changed that the control loop reads.
    """

    def __init__(
        self,
        folders: Folders,
        locks: Sequence[PathLock],
        redactor: Redactor,
        looks: Looks,
        changed: asyncio.Event,
        signals: Signals,
    ) -> None:
        self._settings = folders.settings
        self._user = folders.user
        self._admin_gid = None if folders.admins is None else folders.admins.gid
        self._folders = folders
        self._locks = locks
        self._registry = load_harnesses()
        self._redactor = redactor
        self._looks = looks
        self._changed = changed
        self._signals = signals
        self._instance = Instance.of(self._settings.state_dir, runtime_path(self._settings))
        self._clock = Clock(self._instance.prefix)
        self._notifier = ServiceNotifier(os.environ)
        self._manager = find_service_manager()
        self._started = asyncio.Event()
        self.replaced = False
        """Whether the program that is installed is to take over."""
        self.open_files: int | None = None
        """The soft limit of open files before it was raised."""

    async def serve_unless_stopped(self, stack: contextlib.AsyncExitStack) -> None:
        """Serve; a signal during the start takes effect after it, since what was started must be ended too."""
        serving = asyncio.create_task(self._serve(stack), name="serve")
        told = asyncio.create_task(self._signals.stop.wait(), name="signal")
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

    async def _serve(self, stack: contextlib.AsyncExitStack) -> None:
        settings = self._settings
        login = await ask_login(self._user, os.environ)
        if login.problem is not None:
            log.warning("login", problem=login.problem, effect="agents have agentd's own PATH alone")
        counters = Counters(self._clock.now)
        journal = Journal(settings.state_dir / "journal", self._clock.wall)
        await journal.open()
        stack.push_async_callback(journal.close)
        tmux = self._tmux()
        kept_files = TranscriptFiles(settings.state_dir, self._user)
        transcripts = _transcripts(settings.transcripts, kept_files, tmux)
        outgoing = self._outgoing(login)
        sink = _all(counters.take, journal.add, outgoing.take)
        emitter = Emitter(sink, self._redactor, Accounts(), self._clock.wall)
        reconciler = Reconciler(partial(self._host, stack, login, tmux, transcripts, emitter), counters.passed)
        host = reconciler.host
        await remember_accounts(journal, host.accounts)
        turns = await self._adopt(stack, reconciler, transcripts)
        inputs, files, context = await self._inputs(reconciler)
        status = self._status(reconciler, context, transcripts, journal)
        processes = ProcessWatch(reconciler)
        metrics = Metrics(counters, self._clock.now, DaemonMeasures(status, processes, outgoing.exporter).read)
        outgoing.exporter.families = metrics.families
        stack.push_async_callback(metrics.close)
        reader = TranscriptReader(kept_files)
        stack.callback(reader.close)
        screens = DaemonScreens(reconciler)
        app = build_app(
            status, transcripts=reader, screens=screens, processes=processes, journal=journal, metrics=metrics
        )
        api = ApiSocket(settings.api_socket, self._admin_gid, partial(serve, app))
        try:
            await stack.enter_async_context(api.answering())
        except OSError as error:
            raise StartError(f"cannot make the API socket {api.path}: {error.strerror}") from error
        own = OwnPaths(host, self._folders, self._locks, (api, turns.socket), reconciler.restore_records)
        control = self._control_loop(reconciler, inputs, files, status, own, turns, outgoing)
        kept = await self._work(reconciler, control, own, processes, transcripts)
        report_stopped(host, os.getpid(), _fate(kept=kept))
        await outgoing.close()
        # While the API is still there, so that those who follow events get the last ones.
        await journal.close()

    async def _adopt(
        self, stack: contextlib.AsyncExitStack, reconciler: Reconciler, transcripts: Transcripts | None
    ) -> TurnsPart:
        """Take over the agents that run already."""
        host = reconciler.host
        host.runtime.prepare()
        host.runtime.listen(host.hint)
        stack.callback(host.runtime.close)
        census = await find_living(host, self._instance)
        turns = await self._connect(stack, host)
        if transcripts is not None:
            stack.push_async_callback(transcripts.close)
            await transcripts.prepare()
        await reconciler.adopt(census)
        turns.thread.adopted()
        stack.push_async_callback(reconciler.close)
        if transcripts is not None:
            transcripts.start()
        return turns

    def _status(
        self, reconciler: Reconciler, context: LoadContext, transcripts: Transcripts | None, journal: Journal
    ) -> DaemonStatus:
        settings = self._settings
        return DaemonStatus(
            reconciler,
            self._clock,
            str(settings.config),
            str(settings.secret_dir),
            str(settings.state_dir),
            self._user.name,
            context,
            started=self._clock.now(),
            stopping=self._signals.stop.is_set,
            transcripts=(lambda: NOT_RECORDED) if transcripts is None else transcripts.health,
            journal=journal.health,
            looks=self._looks,
            passes=PassWatch(self._clock.now),
        )

    def _control_loop(
        self,
        reconciler: Reconciler,
        inputs: Inputs,
        files: ConfigFiles,
        status: DaemonStatus,
        own: OwnPaths,
        turns: TurnsPart,
        outgoing: Outgoing,
    ) -> ControlLoop:
        def changed() -> None:
            self._changed.set()
            own.soon.set()

        watcher = Watcher(lambda: (*inputs.watched_files(), *own.watched), inputs.watched_folders, changed, self._looks)
        return ControlLoop(
            inputs,
            reconciler,
            status,
            watcher,
            self._redactor,
            outgoing,
            FolderRecord(reconciler.host.tmux, lambda: files.identities),
            self._changed,
            self._settings.interval,
            partial(self._notifier.send, "READY=1"),
            own.soon.set,
            turns.thread.approve,
        )

    async def _connect(self, stack: contextlib.AsyncExitStack, host: Host) -> TurnsPart:
        """Connect to tmux, and be ready to watch what is found there."""
        await host.tmux.connect()
        stack.push_async_callback(host.tmux.close)
        settings = self._settings
        return await stack.enter_async_context(
            watching_turns(host, settings.api_socket, self._admin_gid, settings.state_dir, self._registry.harnesses)
        )

    async def _inputs(self, reconciler: Reconciler) -> tuple[Inputs, ConfigFiles, LoadContext]:
        settings, user, harnesses = self._settings, self._user, self._registry.harnesses
        for text in self._registry.warnings:
            log.warning("harness", warning=text)
        data_dir = resolve_data_dir(settings.data_dir, user)
        context = load_context(settings.config, user.name, user.home, harnesses, data_dir)
        identities = await recorded_folders(reconciler.host.tmux)
        files = ConfigFiles(settings.config, settings.config_dir, context, self._looks, identities, self._clock.now)
        ports = PortLedger(settings.state_dir / PORTS, reconciler.host.emit, asyncio.get_running_loop())
        resolver = Resolver(harnesses, user.name, reconciler.panes.digest_key, ports)
        inputs = Inputs(files, settings.secret_dir, resolver, user if user.switch else None, self._looks)
        return inputs, files, context

    async def _work(
        self,
        reconciler: Reconciler,
        control: ControlLoop,
        own: OwnPaths,
        processes: ProcessWatch,
        transcripts: Transcripts | None,
    ) -> bool:
        """Run the loops until a signal, then stop the agents unless they are kept; says whether they are."""
        host = reconciler.host
        keep_all()
        async with asyncio.TaskGroup() as tasks:
            connection = tasks.create_task(
                host.tmux.stay_connected(reconciler.panes.reconnected), name="tmux connection"
            )
            loops = [
                tasks.create_task(reconciler.panes.follow(), name="changes in tmux"),
                tasks.create_task(control.watcher.run(), name="file watching"),
                tasks.create_task(control.run(), name="configuration"),
                tasks.create_task(self._notifier.feed_watchdog(), name="watchdog"),
                tasks.create_task(own.run(self._settings.interval), name="own paths"),
                tasks.create_task(processes.run(), name="processes of agents"),
                tasks.create_task(StallWatch(reconciler, self._registry.harnesses).run(), name="progress of agents"),
                tasks.create_task(self._triggers(reconciler).run(), name="triggers of agents"),
            ]
            report_started(host, version=__version__, pid=os.getpid(), adopted=len(reconciler.agents))
            self._started.set()
            self.replaced = await told_to_be_replaced(self._signals, self._looks)
            if self.replaced:
                log.info("replaced", effect="the agentd that is installed takes over")
                self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
            else:
                self._notifier.send("STOPPING=1")
            keep = self.replaced or await keeps_agents(self._settings.on_shutdown, self._manager)
            report_stopping(host, os.getpid(), _fate(kept=keep))
            for task in loops:
                task.cancel()
            await asyncio.wait(loops)
            if not keep:
                await stop_agents(reconciler, self._signals.stop_at_once)
            connection.cancel()
            await asyncio.wait([connection])
            if not keep:
                if transcripts is not None:
                    await transcripts.finish()
                await close_server(host)
        return keep

    def _triggers(self, reconciler: Reconciler) -> TriggerWatch:
        return TriggerWatch(reconciler, self._looks, self._settings.state_dir / SPOOL)

    def _outgoing(self, login: Login) -> Outgoing:
        environment = base_environment(self._user, os.environ, login, root=os.geteuid() == 0)
        notifier = Notifier(self._user, environment, self._redactor, self._clock.wall, self._clock.now)
        return Outgoing(notifier, Exporter(self._instance.state, self._redactor, self._clock.wall))

    def _tmux(self) -> TmuxServer:
        user, admins = self._user, self._folders.admins
        return TmuxServer(
            self._settings.tmux_socket,
            user=ServerUser(user.uid, user.gid, user.groups) if user.switch else ServerUser(),
            environment=server_environment(user, os.environ, shutil.which("bash") or "/bin/sh"),
            admin_gid=self._admin_gid,
            admin_names=tuple if admins is None else admins.members,
            manager=self._manager,
        )

    def _host(
        self,
        stack: contextlib.AsyncExitStack,
        login: Login,
        tmux: TmuxServer,
        transcripts: Transcripts | None,
        emitter: Emitter,
        hooks: Hooks,
    ) -> Host:
        settings, user = self._settings, self._user
        data_dir = resolve_data_dir(settings.data_dir, user)
        data = DataDirectory(data_dir)
        stack.callback(data.release)
        open_files = self.open_files = raise_file_limit()
        groups = RunGroups(
            self._manager or reachable_manager(), is_ours=self._instance.shares, on_oom=hooks.look_for_oom
        )
        stack.callback(groups.close)
        schedules = ScheduleLedger(settings.state_dir / SCHEDULES)
        came = TriggerLedger(settings.state_dir / TRIGGERS)
        return Host(
            tmux=tmux,
            runtime=RuntimeDirectory(runtime_path(settings), user.uid, user.gid, self._instance.shares),
            reaper=Reaper(groups=groups.group),
            user=user,
            open_files=open_files,
            base_environment=base_environment(user, os.environ, login, root=os.geteuid() == 0),
            path_origin=path_origin(user, login),
            slots=asyncio.Semaphore(settings.launch_concurrency),
            folders=WorkFolders(
                user, os.environ, templates_folder(os.environ), data_dir, self._looks, data.claim, open_files=open_files
            ),
            preflight=Preflight(self._looks, user),
            groups=groups,
            egress=Egress(user, os.environ, settings.state_dir, runtime_path(settings), hooks.served),
            sandboxes=Sandboxes(
                Where(user, dict(os.environ), settings.runsc),
                own_of(settings, data_dir),
                self._looks,
                hooks.specs,
                hooks.boxed,
            ),
            clock=self._clock,
            recorder=RunRecorder() if transcripts is None else transcripts,
            accounts=emitter.accounts,
            emit=emitter.emit,
            state_changed=hooks.state_changed,
            debug=settings.debug,
            redact=self._redactor,
            scheduler=Scheduler(
                schedules.load,
                schedules.keep,
                self._clock.wall,
                os.environ.get("TZ"),
                emitter.emit,
                hooks.reconcile,
                triggers=TriggerQueue(came.load, came.keep, lambda: came.written, self._clock.wall),
            ),
        )


def _transcripts(total: int | None, files: TranscriptFiles, tmux: TmuxServer) -> Transcripts | None:
    """What records what agents print, in so many bytes; ``None`` where that is off."""
    return None if total is None else Transcripts(TranscriptDisk(files, Retention.of(total)), tmux, find_writer())


def _all(*sinks: EventSink) -> EventSink:
    def take(event: Event) -> None:
        for sink in sinks:
            sink(event)

    return take


def _fate(*, kept: bool) -> str:
    return "kept" if kept else "stopped"
