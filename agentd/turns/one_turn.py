"""A run that ends with its answer: one turn, which begins with the process and ends with its exit.

The answer, and what the model used, come from the harness's own record. Of which record is this run's there must be no
doubt: otherwise nobody tells them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from agentd.files.answering import NotAnsweringError
from agentd.model.states import Activity
from agentd.text.iso8601 import seconds_of
from agentd.turns.activity import PROCESS, Seen
from agentd.turns.adapter import Answer, Granularity, Ground, Hook, LiveRun, TurnsError, Voice
from agentd.turns.conversation import Request
from agentd.turns.events import Ended, Failure, Outcome, Started, TurnEvent, Usage
from agentd.turns.fields import text
from agentd.turns.reading import Reading

_SEEK: Final = (0.1, 0.1, 0.2, 0.2, 0.5)
"""Seconds between looks for the record, the last again and again: it comes 0.3 to 1 s after the start."""
_SOUGHT: Final = 30.0
"""Seconds after which it is not looked for any more while the program runs."""
_FIRST_LINES: Final = 20
"""Lines at the beginning of a record that say whose it is."""
_CLOCKS: Final = 0.1
"""Seconds by which a record may seem to have begun before its process."""
_MOST: Final = 200
"""Files that are looked at."""


class Record(Protocol):
    """The record of one run. Each call blocks, and raises `OSError` where it cannot be read."""

    @property
    def place(self) -> Path:
        """The folder in which it is."""
        ...

    def seek(self) -> bool:
        """Look which one it is, while the process lives; says whether that is known now."""
        ...

    def told(self) -> Iterable[TurnEvent]:
        """What it has after the end: usage, and how the turn ended."""
        ...


@dataclass(slots=True)
class OneTurnWatch:
    """A run of one turn."""

    run_: LiveRun
    voice: Voice
    ground: Ground
    record: Record | None = None
    on_screen: bool = False
    """Whether the program stays after its answer, so that the screen tells what it does."""

    @property
    def granularity(self) -> Granularity:
        """In what pieces text comes: the answer when it is whole."""
        return Granularity.MESSAGE

    async def run(self) -> None:
        """Begin the turn, and look for the record."""
        self.voice.event(Started(self.run_.facts.run_id))
        if not self.on_screen:
            self.voice.seen(PROCESS, Seen(Activity.WORKING, self.ground.wall()))
        if self.record is not None:
            await self._seek(self.record)
        await asyncio.Event().wait()

    async def _seek(self, record: Record) -> None:
        looks, waited = 0, 0.0
        while waited < _SOUGHT:
            try:
                if await self.ground.looks.look(record.place, record.seek):
                    return
            except (OSError, NotAnsweringError):
                pass
            pause = _SEEK[min(looks, len(_SEEK) - 1)]
            await asyncio.sleep(pause)
            looks, waited = looks + 1, waited + pause

    async def hook(self, hook: Hook) -> bytes | None:  # noqa: ARG002 (the protocol's)
        """It has no hooks of ours."""
        return None

    async def hindrance(self, *, returned: str | None) -> str | None:  # noqa: ARG002 (the protocol's)
        """It takes no messages."""
        return "it answers its prompt, and ends"

    async def deliver(self, text: str) -> None:  # noqa: ARG002 (the protocol's)
        """It takes no messages."""
        raise TurnsError(f"{self.run_.facts.agent} answers its prompt, and ends: it takes no message")

    async def answer(self, request: Request, answer: Answer) -> None:  # noqa: ARG002 (the protocol's)
        """It asks nothing."""
        raise TurnsError(f"{self.run_.facts.agent} asks nothing")

    async def interrupt(self) -> None:
        """Press what stops it, which ends a run that does not stay."""
        await self.run_.terminal.press("Escape" if self.on_screen else "C-c")

    async def at_exit(self, *, succeeded: bool) -> Ended | None:
        """End the turn, with what the record has of it."""
        end = None
        for event in await self._told():
            if isinstance(event, Ended):
                end = event
            elif isinstance(event, Usage):
                self.voice.event(event)
        if succeeded:
            return end or Ended(Outcome.COMPLETED)
        if end is None or end.outcome is Outcome.COMPLETED:
            return Ended(Outcome.FAILED, None if end is None else end.final_text, Failure.OTHER)
        return end

    async def _told(self) -> Iterable[TurnEvent]:
        record = self.record
        if record is None:
            return ()
        try:
            return await self.ground.looks.look(record.place, lambda: [*record.told()])
        except (OSError, NotAnsweringError):
            return ()


def only_one(
    paths: Iterable[Path], born: float, reading: Reading, is_own: Callable[[Sequence[Mapping[str, object]]], bool]
) -> Path | None:
    """The one file that was begun since a process was, and is of its kind; ``None`` if there are none, or several.

    Parameters
    ----------
    born
        When the process began, in seconds since the epoch.
    is_own
        Decides by the objects in a file's first lines.
    """
    found = []
    for path in sorted(paths, key=lambda path: path.name, reverse=True)[:_MOST]:
        if reading.changed(path) / 1e9 < born - _CLOCKS:
            continue
        try:
            lines = objects_of(reading.lines(path)[:_FIRST_LINES])
        except OSError:
            continue
        begun = next((at for line in lines if (at := time_of(line)) is not None), 0.0)
        if begun >= born - _CLOCKS and is_own(lines):
            found.append(path)
    return found[0] if len(found) == 1 else None


def objects_of(lines: Iterable[bytes]) -> list[Mapping[str, object]]:
    """The JSON objects among lines."""
    found = list[Mapping[str, object]]()
    for line in lines:
        try:
            each = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(each, dict):
            found.append(each)
    return found


def time_of(line: Mapping[str, object]) -> float | None:
    """When a line was written, in seconds since the epoch."""
    return seconds_of(text(line, "timestamp") or text(line, "startTime"))
