"""Looks for what starts agents, as ``[[triggers]]`` says: files that appear, and what agentd-gateway wrote down."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from agentd.files.appearing import MISSING, FileStamp, Listed, list_matching
from agentd.files.looks import Looks
from agentd.files.spool import read_spool, remove_spooled
from agentd.model.events import Detail, Event, EventKind
from agentd.model.triggers import Delivery, FilePattern, Trigger, Webhook
from agentd.supervise.reconciler import Reconciler
from agentd.supervise.trigger_queue import SeenFiles
from agentd.supervise.trigger_spool import delivery_of
from agentd.supervise.triggering import Verdict
from agentd.text.prompt_variables import cleaned
from agentd.text.quoting import printable

log = structlog.get_logger(__name__)

EVERY: Final = 0.5
"""Seconds between two looks; a file counts once two of them have found it the same."""

_IDLE: Final = 1.0
"""Seconds until it is seen that an agent has triggers now."""

_KINDS: Final = {Verdict.ACCEPTED: EventKind.TRIGGERED, Verdict.SKIPPED: EventKind.TRIGGER_SKIPPED}


_AT_ONCE: Final = 10
"""Deliveries that one look takes: each is written down in the event loop, in 0.2 ms."""

_LONGEST: Final = 86400.0
"""Seconds for which a webhook waits that no declared trigger takes."""

_UNSAYABLE: Final = "its name has control or invisible characters, or is too long: a prompt cannot say which file it is"


class TriggerWatch:
    """Looks at the folders of the triggers of all agents.

    Parameters
    ----------
    looks
        What they are looked at with: one that does not answer keeps nobody waiting.
    spool
        Folder of what came by webhooks.
    """

    def __init__(self, reconciler: Reconciler, looks: Looks, spool: Path) -> None:
        self._spool = spool
        self._reconciler = reconciler
        self._queue = reconciler.host.scheduler.triggers
        self._looks = looks
        self._last: Mapping[Trigger, Listed] = {}
        """What the look before found."""
        self._problems: Mapping[Trigger, str] = {}
        """Why nothing can be seen of some folders."""

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(EVERY if self._queue.declared else _IDLE)
            triggers = [trigger for each in self._queue.declared.values() for trigger in each.spec.triggers]
            files = [trigger for trigger in triggers if isinstance(trigger.source, FilePattern)]
            found = await asyncio.gather(*(self._look(trigger) for trigger in files))
            looked = dict(zip(files, found, strict=True))
            listed = {trigger: each for trigger, each in looked.items() if isinstance(each, Listed)}
            self._tell_of_folders({trigger: each for trigger, each in looked.items() if isinstance(each, str)})
            came = len(files) < len(triggers) and await self._take_webhooks()
            for trigger, each in listed.items():
                came = self._take(trigger, self._last.get(trigger), each) or came
            self._last = listed
            if came:
                self._reconciler.reconcile()

    def _tell_of_folders(self, problems: Mapping[Trigger, str]) -> None:
        """Say once why nothing can be seen of a folder."""
        for trigger, reason in problems.items():
            if self._problems.get(trigger) != reason:
                log.warning("trigger_unseen", agent=trigger.agent, trigger=str(trigger), reason=reason)
        self._problems = problems

    async def _look(self, trigger: Trigger) -> Listed | str:
        """List a trigger's files, or say why that is not possible now, which changes nothing."""
        file = trigger.source
        assert isinstance(file, FilePattern)
        try:
            return await self._looks.look(file.folder, partial(list_matching, file.folder, file.pattern), joined=True)
        except OSError as error:
            return str(error.strerror)

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
        for _, name in sorted(new)[:_AT_ONCE]:
            there |= {name}
            verdict = self._offer(trigger, name, listed.files[name], SeenFiles(listed.folder, there))
            if verdict is Verdict.FULL:
                # It is there, and will be offered again.
                break
            came = came or verdict is Verdict.ACCEPTED
        return came

    def _offer(self, trigger: Trigger, name: str, stamp: FileStamp, seen: SeenFiles) -> Verdict:
        assert isinstance(trigger.source, FilePattern)
        path = str(trigger.source.folder / name)
        at = self._reconciler.host.clock.wall()
        written = f"{trigger.name}\0{path}\0{stamp.inode}\0{stamp.modified}\0{at}"
        delivery = Delivery(_id_of(written), trigger.name, {"path": path, "name": name}, at)
        if cleaned(path) != path:
            self._queue.has_seen(trigger, seen)
            self._tell(EventKind.TRIGGER_REFUSED, trigger, delivery, _UNSAYABLE)
            return Verdict.SKIPPED
        return self._decide(trigger, delivery, seen)

    async def _take_webhooks(self) -> bool:
        """Take what agentd-gateway wrote down; says whether anything was accepted."""
        try:
            found = await self._looks.look(self._spool, partial(_spooled, self._spool), joined=True)
        except OSError:
            return False
        done, came = [], 0
        unwritten: set[str] = set()
        """Agents of which one was offered that is not written down."""
        for name, delivery in found:
            if came >= _AT_ONCE:
                break
            if isinstance(delivery, str):
                log.warning("webhook_unreadable", path=str(self._spool / name), reason=delivery)
                done.append(name)
                continue
            trigger = self._webhook(delivery.trigger)
            if trigger is not None and trigger.agent in unwritten:
                # One after the other: the file of one is gone before the next has its run, or it could have two.
                continue
            # One that is not declared now may be in a moment.
            verdict = Verdict.FULL if trigger is None else self._decide(trigger, delivery)
            came += verdict is Verdict.ACCEPTED
            if self._may_go(trigger, delivery, verdict):
                done.append(name)
            if trigger is not None and not self._queue.written:
                unwritten.add(trigger.agent)
        await self._remove(done)
        return came > 0

    def _may_go(self, trigger: Trigger | None, delivery: Delivery, verdict: Verdict) -> bool:
        """Whether the spool need not keep what was offered any more."""
        if trigger is None or verdict is Verdict.FULL:
            return delivery.at < self._reconciler.host.clock.wall() - _LONGEST
        return self._queue.is_safe(trigger.agent, delivery.id)

    async def _remove(self, done: Sequence[str]) -> None:
        """Take files out of the spool."""
        if done:
            try:
                await self._looks.look(self._spool, partial(remove_spooled, self._spool, done))
            except OSError as error:
                # It is found again, and known by then.
                log.warning("webhook_not_removed", path=str(self._spool), reason=error.strerror)

    def _webhook(self, name: str) -> Trigger | None:
        declared = (trigger for each in self._queue.declared.values() for trigger in each.spec.triggers)
        return next((each for each in declared if each.name == name and isinstance(each.source, Webhook)), None)

    def _decide(self, trigger: Trigger, delivery: Delivery, seen: SeenFiles | None = None) -> Verdict:
        agent = self._reconciler.agents.get(trigger.agent)
        verdict, reason = self._queue.offer(trigger, delivery, None if agent is None else agent.life, seen)
        kind = _KINDS.get(verdict)
        if kind is not None:
            self._tell(kind, trigger, delivery, reason)
        return verdict

    def _tell(self, kind: EventKind, trigger: Trigger, delivery: Delivery, reason: str | None) -> None:
        data: dict[str, Detail] = {"trigger": trigger.name, "delivery": delivery.id}
        if isinstance(trigger.source, FilePattern):
            data["path"] = printable(delivery.values["path"])
        if kind is EventKind.TRIGGERED:
            data["waiting"] = self._queue.waiting(trigger.agent)
        self._reconciler.host.emit(Event(kind, trigger.agent, reason, data))
        tell = log.info if kind is EventKind.TRIGGERED else log.warning
        tell(kind.value, agent=trigger.agent, **data, **({} if reason is None else {"reason": reason}))


def _spooled(folder: Path) -> list[tuple[str, Delivery | str]]:
    return [(name, delivery_of(data)) for name, data in read_spool(folder)]


def _id_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:24]
