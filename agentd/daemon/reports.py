"""What the daemon itself tells: a line in the log and an event, from one description."""

from __future__ import annotations

import structlog

from agentd.daemon.inputs import Configuration
from agentd.model.events import Detail, Event, EventKind
from agentd.supervise.host import Host

log = structlog.get_logger(__name__)


def report_configuration(host: Host, configuration: Configuration, before: Configuration | None) -> None:
    """Tell that files were read; a warning is news only once."""
    if configuration.valid:
        agents = len(configuration.desired or ())
        log.info("configuration", valid=True, agents=agents)
        host.emit(Event(EventKind.CONFIG_LOADED, None, None, {"agents": agents}))
    else:
        log.error("configuration", valid=False, error=configuration.error)
        host.emit(Event(EventKind.CONFIG_REJECTED, None, configuration.error))
    known = frozenset(() if before is None else before.warnings)
    for text in configuration.warnings:
        if text in known:
            continue
        log.warning("configuration", warning=text)
        skipped = text in configuration.skipped_secrets
        host.emit(Event(EventKind.SECRET_SKIPPED if skipped else EventKind.CONFIG_WARNING, None, text))


def report_started(host: Host, **data: Detail) -> None:
    """Tell that the daemon is up."""
    log.info("started", agent_user=host.user.name, **data)
    host.emit(Event(EventKind.DAEMON_STARTED, None, None, data))


def report_stopping(host: Host, pid: int, agents: str) -> None:
    """Tell that the daemon was told to end; the log says by which signal."""
    host.emit(Event(EventKind.DAEMON_STOPPING, None, None, {"pid": pid, "agents": agents}))


def report_stopped(host: Host, pid: int, agents: str) -> None:
    """Tell that the daemon ends."""
    log.info("stopped", agents=agents)
    host.emit(Event(EventKind.DAEMON_STOPPED, None, None, {"pid": pid, "agents": agents}))
