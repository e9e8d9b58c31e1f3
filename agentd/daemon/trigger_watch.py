"""Looks for the files that start agents, as ``[[triggers]]`` says."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Final

import structlog

from agentd.files.appearing import MISSING, FileStamp, Listed, list_matching
from agentd.files.looks import Looks
from agentd.model.events import Detail, Event, EventKind
from agentd.model.triggers import Delivery, Trigger
from agentd.supervise.reconciler import Reconciler
from agentd.supervise.trigger_queue import SeenFiles
from agentd.supervise.triggering import Verdict
from agentd.text.prompt_variables import cleaned
from agentd.text.quoting import printable

log = structlog.get_logger(__name__)

EVERY: Final = 0.5
"""Seconds between two looks; a file counts once two of them have found it the same."""

_IDLE: Final = 1.0
"""Seconds until it is seen that an agent has triggers now."""

_KINDS: Final = {Verdict.ACCEPTED: EventKind.TRIGGERED, Verdict.SKIPPED: EventKind.TRIGGER_SKIPPED}


_UNSAYABLE: Final = "its name has control or invisible characters, or is too long: a prompt cannot say which file it is"


class TriggerWatch:
    """Looks at the folders of the triggers of all agents.

    Parameters
    ----------
    looks
        What they are looked at with: one that does not answer keeps nobody waiting.
    """

    def __init__(self, reconciler: Reconciler, looks: Looks) -> None:
        self._reconciler = reconciler
        self._queue = reconciler.host.scheduler.triggers
        self._looks = looks
        self._last: Mapping[Trigger, Listed] = {}
        """What the look before found."""

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(EVERY if self._queue.declared else _IDLE)
            triggers = [trigger for each in self._queue.declared.values() for trigger in each.spec.triggers]
            if not triggers:
                self._last = {}
                continue
            found = await asyncio.gather(*(self._look(trigger) for trigger in triggers))
            listed = {trigger: each for trigger, each in zip(triggers, found, strict=True) if each is not None}
            came = False
            for trigger, each in listed.items():
                came = self._take(trigger, self._last.get(trigger), each) or came
            self._last = listed
            if came:
                self._reconciler.reconcile()

    async def _look(self, trigger: Trigger) -> Listed | None:
        """List a trigger's files; ``None`` if that is not possible now, which changes nothing."""
        file = trigger.file
        try:
            return await self._looks.look(file.folder, partial(list_matching, file.folder, file.pattern), joined=True)
        except OSError:
            return None

    def _take(self, trigger: Trigger, before: Listed | None, listed: Listed) -> bool:
        """Hand on what has appeared; says whether anything was."""
        seen = self._queue.seen(trigger)
        if seen is not None and listed.folder == MISSING:
            # It may be back with all that was in it.
            return False
        if seen is None or seen.folder not in (listed.folder, MISSING):
            # What is there has not appeared: neither when a trigger is declared, nor when a disk is mounted.
            self._queue.has_seen(trigger, SeenFiles(listed.folder, frozenset(listed.files)))
            return False
        there = seen.names & listed.files.keys()
        if there != seen.names:
            self._queue.has_seen(trigger, SeenFiles(listed.folder, there))
        new = [
            (stamp.modified, name)
            for name, stamp in listed.files.items()
            if name not in there and before is not None and before.files.get(name) == stamp
        ]
        came = False
        for _, name in sorted(new):
            there |= {name}
            verdict = self._offer(trigger, name, listed.files[name], SeenFiles(listed.folder, there))
            if verdict is Verdict.FULL:
                # It is there, and will be offered again.
                break
            came = came or verdict is Verdict.ACCEPTED
        return came

    def _offer(self, trigger: Trigger, name: str, stamp: FileStamp, seen: SeenFiles) -> Verdict:
        path = str(trigger.file.folder / name)
        agent = self._reconciler.agents.get(trigger.agent)
        life = None if agent is None else agent.life
        at = self._reconciler.host.clock.wall()
        written = f"{trigger.name}\0{path}\0{stamp.inode}\0{stamp.modified}\0{at}"
        delivery = Delivery(_id_of(written), trigger.name, {"path": path, "name": name}, at)
        if cleaned(path) != path:
            self._queue.has_seen(trigger, seen)
            self._tell(EventKind.TRIGGER_REFUSED, trigger, delivery, _UNSAYABLE)
            return Verdict.SKIPPED
        verdict, reason = self._queue.offer(trigger, delivery, life, seen)
        kind = _KINDS.get(verdict)
        if kind is not None:
            self._tell(kind, trigger, delivery, reason)
        return verdict

    def _tell(self, kind: EventKind, trigger: Trigger, delivery: Delivery, reason: str | None) -> None:
        path = printable(delivery.values["path"])
        data: dict[str, Detail] = {"trigger": trigger.name, "delivery": delivery.id, "path": path}
        if kind is EventKind.TRIGGERED:
            data["waiting"] = self._queue.waiting(trigger.agent)
        self._reconciler.host.emit(Event(kind, trigger.agent, reason, data))
        tell = log.info if kind is EventKind.TRIGGERED else log.warning
        tell(kind.value, agent=trigger.agent, **data, **({} if reason is None else {"reason": reason}))


def _id_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:24]
