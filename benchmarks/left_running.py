"""What it costs to know what the tools of ended turns have left running.

``python -m benchmarks.left_running [--agents N] [--seconds N]``. The agents are sleeping processes, and their turns are
told to the part of agentd that looks; CPU time is that of this process, in which nothing else runs. Measured are all
agents quiet after turns that left nothing, one look at all processes after a turn, and one at tools that still run.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from agentd.process.background import Turn, boot_time, left_running, names_of, read_parents, still_running
from agentd.process.identity import ProcessIdentity
from agentd.turns.background import Background
from benchmarks.machine import load

if TYPE_CHECKING:
    from agentd.turns.run_watch import RunWatch

_ROUNDS = 20


@dataclass(slots=True)
class _Run:
    """As much of a watched run as the part that looks asks for."""

    run_id: str
    process: ProcessIdentity
    names: list[tuple[str, ...]] = field(default_factory=list)
    """What was told to be running, each time."""

    @property
    def conversation(self) -> SimpleNamespace:
        """A turn of a second has ended."""
        now = time.time()
        return SimpleNamespace(last=SimpleNamespace(started=now - 1, ended=now))

    @property
    def run(self) -> SimpleNamespace:
        """A run that stays."""
        return SimpleNamespace(process=self.process, facts=SimpleNamespace(stays=True))

    def background(self, names: tuple[str, ...]) -> None:
        """Take what still runs."""
        self.names.append(names)


@contextmanager
def _sleeping(count: int) -> Iterator[list[ProcessIdentity]]:
    started = [subprocess.Popen(["sleep", "infinity"], stdin=subprocess.DEVNULL) for _ in range(count)]
    try:
        yield [identity for each in started if (identity := ProcessIdentity.of(each.pid)) is not None]
    finally:
        for each in started:
            each.kill()
            each.wait()


async def _quiet(agents: list[ProcessIdentity], seconds: float) -> tuple[float, float]:
    """Let a turn of each agent end, and give the CPU seconds of the looks that follow, and of some time after them."""
    runs = [_Run(f"run-{number}", process) for number, process in enumerate(agents)]
    background = Background()
    looking = asyncio.create_task(background.run())
    before = time.process_time()
    for run in runs:
        background.turn_ended(cast("RunWatch", run))
    while any(len(run.names) < 2 for run in runs):  # noqa: ASYNC110 (what is measured tells nobody)
        await asyncio.sleep(0.05)
    looks = time.process_time() - before
    before = time.process_time()
    await asyncio.sleep(seconds)
    quiet = time.process_time() - before
    looking.cancel()
    await asyncio.wait([looking])
    return looks, quiet


def _each(call: Callable[[], object]) -> float:
    """CPU seconds of a call, on average."""
    before = time.process_time()
    for _ in range(_ROUNDS):
        call()
    return (time.process_time() - before) / _ROUNDS


def main() -> int:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=60, help="of idleness")
    arguments = parser.parse_args()
    before = load()
    with _sleeping(arguments.agents) as agents:
        looks, quiet = asyncio.run(_quiet(agents, arguments.seconds))
        parents = read_parents()
        turn = Turn("run-0", agents[0], boot_time() - 1, boot_time())
        whole = _each(lambda: left_running(turn, read_parents()))
        known = _each(lambda: names_of(still_running(agents)))
    print(f"load average before: {before}, after: {load()}; {len(parents)} processes")
    print(f"{arguments.agents} quiet agents for {arguments.seconds:g} s: {1000 * quiet:.1f} ms of CPU")
    print(f"both looks after a turn of each of them has ended at once: {1000 * looks:.0f} ms")
    print(f"a look at all processes: {1e6 * whole / len(parents):.0f} µs each")
    print(f"a look at tools that are known: {1e6 * known / len(agents):.0f} µs each")
    return 0


if __name__ == "__main__":
    sys.exit(main())
