"""The ports that agents have, kept over restarts of agentd in a file of the state directory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import structlog

from agentd.files.kept_file import KeptFile
from agentd.files.versioned_file import Format, UnusableError
from agentd.model.events import Event, EventKind
from agentd.model.spec import AgentSpec
from agentd.process.ports import is_free
from agentd.supervise.ports import Ports, assign

log = structlog.get_logger(__name__)

FILE: Final = "ports.json"
"""Name in the state directory."""

_VERSION: Final = 1
"""Of its form, the ports by agent; a newer agentd's has a number ``v`` beside, where no agent has one."""
_MOST: Final = 65535


class PortLedger:
    """Gives agents ports that stay theirs.

    Parameters
    ----------
    path
        Of the file.
    sink
        Takes the event that an agent got ports.
    loop
        In which the sink is called, where ports are given in a thread.
    """

    def __init__(
        self, path: Path, sink: Callable[[Event], None], loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        form = Format(_VERSION, _ports_of, unversioned=True)
        self._file = KeptFile(path, form, self._not_kept, loop)
        self._sink = sink
        self._loop = loop
        self._held: Ports | None = None
        """``None`` until an agent wants one: the file is not read before."""

    def give(self, specs: Sequence[AgentSpec]) -> Ports:
        """Give the ports of the declared agents, new ones where they have none; what is new is on disk by then."""
        wanted = {spec.name: spec.ports for spec in specs if spec.ports}
        if not wanted:
            return {}
        held = self._read() if self._held is None else self._held
        if all(tuple(held.get(name, {})) == variables for name, variables in wanted.items()):
            self._held = held
            return held
        self._held = assign(wanted, held, str(self._file.path), is_free)
        if self._held != held:
            self._write(self._held)
        for name in wanted:
            ports = self._held[name]
            if ports != held.get(name) and ports:
                shown = [f"{variable}={port}" for variable, port in ports.items()]
                log.info("ports_assigned", agent=name, ports=shown)
                self._tell(Event(EventKind.PORTS_ASSIGNED, name, None, {"ports": shown}))
        return self._held

    def _tell(self, event: Event) -> None:
        if self._loop is None:
            self._sink(event)
        else:
            self._loop.call_soon_threadsafe(self._sink, event)

    def _read(self) -> Ports:
        try:
            return self._file.read() or {}
        except UnusableError as error:
            effect = "agents may get other ports, and be restarted with them"
            log.warning("ports_forgotten", path=str(self._file.path), reason=str(error), effect=effect)
            return {}

    def _write(self, ports: Ports) -> None:
        """Write them down before anything is launched with them."""
        self._file.keep(ports)

    def _not_kept(self, reason: str) -> None:
        effect = "until they can be, a later agentd may give agents other ports, and restart them"
        log.warning("ports_not_kept", path=str(self._file.path), reason=reason, effect=effect)


def _ports_of(found: Mapping[str, object]) -> Ports:
    return {
        str(agent): {str(name): port for name, port in ports.items() if type(port) is int and 0 < port <= _MOST}
        for agent, ports in found.items()
        if isinstance(ports, dict)
    }
