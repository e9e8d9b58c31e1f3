"""What the journal costs and keeps, without agents and without the API: ``python -m benchmarks.journal [--events N]``.

Each measure runs in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from statistics import median

from agentd.model.events import Event, EventKind
from agentd.recording.journal.entry import EventFilter
from agentd.recording.journal.journal import Journal
from benchmarks.machine import working_folder
from benchmarks.recorder import EVENT

AT_ONCE = 10
"""Events that happen in one turn of the event loop: what a few agents that start together cause."""

_PAUSE = 0.002
_YEAR = 365 * 86400.0
_RARE = Event(EventKind.TMUX_SERVER_DIED, None, "killed", {"pid": 7})


async def _drained(journal: Journal) -> None:
    while journal.buffer.readable < journal.buffer.head:
        await journal.buffer.news()


async def _late(worst: list[float]) -> None:
    """Notice how late the event loop is."""
    while True:
        due = time.perf_counter() + 0.001
        await asyncio.sleep(0.001)
        worst.append(time.perf_counter() - due)


async def append(folder: Path, events: int) -> None:
    """Add events at the pace of many agents."""
    journal = Journal(folder, time.time)
    await journal.open()
    for paced in (True, False):
        late: list[float] = []
        watch = asyncio.create_task(_late(late))
        begun, used = time.perf_counter(), time.process_time()
        for number in range(events):
            journal.add(EVENT)
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(_PAUSE if paced else 0)
        await _drained(journal)
        seconds, used = time.perf_counter() - begun, time.process_time() - used
        watch.cancel()
        late.sort()
        how = "paced" if paced else "at once"
        print(
            f"{events} events, {how}: {seconds:.2f} s, {1e6 * used / events:.1f} µs of CPU each; the loop was late by "
            f"{1000 * median(late):.2f} ms, at worst {1000 * late[-1]:.1f}"
        )
    await journal.close()
    print(f"on disk: {journal.health().bytes / events / 2:.0f} bytes an event, with the write-ahead log")


async def year(folder: Path, events: int) -> None:
    """Fill the journal with a year of events, and find places in it."""
    now = time.time()
    clock = now - _YEAR
    journal = Journal(folder, lambda: clock)
    await journal.open()
    begun = time.process_time()
    for number in range(events):
        clock += _YEAR / events
        journal.add(_RARE if number == events // 10 else EVENT)
        if number % 2000 == 1999:
            await _drained(journal)
    await _drained(journal)
    print(f"filled with {events} events: {1e6 * (time.process_time() - begun) / events:.1f} µs of CPU each")
    await journal.close()
    journal = Journal(folder, lambda: now)
    begun = time.perf_counter()
    await journal.open()
    print(f"opened in {1000 * (time.perf_counter() - begun):.1f} ms: {journal.health()}")
    newest = journal.buffer.saved
    oldest = (await _first(journal, 0))[0]
    await _timed("first event after any number", 50, lambda: _first(journal, random.randrange(oldest, newest)))
    await _timed("number at any time", 50, lambda: journal.start_at(now - random.random() * _YEAR / 2))
    await _timed("the last 100", 20, lambda: journal.start_of_last(100, EventFilter()))
    rare = EventFilter(kinds=frozenset({"tmux_server_died"}))
    await _timed("the last of a rare kind", 5, lambda: journal.start_of_last(1, rare))
    await _timed("all of a rare kind", 5, lambda: _all(journal, rare))
    await _timed("all", 2, lambda: _all(journal, EventFilter()))
    await journal.close()


async def _first(journal: Journal, after: int) -> list[int]:
    reader = journal.reader(EventFilter(), after)
    entries = await reader.take()
    journal.leave(reader)
    return [entry.seq for entry in entries]


async def _all(journal: Journal, wanted: EventFilter) -> int:
    reader, count = journal.reader(wanted, None), 0
    while entries := await reader.take():
        count += len(entries)
    journal.leave(reader)
    return count


async def _timed(what: str, rounds: int, ask: Callable[[], Coroutine[None, None, object]]) -> None:
    taken: list[float] = []
    late: list[float] = []
    watch = asyncio.create_task(_late(late))
    for _ in range(rounds):
        begun = time.perf_counter()
        await ask()
        taken.append(1000 * (time.perf_counter() - begun))
    watch.cancel()
    worst = 1000 * max(late, default=0)
    print(f"{what}: {median(taken):.1f} ms, at worst {max(taken):.1f}; the loop was late by at worst {worst:.1f}")


async def told(folder: Path, _: int) -> None:
    """Add an event every millisecond and print the number of the last one that readers are shown."""
    journal = Journal(folder, time.time)
    await journal.open()
    while True:
        journal.add(EVENT)
        os.write(1, b"%d %d\n" % (journal.buffer.readable, journal.buffer.head))
        await asyncio.sleep(0.001)


async def last(folder: Path, _: int) -> None:
    """Print the number of the last event that is kept."""
    journal = Journal(folder, time.time)
    await journal.open()
    print(journal.buffer.saved)


def killed(folder: Path, rounds: int) -> None:
    """SIGKILL a process that adds events, and see what is kept."""
    lost = []
    for number in range(rounds):
        kept = folder / str(number)
        with subprocess.Popen([*_COMMAND, "told", str(kept), "0"], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.2 + random.random() / 2)
            process.send_signal(signal.SIGKILL)
            shown, head = map(int, process.stdout.read().rstrip(b"\n").split(b"\n")[-1].split())
        found = int(subprocess.run([*_COMMAND, "last", str(kept), "0"], capture_output=True, check=True).stdout)
        if found < shown:
            raise SystemExit(f"event {shown} was shown, and {found} is the last that is kept")
        lost.append(head - found)
    print(
        f"killed {rounds} times: nothing that was shown is lost; of 1000 events a second, at most the last {max(lost)}"
    )


_COMMAND = (sys.executable, "-m", "benchmarks.journal", "--measure")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000, help="events to append (default: 10000)")
    parser.add_argument("--year", type=int, default=300_000, help="events of a year (default: 300000)")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        name, folder, number = options.measure
        asyncio.run({"append": append, "year": year, "told": told, "last": last}[name](Path(folder), int(number)))
        return
    folder = working_folder()
    try:
        for name, number in (("append", options.events), ("year", options.year)):
            subprocess.run([*_COMMAND, name, str(folder / name), str(number)], check=True)
        (folder / "killed").mkdir()
        killed(folder / "killed", options.kills)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
