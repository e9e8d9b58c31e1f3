"""The gateway's process: starting, what runs until the end, and the end."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Final

import structlog

from agentd import __version__
from agentd.files.locks import lock_file
from agentd.files.looks import Looks
from agentd.gateway.channels.managed import keep_channels
from agentd.gateway.channels.owner import Channels
from agentd.gateway.engine.engine import Engine
from agentd.gateway.engine.options import EngineOptions, ManagedOptions
from agentd.gateway.http.app import build_app
from agentd.gateway.http.guard import Access
from agentd.gateway.http.listening import check_guarded, listening
from agentd.gateway.http.route import CLOSING
from agentd.gateway.http.server import serve
from agentd.gateway.http.webhooks import WEBHOOKS, Webhooks
from agentd.gateway.interface import AT_THE_ROOT, TWICE
from agentd.gateway.openai.responses import Responses
from agentd.gateway.openai.turn import RESPONSES, forbid_retry
from agentd.gateway.preload import preload
from agentd.gateway.rereading import Rereading
from agentd.gateway.settings import Flags, GatewaySettings, GatewayStartError, gateway_settings
from agentd.gateway.store.database import Database, DatabaseError, open_database, sqlite_url
from agentd.launch.identity import IdentityError, admin_group
from agentd.model.gateway import CLIENT_TOKEN
from agentd.model.spec import AgentType
from agentd.process.inherited_state import raise_file_limit
from agentd.process.memory import keep_all
from agentd.process.signals import on_signal
from agentd.settings.folders import SettingsError
from agentd.settings.logs import Redactor, configure
from agentd.settings.settings import Settings
from agentd.supervise.trigger_spool import FOLDER as SPOOL
from agentd.systemd.notify import ServiceNotifier
from agentd.text.quoting import printable

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

DATABASE_FILE: Final = "gateway.db"
"""In the state directory, where no other database is named."""
LOCK_FILE: Final = "gateway.lock"

_CANNOT_START: Final = (DatabaseError, GatewayStartError, IdentityError, SettingsError)


def run(daemon: Settings, flags: Flags) -> int:
    """Serve until a signal; give the exit status."""
    return _run(daemon, flags, _serve)


def migrate(daemon: Settings, flags: Flags) -> int:
    """Bring the database to this version's schema; give the exit status."""
    return _run(daemon, flags, _migrate)


def _run(daemon: Settings, flags: Flags, work: Callable[[GatewaySettings], Coroutine[object, object, None]]) -> int:
    configure(daemon.log_format, debug=daemon.debug, redactor=Redactor())
    if flags.tokens:
        log.warning(
            "gateway_token", warning="--auth-token shows the token in the list of processes: use --auth-token-file"
        )
    try:
        settings = gateway_settings(daemon, flags, os.environ)
        with asyncio.Runner() as runner:
            runner.run(work(settings))
    except _CANNOT_START as error:
        sys.stderr.write(f"agentd-gateway: cannot start: {printable(str(error))}\n")
        return 1
    return 0


async def _migrate(settings: GatewaySettings) -> None:
    database = await _open(settings, with_migrations=True)
    log.info("gateway_migrated", database=database.name)
    await database.close()


async def _serve(settings: GatewaySettings) -> None:
    told = _signals()
    check_guarded(settings.listen, has_tokens=bool(settings.tokens))
    group = admin_group(settings.daemon.admin_group)
    raise_file_limit()
    notifier = ServiceNotifier(os.environ)
    with (
        _alone(settings.daemon.state_dir),
        listening(settings.listen, None if group is None else group.gid) as sockets,
    ):
        database = await _open(settings, with_migrations=settings.migrate)
        try:
            await asyncio.to_thread(preload)
            addresses = list(sockets)
            engine = Engine(_options(settings, addresses), database)
            responses = Responses(engine)
            access = Access(settings.tokens, settings.hosts, settings.origins)
            channels = Channels(engine.inbox, settings.daemon.secret_dir, _instance(settings.daemon.state_dir))
            looks = Looks()
            spool = settings.daemon.state_dir / SPOOL
            webhooks = Webhooks(settings.table.webhooks, settings.daemon.secret_dir, spool, looks)
            await webhooks.tidy()
            app = build_app(access, engine, AT_THE_ROOT, doubled=TWICE, channels=channels)
            app[WEBHOOKS] = webhooks
            app[RESPONSES] = responses
            app.on_response_prepare.append(forbid_retry)
            async with (
                engine.running(),
                responses.running(),
                channels.running(settings.channels),
                serve(app, sockets.values()),
            ):
                _report(settings, addresses, database)
                keep_all()
                notifier.send("READY=1")
                tasks = [
                    asyncio.create_task(notifier.feed_watchdog(), name="watchdog"),
                    asyncio.create_task(Rereading(settings, access, webhooks, looks).run(), name="settings"),
                    asyncio.create_task(
                        keep_channels(channels, engine.managed, settings.channels), name="managed agents' channels"
                    ),
                ]
                for task in tasks:
                    task.add_done_callback(_say_why)
                await told.wait()
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
                looks.close()
                notifier.send("STOPPING=1")
                app[CLOSING].set()
        finally:
            await database.close()
    log.info("gateway_stopped", turns="are left to their agents")


