"""The same work by agentd, supervisord, circus and pm2 in one run, as ratios: ``make peers``."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from statistics import median

from benchmarks.machine import cpu_seconds, exists, facts, is_busy, load, resident_megabytes, working_folder
from benchmarks.peers.contenders import CONTENDERS, PATIENCE, Contender, PeerError, versions
from benchmarks.rollcall import Report, RollCall, RollCallError
from benchmarks.running import say

MEASURES = {
    "start": ("from the supervisor's exec until all agents run", "s"),
    "notice": ("SIGKILL of an agent until the supervisor shows it", "ms"),
    "restart": ("SIGKILL of an agent until its next run's first act", "ms"),
    "add": ("one agent added, until its first act", "ms"),
    "stop": ("told to end, until nothing is left", "s"),
    "idle": ("CPU while nothing happens", "% of a core"),
    "memory": ("resident memory of the supervisor's own processes", "MB"),
}
Samples = dict[str, list[float]]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__, allow_abbrev=False)
    names = [each.name for each in CONTENDERS]
    parser.add_argument("--quick", action="store_true", help="20 agents, fewer repeats: two minutes")
    parser.add_argument("--agents", metavar="N", type=int, help="[100]")
    parser.add_argument(
        "--only", metavar="NAME", nargs="+", choices=names, default=names, help=f"of {', '.join(names)}"
    )
    return parser.parse_args()


class _Match:
    """One supervisor through all measures."""

    def __init__(self, contender: Contender, roll: RollCall, count: int, *, quick: bool) -> None:
        self._contender = contender
        self._roll = roll
        self._names = [f"a{number}" for number in range(count)]
        self._repeats = 5 if quick else 20
        self._idle_seconds = 10.0 if quick else 30.0
        self._agents: dict[str, Report] = {}
        self._gone: list[int] = []

    def play(self) -> Samples:
        """Measure everything."""
        begun = time.perf_counter()
        self._contender.start(self._names)
        found: Samples = {"start": [self._arrived(len(self._names)) - begun]}
        time.sleep(2.0)  # supervisord calls nothing running in its first second
        found["idle"], found["memory"] = self._idle()
        found["notice"], found["restart"] = self._exits()
        found["add"] = [self._add(f"more{number}") for number in range(self._repeats)]
        found["stop"] = [self._stop()]
        return found

    def _arrived(self, number: int) -> float:
        reports = self._roll.wait(number, PATIENCE)
        self._agents |= {report.name: report for report in reports}
        return max(report.seen for report in reports)

    def _idle(self) -> tuple[list[float], list[float]]:
        pids = self._contender.pids()
        before = sum(map(cpu_seconds, pids))
        time.sleep(self._idle_seconds)
        used = sum(map(cpu_seconds, pids)) - before
        return [100 * used / self._idle_seconds], [sum(map(resident_megabytes, pids))]

    def _exits(self) -> tuple[list[float], list[float]]:
        notice, restart = [], []
        with _probe(self._contender.probe()) as probe:
            assert probe.stdin is not None
            assert probe.stdout is not None
            for _ in range(self._repeats):
                victim = self._agents[random.choice(self._names)]
                probe.stdin.write(f"{victim.name} {victim.pid}\n".encode())
                time.sleep(0.1 + random.random())  # at any moment of whatever period the supervisor has
                begun = time.perf_counter()
                os.kill(victim.pid, signal.SIGKILL)
                if not select.select([probe.stdout], [], [], PATIENCE)[0]:
                    raise PeerError(f"{self._contender.name} never noticed that {victim.name} was gone")
                notice.append(1000 * (time.perf_counter() - begun))
                probe.stdout.readline()
                restart.append(1000 * (self._arrived(1) - begun))
        return notice, restart

    def _add(self, name: str) -> float:
        begun = time.perf_counter()
        self._contender.add(name)
        return 1000 * (self._arrived(1) - begun)

    def _stop(self) -> float:
        pids = [*self._contender.pids(), *(report.pid for report in self._agents.values())]
        begun = time.perf_counter()
        self._contender.end()
        self._contender.reap()
        while any(map(exists, pids)):
            if time.perf_counter() > begun + PATIENCE:
                raise PeerError(f"{sum(map(exists, pids))} processes outlive {self._contender.name}")
            time.sleep(0.005)
        return time.perf_counter() - begun


@contextlib.contextmanager
def _probe(argv: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PM2_HOME": os.environ.get("PM2_HOME", "")}
    probe = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=environment)
    assert probe.stdout is not None
    try:
        if probe.stdout.readline() != b"ready\n":
            raise PeerError(f"{argv[1]} could not ask")
        yield probe
    finally:
        probe.kill()
        probe.wait()


def _one(kind: type[Contender], count: int, *, quick: bool) -> Samples:
    folder = working_folder()
    try:
        with RollCall(folder) as roll:
            contender = kind(folder, folder / "roll")
            os.environ["PM2_HOME"] = str(folder / "pm2")
            try:
                return _Match(contender, roll, count, quick=quick).play()
            finally:
                contender.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _shown(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _table(found: dict[str, Samples]) -> str:
    names = list(found)
    rows = [["measure", *names], ["---"] * (len(names) + 1)]
    for measure, (text, unit) in MEASURES.items():
        own = median(found["agentd"][measure]) if "agentd" in found else None
        row = [f"{text} [{unit}]"]
        for name in names:
            value = median(found[name][measure])
            ratio = "" if own is None or name == "agentd" else f" ({value / own:.2g} x)" if own else " (-)"
            better = own is not None and name != "agentd" and value < 0.95 * own
            cell = f"{_shown(value)}{ratio}"
            row.append(f"**{cell}**" if better else cell)
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _run() -> int:
    arguments = _arguments()
    count = arguments.agents or (20 if arguments.quick else 100)
    about = {**facts(), **versions()}
    if is_busy():
        say(f"this machine is busy (load average {load()}): times will be too long")
    found: dict[str, Samples] = {}
    for kind in CONTENDERS:
        if kind.name not in arguments.only:
            continue
        missing = kind.missing()
        if missing is not None:
            say(f"without {missing}: benchmarks/peers/install fetches it")
            continue
        say(f"{kind.name}: {count} agents")
        found[kind.name] = _one(kind, count, quick=arguments.quick)
    print("\n".join(f"- {name}: {value}" for name, value in {**about, "load average after": load()}.items()))
    print(f"- agents: {count}\n\n{_table(found)}")
    return 0


def _interrupted(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Run; 0 if everything could be measured, whatever the figures are."""
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        return _run()
    except KeyboardInterrupt:
        return 130
    except (PeerError, RollCallError, AssertionError, OSError) as error:
        print(f"benchmarks.peers: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
