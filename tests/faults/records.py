"""agentd is SIGKILLed at every step of recording: of a transcript's begin, end and trimming, and of the journal's."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from agentd.recording.journal import journal
from tests.faults.kills import await_death, operate
from tests.faults.oracle import Mark, lives
from tests.faults.points import Point, Trigger
from tests.faults.world import World
from tests.recording.support import lines as kept

_DISK, _RUN_FOLDER = "agentd.recording.transcripts.disk", "agentd.recording.transcripts.run_folder"
_DATABASE, _TRANSCRIPTS = "agentd.recording.journal.database", "agentd.recording.transcripts.recorder"

POINTS = (
    Point("begin.asked", _DISK, "TranscriptDisk.begin", before=True),
    Point("begin.folder", _RUN_FOLDER, "RunFolder.create", before=True),
    Point("begin.metadata", _RUN_FOLDER, "RunFolder.write"),
    Point("begin.done", _DISK, "TranscriptDisk.begin"),
    Point("begin.opened", _TRANSCRIPTS, "Transcripts.opened"),
    Point("end.seen", _TRANSCRIPTS, "Transcripts.ended", before=True),
    Point("end.found", _DISK, "TranscriptDisk.find_ends"),
    Point("end.completing", _DISK, "TranscriptDisk.complete", before=True),
    Point("end.cutting", _RUN_FOLDER, "RunFolder.cut", before=True),
    Point("end.cut", _RUN_FOLDER, "RunFolder.cut"),
    Point("end.completed", _DISK, "TranscriptDisk.complete"),
    Point("trim.dropping", _RUN_FOLDER, "RunFolder.drop", before=True),
    Point("trim.part_removed", _RUN_FOLDER, "RunFolder.remove_part"),
    Point("trim.dropped", _RUN_FOLDER, "RunFolder.drop"),
    Point("trim.removing", _RUN_FOLDER, "RunFolder.remove", before=True),
    Point("trim.removed", _RUN_FOLDER, "RunFolder.remove"),
    Point("trim.pointing", _RUN_FOLDER, "RunFolder.point_at", before=True),
    Point("trim.swept", _DISK, "TranscriptDisk.sweep"),
    Point("adoption.finding", _DISK, "TranscriptDisk.find", before=True),
    Point("adoption.found", _DISK, "TranscriptDisk.find"),
    Point("adoption.stock", _DISK, "TranscriptDisk.take_stock"),
    Point("adoption.journal", _DATABASE, "JournalDatabase.find"),
    Point("adoption.journal_opening", _DATABASE, "JournalDatabase._opened", before=True),
    Point("adoption.journal_open", _DATABASE, "JournalDatabase._opened"),
    Point("adoption.journal_measured", _DATABASE, "JournalDatabase._measure", before=True),
    Point("loss.completing", _DISK, "TranscriptDisk._lost", before=True),
    Point("loss.completed", _DISK, "TranscriptDisk._lost"),
    Point("journal.writing", _DATABASE, "JournalDatabase.append", before=True),
    Point("journal.written", _DATABASE, "JournalDatabase.append"),
    Point("journal.synced", _DATABASE, "JournalDatabase.sync"),
)

_WAYS = {
    "begin": ("add", "change", "end"),
    "end": ("end", "kill", "change", "remove"),
    "trim": ("end", "kill", "change"),
    "journal": ("add", "change", "end", "kill"),
}
_REACHED = 1.2
"""Seconds in which a step is passed; the next look at how much there is comes within one."""
_TALKERS = 3
_MOST_AGENTS = 8
_LINES = (1, 40, 900)
"""Lines of some 80 bytes; parts have 32 KiB, a run may keep 256 KiB, all together 1 MiB."""
_TOO_MANY_LINES = 1500
"""Of three agents, so that something has to go."""
_TRANSCRIPTS_FLAG = "--transcripts=1MiB"
_JOURNAL = functools.partial(journal.JournalLimits, total_bytes=32768)
_INTERRUPTED = re.compile(rb"(\^C)*(Killed\r\n)?")
"""What a terminal shows of the keys by which an agent was stopped, and its launcher's shell of a SIGKILL."""


@dataclass(slots=True)
class Follower:
    """Somebody who asks for events every now and then, and goes on with the last one he saw."""

    world: World
    told: dict[int, object] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def last(self) -> int:
        """Number of the last event that was seen."""
        return max(self.told, default=0)

    def ask(self) -> None:
        """Take what is new; no answer is none."""
        try:
            answer = self.world.daemon.request("GET", f"/v1/events?since={self.last}")
            events = json.loads(answer.body)
        except (OSError, ValueError):
            return
        for event in events:
            number = event["seq"]
            if event["kind"] == "events_expired":
                continue
            if number <= self.last:
                self.problems.append(f"event {number} told after {self.last}: {event}")
            self.told[number] = event