def _report(settings: GatewaySettings, addresses: list[str], database: Database) -> None:
    for warning in settings.warnings:
        log.warning("gateway_settings", warning=warning)
    if settings.manager is not None and settings.tokens and not settings.manager_has_token:
        log.warning(
            "gateway_manager",
            agent=settings.manager,
            warning=f"it has no token for this gateway: write [[gateway.tokens]] with secret = {CLIENT_TOKEN!r}, "
            'a user, and scopes = ["agents"]',
        )
    if not settings.tokens:
        log.warning("gateway_open", warning="no token is configured: whoever reaches it may do everything")
    log.info(
        "gateway_started",
        version=__version__,
        pid=os.getpid(),
        listen=addresses,
        database=database.name,
        tokens=len(settings.tokens),
    )


def _say_why(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("task_ended", task=task.get_name(), exc_info=error)


def _signals() -> asyncio.Event:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        on_signal(number, told.set)
    return told


async def _open(settings: GatewaySettings, *, with_migrations: bool) -> Database:
    url = settings.database
    if url is None:
        _make(settings.daemon.state_dir)
        url = sqlite_url(settings.daemon.state_dir / DATABASE_FILE)
    return await open_database(url, with_migrations=with_migrations, named_by=settings.database_named_by)


@contextlib.contextmanager
def _alone(state_dir: Path) -> Iterator[None]:
    """Keep a second gateway from starting beside this one: both would deliver the same messages.

    Raises
    ------
    GatewayStartError
        If one runs.
    """
    _make(state_dir)
    path = state_dir / LOCK_FILE
    try:
        descriptor = lock_file(path)
    except OSError as error:
        raise GatewayStartError(f"{path}: cannot be locked: {error.strerror}") from None
    if descriptor is None:
        raise GatewayStartError(f"another agentd-gateway runs: it has {path}; stop it, or give another --state-dir")
    try:
        yield
    finally:
        os.close(descriptor)


def _instance(state_dir: Path) -> str:
    """Tell this gateway from others, also of this machine, and also after a restart."""
    return f"{socket.gethostname()}.{hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:12]}"


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise GatewayStartError(f"--state-dir {folder}: cannot be made: {error.strerror}") from None


def _url(addresses: list[str]) -> str:
    """Say where programs of this machine reach the gateway: by TCP, if it listens so."""
    tcp = [each for each in addresses if not each.startswith("unix:")]
    here = tcp[0].replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]") if tcp else ""  # noqa: S104 (nothing is bound)
    return f"http://{here}" if tcp else addresses[0]


def _options(settings: GatewaySettings, addresses: list[str]) -> EngineOptions:
    daemon = settings.daemon
    return EngineOptions(
        config=daemon.config,
        drop_in_folder=daemon.config_dir,
        api_socket=daemon.api_socket,
        agent_user=daemon.agent_user,
        data_dir=daemon.data_dir,
        state_dir=daemon.state_dir,
        managed=ManagedOptions(
            None if settings.managed_type is None else AgentType(settings.managed_type),
            settings.managed_secrets,
            settings.managed_env,
        ),
        max_concurrency=settings.max_concurrency,
        max_queue=settings.max_queue,
        turn_timeout=settings.turn_timeout,
        idle_timeout=settings.idle_timeout,
        retention=settings.retention,
        workdirs=settings.workdirs,
        manager=settings.manager,
        manager_has_token=settings.manager_has_token,
        url=_url(addresses),
    )
