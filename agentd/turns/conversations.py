"""The conversations that agents may go on with, remembered over their runs and over agentd's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import structlog

from agentd.files import kept_file
from agentd.files.kept_file import KeptFile
from agentd.files.versioned_file import Format, UnusableError
from agentd.files.worker import in_thread

log = structlog.get_logger(__name__)

FILE: Final = "conversations.json"
"""Name in the state directory."""

_VERSION: Final = 1
"""Of its form, the conversations by agent; a newer agentd's has a number ``v`` beside, where no agent has one."""

_MOST: Final = 4096
"""Agents that are remembered; the oldest go."""


_KEPT_WITHIN: Final = 3.0


@dataclass(frozen=True, slots=True)
class Remembered:
    """The conversation of an agent."""

    harness: str
    workdir: str
    """A conversation belongs to the folder that it was held in."""
    id: str
    run: str | None = None
    """The run that talked in it last."""


@dataclass(slots=True)
class Conversations:
    """Remembers, in a file that agentd alone writes.

    Parameters
    ----------
    path
        Of the file.
    """

    path: Path
    _known: dict[str, Remembered] = field(default_factory=dict)
    _writing: threading.Lock = field(default_factory=threading.Lock)
    _file: KeptFile[Mapping[str, Remembered]] = field(init=False)
    _again: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        """Know how the file is read and written."""
        self._file = KeptFile(self.path, Format(_VERSION, _remembered, unversioned=True), self._not_kept)

    def read(self) -> None:
        """Read what a former daemon remembered; what cannot be understood is forgotten."""
        try:
            self._known.update(self._file.read() or {})
        except UnusableError as error:
            log.warning("conversations_forgotten", path=str(self.path), reason=str(error))

    def of(self, agent: str, harness: str, workdir: str) -> str | None:
        """The conversation that a run of this agent may go on with."""
        known = self._known.get(agent)
        return known.id if known is not None and (known.harness, known.workdir) == (harness, workdir) else None

    def of_run(self, agent: str, run: str) -> str | None:
        """The conversation that a run talked in last."""
        known = self._known.get(agent)
        return known.id if known is not None and known.run == run else None

    def remember(self, agent: str, conversation: Remembered) -> bool:
        """Remember a conversation in which a turn began; says whether that is news."""
        if self._known.get(agent) == conversation:
            return False
        self._known.pop(agent, None)
        self._known[agent] = conversation
        while len(self._known) > _MOST:
            del self._known[next(iter(self._known))]
        return True

    def forget(self, agent: str) -> bool:
        """Forget a conversation that cannot be gone on with; says whether there was one."""
        return self._known.pop(agent, None) is not None

    def write(self) -> bool:
        """Write them down, in a thread that may wait for the disk, and say whether it need not be tried again."""
        # Turns of many agents may begin at once.
        with self._writing:
            written = self._file.keep({agent: asdict(each) for agent, each in self._known.copy().items()})
            return written or self._file.newer

    def write_soon(self) -> None:
        """Write them down, for which nobody waits; again until it is done, or the event loop ends."""
        if self._again is not None:
            # Or each change would begin a row of attempts of its own.
            self._again.cancel()
            self._again = None
        in_thread("conversations", self.write).add_done_callback(self._wrote)

    async def kept(self) -> bool:
        """Write them down, and say whether that was done within some seconds."""
        try:
            async with asyncio.timeout(_KEPT_WITHIN):
                return await in_thread("conversations", self.write)
        except TimeoutError:
            return False

    def _wrote(self, writing: asyncio.Future[bool]) -> None:
        if not writing.cancelled() and writing.exception() is None and not writing.result() and self._again is None:
            self._again = asyncio.get_running_loop().call_later(kept_file.AGAIN, self.write_soon)

    def _not_kept(self, reason: str) -> None:
        log.warning("conversations_not_kept", path=str(self.path), reason=reason)


def _remembered(found: Mapping[str, object]) -> dict[str, Remembered]:
    """What a file says; what cannot be understood is left out."""
    known: dict[str, Remembered] = {}
    for agent, each in found.items():
        if isinstance(each, dict) and all(isinstance(each.get(name), str) for name in ("harness", "workdir", "id")):
            run = each.get("run")
            known[agent] = Remembered(
                each["harness"], each["workdir"], each["id"], run if isinstance(run, str) else None
            )
    return known