@dataclass(slots=True)
class Records:
    """What recording promises, held against the files that it leaves."""

    world: World
    follower: Follower

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.world.daemon.state

    def amiss(self) -> Iterator[str]:
        """What is not as it must be."""
        for name in self.world.marks.names():
            yield from self._transcripts_amiss(name)
        yield from self._journal_amiss()

    def _transcripts_amiss(self, name: str) -> Iterator[str]:
        marks = self.world.marks.of(name)
        begun = {mark.run_id: mark for mark in marks if mark.word == "start"}
        ends = {mark.run_id: mark for mark in marks if mark.word == "end"}
        numbers: dict[str, int] = {}
        for folder in sorted((self.state / "agents" / name / "runs").glob("[0-9]*")):
            try:
                metadata = json.loads((folder / "run.json").read_bytes())
                kept = b"".join(part.read_bytes() for part in sorted((folder / "output").iterdir()))
            except FileNotFoundError:
                yield f"{name}: {folder} is not whole"
                continue
            run_id = metadata["run_id"]
            if run_id in numbers:
                yield f"{name}: run {run_id} has two folders, {numbers[run_id]} and {folder.name}"
            numbers[run_id] = int(folder.name)
            if run_id in begun:
                where = f"{name}, run {folder.name}"
                for problem in self._run_amiss(metadata, kept, begun[run_id], ends.get(run_id)):
                    yield f"{where}: {problem}"
        order = [numbers[run_id] for run_id in begun if run_id in numbers]
        if order != sorted(order):
            yield f"{name}: runs are numbered {order} in the order in which they began"
        if begun and (newest := list(begun)[-1]) not in numbers:
            yield f"{name}: its newest run, {newest}, has no folder"

    def _run_amiss(self, metadata: dict[str, object], kept: bytes, begun: Mark, end: Mark | None) -> Iterator[str]:
        expected = _said(begun.run_id, self.world.marks.said(begun.run_id))
        dropped = metadata["dropped"]
        assert isinstance(dropped, int)
        if metadata["gaps"]:
            yield f"gaps: {metadata['gaps']}"
        if not kept.startswith(expected[dropped:]) or not _INTERRUPTED.fullmatch(kept[len(expected[dropped:]) :]):
            yield f"{len(kept)} bytes after {dropped} dropped, {len(expected)} were said; ends with {kept[-120:]!r}"
        if lives(begun):
            if metadata["end"] is not None:
                yield "is said to have ended, and lives"
            return
        if metadata["end"] is None:
            yield "has ended, and is not completed"
        elif metadata["bytes"] != dropped + len(kept):
            yield f"is said to have printed {metadata['bytes']} bytes, kept are {len(kept)} after {dropped}"
        elif end is not None and (metadata["exit_code"], metadata["exit_signal"]) not in ((end.status, None), _UNKNOWN):
            yield f"ended with {end.status}, recorded is {metadata['exit_code']}, {metadata['exit_signal']}"

    def _journal_amiss(self) -> Iterator[str]:
        self.follower.ask()
        yield from self.follower.problems
        events = kept(self.state / "journal")
        numbers = [event["seq"] for event in events]
        told: dict[tuple[str, str], object] = {}
        for event in events:
            run, kind = event["data"].get("run"), event["kind"]
            if kind in _ONCE and (kind, run) in told:
                yield f"told twice: {told[kind, run]}, {event}"
            told[kind, run] = event
            seen = self.follower.told.get(event["seq"])
            if seen is not None and seen != event:
                yield f"event {event['seq']} was told as {seen}, the journal has {event}"
            if seen is None and numbers[0] < event["seq"] <= self.follower.last:
                yield f"event {event['seq']} was not told to one who has seen {self.follower.last}: {event}"


_UNKNOWN = (None, None)
_ONCE = ("launched", "started", "exited")


def _said(run_id: str, lines: int) -> bytes:
    """What a run has printed that has said so many lines."""
    return b"".join(f"{run_id} {number} {'.' * 57}\r\n".encode() for number in range(1, lines + 1))


def prepare_records(world: World) -> None:
    """Let the first agents talk, files be small, and another judge look at them."""
    world.daemon.trigger = Trigger(POINTS)
    world.daemon.flags = (*world.daemon.flags, _TRANSCRIPTS_FLAG)
    world.daemon.before_start = _small_journal
    for _ in range(_TALKERS):
        world.add("talker")
    world.write()
    world.judges.append(Records(world, Follower(world)).amiss)


def _small_journal() -> None:
    setattr(journal, "JournalLimits", _JOURNAL)  # noqa: B010 (mypy knows that a class is no partial)


def killed_while_recording(world: World) -> str:
    """Kill agentd at a step of recording what agents print and what happens; recording goes on without it."""
    chance, daemon = world.chance, world.daemon
    point = chance.choice(POINTS)
    passes = chance.choice((1, 1, 2)) if point.step in _WAYS else 1
    goes_on = chance.random() < 0.4 and point.step != "loss"
    touched: set[str] = set()
    _bound_population(world)
    for name in _talkers(world):
        world.say(name, _TOO_MANY_LINES if point.step == "trim" else chance.choice(_LINES))
    if point.step in _WAYS:
        daemon.trigger.arm(point, passes)
        for _ in range(passes):
            operate(world, touched, chance.choice(_WAYS[point.step]))
    else:
        daemon.kill()
        if point.step == "loss":
            world.unknown_toll()
            os.kill(world.server(), signal.SIGKILL)
        else:
            operate(world, touched, chance.choice(("end", "kill")))
        daemon.trigger.arm(point, passes)
        daemon.start(ready=False)
    reached = await_death(world, _REACHED)
    daemon.kill()
    daemon.trigger.disarm()
    if goes_on:
        for name in _talkers(world):
            if name not in touched:
                world.say(name, chance.choice(_LINES))
        operate(world, touched, chance.choice(("end", "kill", "change")))
    daemon.start(ready=False)
    world.converge()
    return point.name if reached else f"{point.name} (not passed: killed anyway)"


def _bound_population(world: World) -> None:
    """Let there be enough agents that talk, and not too many in all."""
    while len(_talkers(world)) < _TALKERS:
        world.add("talker", world.chance.choice(("always", "on-failure")))
        world.write()
        world.converge()
    while len(world.agents) > _MOST_AGENTS:
        world.remove(world.chance.choice(sorted(world.agents)))
        world.write()
        world.converge()


def _talkers(world: World) -> list[str]:
    return [name for name in world.running() if world.agents[name].kind == "talker"]
