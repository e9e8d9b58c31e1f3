"""``make faults``: so many rounds of faults, with a seed that is printed and replays."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.ending import Ending, clear_away, end_with
from tests.faults.kills import populate
from tests.faults.machine import in_own_mounts
from tests.faults.rounds import FAMILIES, Family
from tests.faults.world import BrokenPromiseError, World
from tests.support.daemon import SIGNS_OF_A_DEFECT

_WORKERS = 2
_DESCRIPTORS = Path("/proc/self/fd")
_ENDING = Ending()
_FOLDER = ".folder"
"""Suffix of the file in which a worker writes down the folder of its world."""


@dataclass
class Tally:
    """What came of a run, or of a worker's part of it."""

    rounds: Counter[str] = field(default_factory=Counter)
    """By family."""
    kinds: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=dict)
    """Longest convergence in seconds, by family."""
    failures: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Take what another counted."""
        self.rounds += other.rounds
        self.kinds += other.kinds
        self.failures += other.failures
        for family, seconds in other.slowest.items():
            self.slowest[family] = max(seconds, self.slowest.get(family, 0.0))


def lives_of(family: Family, rounds: int, families: list[Family]) -> int:
    """How many worlds a family gets of a run of so many rounds."""
    share = rounds * family.share / sum(each.share for each in families)
    return max(1, round(share / family.per_life))


def live(family: Family, number: int, arguments: argparse.Namespace) -> Tally:
    """Let one world go through its rounds."""
    tally, seed, open_before = Tally(), arguments.seed, len(list(_DESCRIPTORS.iterdir()))
    folder = Path(tempfile.mkdtemp(prefix="agentd-", dir="/tmp"))
    folder.chmod(0o755)
    arguments.result.with_suffix(_FOLDER).write_text(str(folder))
    world = World(folder, random.Random(f"{seed} {family.name} {number}"), family.daemon)
    problems: list[str] = []
    try:
        with _ENDING.interrupting():
            populate(world)
            world.long_stop = arguments.stop_seconds
            family.prepare(world)
            world.daemon.start()
            world.converge()
            for _ in range(family.per_life):
                kind = family.round(world)
                tally.rounds[family.name] += 1
                tally.kinds[f"{family.name}: {kind}"] += 1
    except BrokenPromiseError as error:
        problems.append(str(error))
    except Exception:  # noqa: BLE001 (a round that goes wrong fails its world, not the run)
        problems.append(f"{traceback.format_exc()}\n{world.explain()}")
    finally:
        problems += first_defect(world.daemon.log_text())
        if arguments.keep and problems:
            shutil.copytree(folder / "marks", f"{folder}-marks", ignore=shutil.ignore_patterns("*.fifo"))
            shutil.copy(world.daemon.log, f"{folder}.log")
            problems.append(f"kept: {folder}.log")
        try:
            problems += world.close()
        finally:
            if _ENDING.told is not None:
                # It was broken off at any point.
                clear_away(folder)
        # The worlds after it fork, and would hand them on.
        left_open = len(list(_DESCRIPTORS.iterdir())) - open_before
        problems += [f"left {left_open} descriptors open"] if left_open > 0 else []
    tally.slowest[family.name] = world.slowest
    if problems:
        again = f'make faults ARGS="--seed {seed} --only {family.name} --life {number}"'
        tally.failures.append(f"FAILED {family.name}, life {number}; again by: {again}\n" + "\n".join(problems))
    return tally


def first_defect(log: str) -> list[str]:
    """The first of what no log may hold, with the lines around it."""
    lines = log.splitlines()
    found = next((number for number, line in enumerate(lines) if any(sign in line for sign in SIGNS_OF_A_DEFECT)), None)
    return [] if found is None else ["--- in agentd's log", *lines[max(0, found - 3) : found + 40]]


def work(arguments: argparse.Namespace, families: list[Family]) -> Tally:
    """Go through this worker's lives, or the one that was asked for."""
    tally = Tally()
    for family in families:
        lack = family.lacking()
        if lack is not None and not arguments.worker:
            print(f"{family.name}: left out, {lack}", flush=True)
    families = [family for family in families if family.lacking() is None]
    todo = [
        (number, family)
        for family in families
        for number in range(lives_of(family, arguments.rounds, families))
        if arguments.life is None or arguments.life == number
    ]
    if arguments.life is not None and not todo:
        todo = [(arguments.life, family) for family in families]
    # Of every family the first worlds first, so that a run that is cut short has seen them all.
    todo.sort(key=lambda each: each[0] / lives_of(each[1], arguments.rounds, families))
    mine = todo[arguments.worker :: arguments.workers]
    until = time.monotonic() + arguments.minutes * 60 if arguments.minutes else None
    for number, family in mine:
        _ENDING.check()
        if until is not None and time.monotonic() > until:
            break
        begun = time.monotonic()
        came = live(family, number, arguments)
        tally.add(came)
        for failure in came.failures:
            print(failure, flush=True)
        print(
            f"{family.name} {number}: {sum(came.rounds.values())} rounds in {time.monotonic() - begun:.1f} s, "
            f"slowest convergence {came.slowest.get(family.name, 0):.2f} s{' FAILED' if came.failures else ''}",
            flush=True,
        )
    return tally


