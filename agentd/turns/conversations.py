"""The conversations that agents may go on with, remembered over their runs and over agentd's."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger(__name__)

FILE: Final = "conversations.json"
"""Name in the state directory."""

_MOST: Final = 4096
"""Agents that are remembered; the oldest go."""


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

    def read(self) -> None:
        """Read what a former daemon remembered; what cannot be understood is forgotten."""
        try:
            found: object = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError) as error:
            log.warning("conversations_forgotten", path=str(self.path), reason=str(error))
            return
        for agent, each in found.items() if isinstance(found, dict) else ():
            if isinstance(each, dict) and all(isinstance(each.get(name), str) for name in ("harness", "workdir", "id")):
                run = each.get("run")
                known = Remembered(each["harness"], each["workdir"], each["id"], run if isinstance(run, str) else None)
                self._known[agent] = known

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

    def write(self) -> None:
        """Write them down; a failure is logged."""
        part = self.path.with_name(f".{self.path.name}.new")
        try:
            # Turns of many agents may begin at once.
            with self._writing:
                document = {agent: asdict(each) for agent, each in self._known.copy().items()}
                part.touch(mode=0o600)
                part.write_text(json.dumps(document))
                part.replace(self.path)
        except OSError as error:
            log.warning("conversations_not_kept", path=str(self.path), reason=error.strerror)
