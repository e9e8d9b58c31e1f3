"""Reports of the daemon itself: each a line in the log and an event."""

from __future__ import annotations

import structlog

from agentd.daemon.configuration import ConfigFile, Configuration
from agentd.model.events import Detail, Event, EventKind
from agentd.supervise.host import Host

log = structlog.get_logger(__name__)


def report_configuration(host: Host, configuration: Configuration, before: Configuration | None) -> None:
    """Tell that files were read: of each file what is new, and a warning only once."""
    former = {} if before is None else {file.path: file for file in before.files}
    changed = [file for file in configuration.files if file != former.get(file.path)]
    agents = len(configuration.desired or ())
    if configuration.defect is not None:
        log.error("configuration", valid=False, error=configuration.defect)
        host.emit(Event(EventKind.CONFIG_REJECTED, None, configuration.defect))
    elif any(file.valid for file in changed) or configuration.valid:
        log.info("configuration", valid=configuration.valid, agents=agents, files=len(configuration.files))
    if not changed and configuration.valid:
        host.emit(Event(EventKind.CONFIG_LOADED, None, None, {"agents": agents}))
    for file in changed:
        _report_file(host, file, former.get(file.path))
    for path in former.keys() - {file.path for file in configuration.files}:
        log.info("drop_in_removed", file=str(path))
        host.emit(Event(EventKind.DROP_IN_REMOVED, None, None, {"source": str(path)}))
    known = frozenset(() if before is None else before.warnings)
    for text in configuration.warnings:
        if text in known:
            continue
        log.warning("configuration", warning=text)
        skipped = text in configuration.skipped_secrets
        host.emit(Event(EventKind.SECRET_SKIPPED if skipped else EventKind.CONFIG_WARNING, None, text))


def _report_file(host: Host, file: ConfigFile, before: ConfigFile | None) -> None:
    source: dict[str, Detail] = {"source": str(file.path)}
    if file.expired and (before is None or not before.expired):
        reason = f"{file.path} was not renewed for its lease"
        log.warning("lease_expired", file=str(file.path), effect="its agents are stopped until it is renewed")
        host.emit(Event(EventKind.LEASE_EXPIRED, None, reason, source))
    elif file.valid:
        host.emit(Event(EventKind.CONFIG_LOADED, None, None, {"agents": file.agents, **source}))
    if file.error is not None and (before is None or before.error != file.error):
        log.error("configuration", valid=False, error=file.error)
        host.emit(Event(EventKind.CONFIG_REJECTED, None, file.error, source))


def report_started(host: Host, **data: Detail) -> None:
    """Report that the daemon is up."""
    log.info("started", agent_user=host.user.name, **data)
    host.emit(Event(EventKind.DAEMON_STARTED, None, None, data))


def report_stopping(host: Host, pid: int, agents: str) -> None:
    """Report that the daemon was told to end; the log says by which signal."""
    host.emit(Event(EventKind.DAEMON_STOPPING, None, None, {"pid": pid, "agents": agents}))


def report_stopped(host: Host, pid: int, agents: str) -> None:
    """Report that the daemon ends."""
    log.info("stopped", agents=agents)
    host.emit(Event(EventKind.DAEMON_STOPPED, None, None, {"pid": pid, "agents": agents}))