def share_out(arguments: argparse.Namespace) -> Tally:
    """Let workers do it, each its part."""
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        own = [sys.executable, "-m", "tests.faults", *sys.argv[1:], f"--seed={arguments.seed}"]
        own.append(f"--parent={os.getpid()}")
        results = [Path(folder, str(index)) for index in range(arguments.workers)]
        workers: list[subprocess.Popen[bytes]] = []
        tally = Tally()
        try:
            with _ENDING.interrupting():
                for index, result in enumerate(results):
                    workers.append(subprocess.Popen(in_own_mounts([*own, f"--worker={index}", f"--result={result}"])))
                for index, (worker, result) in enumerate(zip(workers, results, strict=True)):
                    if worker.wait() in (0, 1):
                        tally.add(read_tally(result))
                    else:
                        tally.failures.append(f"worker {index} ended with status {worker.returncode}")
        finally:
            for worker, result in zip(workers, results, strict=False):
                worker.terminate()
                if worker.wait() < 0 and result.with_suffix(_FOLDER).exists():
                    # It was killed, and closed nothing.
                    clear_away(Path(result.with_suffix(_FOLDER).read_text()))
    return tally


def read_tally(result: Path) -> Tally:
    """Read what a worker counted."""
    found = json.loads(result.read_text())
    return Tally(Counter(found["rounds"]), Counter(found["kinds"]), dict(found["slowest"]), found["failures"])


def report(tally: Tally, seed: int, seconds: float, verbose: bool) -> None:
    """Print what came of it."""
    if verbose:
        for kind, count in sorted(tally.kinds.items()):
            print(f"  {count:6d}  {kind}")
    for family, count in sorted(tally.rounds.items()):
        print(f"{count:6d} rounds of {family}, slowest convergence {tally.slowest.get(family, 0):.2f} s")
    total = sum(tally.rounds.values())
    print(f"{total} rounds in {seconds:.0f} s, seed {seed}: {len(tally.failures)} failed")


def parser() -> argparse.ArgumentParser:
    """Describe the options."""
    options = argparse.ArgumentParser(prog="make faults", description=__doc__)
    add = options.add_argument
    add("--seed", type=int, default=int.from_bytes(os.urandom(3)), help="replays the same faults")
    add("--rounds", type=int, default=3000, help="rounds of all families together (3000)")
    add("--minutes", type=float, help="begin no new world after so many minutes")
    add("--only", action="append", default=[], metavar="FAMILY", help="only this family; may be repeated")
    add("--life", type=int, help="only the world of this number")
    add("--workers", type=int, default=_WORKERS, help=f"worlds at a time ({_WORKERS})")
    add("--stop-seconds", type=float, default=1.0, help="how long a stopped client stays stopped (1)")
    add("--verbose", action="store_true", help="count every kind of fault")
    add("--keep", action="store_true", help="keep log and marks of worlds that failed")
    add("--list", action="store_true", help="name the families")
    add("--worker", type=int, help=argparse.SUPPRESS)
    add("--parent", type=int, help=argparse.SUPPRESS)
    add("--result", type=Path, help=argparse.SUPPRESS)
    return options


def main() -> int:
    """Run."""
    arguments = parser().parse_args()
    if arguments.list:
        print("\n".join(f"{family.name:12} {(family.round.__doc__ or '').strip()}" for family in FAMILIES))
        return 0
    families = [family for family in FAMILIES if not arguments.only or family.name in arguments.only]
    _ENDING.install()
    if arguments.worker is not None:
        if not end_with(arguments.parent):
            return 1
        try:
            tally = work(arguments, families)
        finally:
            if os.getppid() != arguments.parent:
                shutil.rmtree(arguments.result.parent, ignore_errors=True)
        found = {"rounds": tally.rounds, "kinds": tally.kinds, "slowest": tally.slowest, "failures": tally.failures}
        arguments.result.write_text(json.dumps(found))
        return 1 if tally.failures else 0
    print(f"seed {arguments.seed}", flush=True)
    begun = time.monotonic()
    tally = share_out(arguments)
    report(tally, arguments.seed, time.monotonic() - begun, arguments.verbose)
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
