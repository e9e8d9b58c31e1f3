"""The daemon's process: its start, its exit status, and its replacement."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from agentd.daemon.daemon import Daemon
from agentd.daemon.folders import FolderError, Folders
from agentd.daemon.replacing import replace_this_process
from agentd.daemon.shutdown import Signals
from agentd.daemon.single_instance import StartError, take_locks
from agentd.files.looks import Looks
from agentd.files.path_lock import AlreadyRunningError, SocketTakenError
from agentd.launch.identity import IdentityError, admin_group
from agentd.launch.owned_folder import RuntimeDirectoryError
from agentd.settings.context import resolve_agent_user
from agentd.settings.folders import SettingsError
from agentd.settings.logs import Redactor, configure
from agentd.settings.settings import Settings
from agentd.text.quoting import printable
from agentd.tmux.errors import TmuxError, TmuxStartError, TmuxUnreachableError

log = structlog.get_logger(__name__)

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
    """Run the daemon until it is told to end; first log what is ignored of its command line.

    Returns
    -------
    int
        Exit status: 0 after a clean shutdown, 1 if it cannot start.
    """
    redactor = Redactor()
    configure(settings.log_format, debug=settings.debug, redactor=redactor)
    for text in ignored:
        log.warning("flags", ignored=text)
    changed = asyncio.Event()
    looks = Looks(changed.set)
    try:
        with asyncio.Runner() as runner:
            take_over = runner.run(_main(settings, redactor, looks, changed))
    except _CANNOT_START as error:
        sys.stderr.write(f"agentd: cannot start: {printable(str(error))}\n")
        looks.leave(1)
        return 1
    if take_over is not None:
        looks.close()
        try:
            take_over()
        except OSError as error:
            sys.stderr.write(f"agentd: the installed agentd cannot be executed: {error.strerror}; the agents go on\n")
            return 1
    looks.leave(0)
    return 0


async def _main(
    settings: Settings, redactor: Redactor, looks: Looks, changed: asyncio.Event
) -> Callable[[], None] | None:
    """Serve; gives what is to be done instead of ending, if anything is."""
    signals = Signals()
    signals.install(changed.set)
    user, warning = resolve_agent_user(settings.agent_user, os.environ)
    if warning is not None:
        log.warning("agent_user", warning=warning)
    folders = Folders(settings, user, admin_group(settings.admin_group))
    await folders.check_answering(looks)
    folders.make()
    async with contextlib.AsyncExitStack() as stack:
        locks = await take_locks(settings, stack, looks)
        daemon = Daemon(folders, locks, redactor, looks, changed, signals)
        await daemon.serve_unless_stopped(stack)
    return partial(replace_this_process, daemon.open_files) if daemon.replaced else None
