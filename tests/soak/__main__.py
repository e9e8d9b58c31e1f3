"""Run agentd with many agents for a long time, trouble it all the while; nothing may grow, no agent be lost.

``make soak``, or ``python -m tests.soak --help``. Exit status 0 if every figure stayed flat and no agent was lost.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from agentd.text.durations import DurationError, format_duration, parse_duration
from benchmarks.machine import check_limits, load, working_folder
from tests.soak.oracle import complaints, look, restarted_sentinels, twice
from tests.soak.population import Population
from tests.soak.slopes import HEADING, Limit, Trend, trend
from tests.support.daemon import Daemon

_SETTLE_LIMIT = 60.0
"""Seconds in which everything has to be as declared once edits pause; a quiet machine needs a few."""
_WARM_UP = 0.15
"""Part of the soak whose samples do not count: caches fill, agents come up."""
_REQUESTS = 15
"""Of which the fastest counts: what else the machine does makes the others slower."""
_MOST_PROBLEMS = 20
_GARBAGE = 0.15
"""Part of the edits that are preceded by a broken file."""


class Soak:
    """One run."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self._arguments = arguments
        self._chance = random.Random(arguments.seed)
        self._folder = folder
        self._marks = folder / "marks"
        self._marks.mkdir()
        (folder / "d").mkdir()
        self.daemon = Daemon(folder / "d")
        self._population = Population(arguments.agents, str(self._marks), self._chance)
        self._begun = time.monotonic()
        self._samples: dict[str, list[tuple[float, float]]] = {}
        self._settled: list[float] = []
        self.problems: list[str] = []
        self.counts = {"edits": 0, "secrets": 0, "restarts": 0, "checks": 0}
        self._kill_next = True

    # -- trouble

    def edit(self) -> None:
        if self._chance.random() < _GARBAGE:
            text = self.daemon.jcard.read_bytes()
            garbage = self._chance.choice(
                [b"", b"[[agents]\n", text[: self._chance.randrange(len(text))], b"\xff" * 50]
            )
            self.daemon.jcard.write_bytes(garbage)
            time.sleep(self._chance.uniform(0, 0.05))
        self._population.edit()
        self.daemon.write_jcard(self._population.text())
        self.counts["edits"] += 1

    def rotate(self) -> None:
        self.daemon.write_secret("ROTATING", f"value-{self._chance.getrandbits(64):x}")
        self.daemon.write_secret("FOR_NOBODY", f"value-{self._chance.getrandbits(64):x}")
        self.counts["secrets"] += 1

    def restart(self) -> None:
        if self._kill_next:
            self.daemon.kill()
        else:
            self.daemon.stop(timeout=30)
        self._kill_next = not self._kill_next
        self.daemon.start("--on-shutdown=keep", "--log-format=json")
        self.counts["restarts"] += 1

    # -- looking

    def check(self) -> None:
        """Let it settle, and hold it to what is declared."""
        begun = time.monotonic()
        self.counts["checks"] += 1
        while True:
            seen = look(str(self.daemon.bin))
            found = twice(seen, lambda: look(str(self.daemon.bin)))
            self._problems(f"two runs at once: {text}" for text in found)
            found = complaints(seen, self._population.agents, self.daemon.sessions(), self._marks)
            if not found:
                self._settled.append(time.monotonic() - begun)
                break
            if time.monotonic() > begun + _SETTLE_LIMIT:
                self._problems(f"not settled within {_SETTLE_LIMIT:g} s: {text}" for text in found)
                break
            time.sleep(0.25)
        self._problems(restarted_sentinels(self._population.agents, self._marks))

    def _problems(self, found: Iterable[str]) -> None:
        for text in found:
            if text not in self.problems:
                self.problems.append(text)
                say(f"PROBLEM {text}")

    def sample(self) -> None:
        at = time.monotonic() - self._begun
        latencies = []
        for _ in range(_REQUESTS):
            asked = time.perf_counter()
            self.daemon.get("/v1/agents")
            latencies.append(1000 * (time.perf_counter() - asked))
        process = psutil.Process(self.daemon.pid)
        server = self.daemon.tmux_pid()
        runs = self.daemon.tmux_socket.with_name(self.daemon.tmux_socket.name + ".runs")
        figures = {
            "memory": process.memory_info().rss / 1e6,
            "files": process.num_fds(),
            "threads": process.num_threads(),
            "latency": min(latencies),
            "runtime": len(list(runs.iterdir())),
            "processes": len(psutil.Process(server).children(recursive=True)) if server else 0,
            "state": _megabytes(self.daemon.state),
            "tmux": psutil.Process(server).memory_info().rss / 1e6 if server else 0,
        }
        for name, value in figures.items():
            self._samples.setdefault(name, []).append((at, value))

    # -- the whole

    def run(self) -> None:
        """Until time is over, or too much is wrong."""
        self.daemon.write_secret("ROTATING", "first")
        self.daemon.write_jcard(self._population.text())
        self.daemon.start("--on-shutdown=keep", "--log-format=json")
        self.check()
        self._begun = begun = time.monotonic()
        arguments = self._arguments
        every: list[tuple[float, Callable[[], None]]] = [
            (arguments.edit_every, self.edit),
            (arguments.secret_every, self.rotate),
            (arguments.sample_every, self.sample),
            (arguments.check_every, self.check),
            *([(arguments.restart_every, self.restart)] if arguments.restart_every else []),
        ]
        due = [(begun + seconds, seconds, act) for seconds, act in every]
        said = begun
        while (now := time.monotonic()) < begun + arguments.time and len(self.problems) < _MOST_PROBLEMS:
            due.sort(key=lambda entry: entry[0])
            at, seconds, act = due[0]
            if at > now:
                time.sleep(min(at - now, 1.0))
                continue
            act()
            # After a long check nothing is made up for.
            due[0] = max(at + seconds, time.monotonic()), seconds, act
            if now > said + 60:
                said = now
                say(f"{(now - begun) / 60:.0f} min: {self.counts}, {len(self.problems)} problems, load {load()}")
        self.check()
        self._stop()

    def _stop(self) -> None:
        self.daemon.stop(timeout=60)
        self.daemon.start("--on-shutdown=stop", "--log-format=json")
        self.daemon.stop(timeout=60)
        self._problems(f"left behind: {text}" for text in self.daemon.left_behind())

    def trends(self) -> list[Trend]:
        limits = {
            "memory": ("memory of agentd", "MB", Limit(0.08, 4)),
            "files": ("file descriptors of agentd", "", Limit(0.05, 5)),
            "threads": ("threads of agentd", "", Limit(0, 2)),
            "latency": ("GET /v1/agents", "ms", Limit(0.5, 3)),
            "runtime": ("files in the runtime directory", "", Limit(0.10, 10)),
            "processes": ("processes below the tmux server", "", Limit(0.10, 10)),
        }
        kept = {name: points[int(_WARM_UP * len(points)) :] for name, points in self._samples.items()}
        return [trend(what, unit, kept[name], limit) for name, (what, unit, limit) in limits.items()]

    def report(self) -> bool:
        """Print everything; whether it was good."""
        trends = self.trends()
        print(
            f"{self._arguments.agents} agents for {format_duration(self._arguments.time)}, seed {self._arguments.seed}"
        )
        print(", ".join(f"{number} {name}" for name, number in self.counts.items()))
        if self._settled:
            print(
                f"as declared after a pause of edits: median {statistics.median(self._settled):.1f} s, "
                f"worst {max(self._settled):.1f} s"
            )
        tmux = [value for _, value in self._samples["tmux"]]
        state = [value for _, value in self._samples["state"]]
        print(f"tmux server: {tmux[0]:.0f} MB at first, {tmux[-1]:.0f} MB at last (scrollback, as the agents write)")
        print(f"state directory: {state[0]:.1f} MB at first, {state[-1]:.1f} MB at last (transcripts and journal)\n")
        print("\n".join([HEADING, *(each.row() for each in trends)]))
        good = not self.problems and all(each.flat for each in trends)
        print("\n".join(["", *(f"- {text}" for text in self.problems[:_MOST_PROBLEMS])]))
        print("verdict: " + ("flat, no agent lost" if good else "NOT GOOD"))
        return good


def _megabytes(folder: Path) -> float:
    """What the files of a folder hold, while others write and remove them."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(f"{place}/{name}").st_size
    return total / 1e6


def say(text: str) -> None:
    """Report progress, which is no part of the report."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except DurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__, allow_abbrev=False)
    parser.add_argument("--agents", metavar="N", type=int, default=300)
    parser.add_argument("--time", metavar="DURATION", type=_duration, default=1800.0, help="how long [30m]")
    parser.add_argument("--seed", metavar="N", type=int, default=random.SystemRandom().getrandbits(32))
    for name, default, what in (
        ("edit", "3s", "edits of the jcard"),
        ("secret", "5s", "rotations of a secret that 5 %% of the agents receive"),
        ("restart", "1m", "ends of agentd, by SIGKILL and by keep in turn; 0 is never"),
        ("sample", "5s", "looks at memory, files, threads, latency"),
        ("check", "20s", "pauses in which everything must become as declared"),
    ):
        parser.add_argument(
            f"--{name}-every", metavar="DURATION", type=_duration, default=default, help=f"{what} [{default}]"
        )
    return parser


def _interrupted(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Run one soak."""
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, _interrupted)
    check_limits(int(arguments.agents * 1.1) + 1)
    folder = working_folder()
    say(f"seed {arguments.seed}, load {load()}")
    soak = Soak(arguments, folder)
    try:
        soak.run()
        good = soak.report()
    except KeyboardInterrupt:
        say("interrupted: ending everything")
        good = False
    finally:
        problems = soak.daemon.close()
        shutil.rmtree(folder, ignore_errors=True)
    for text in problems:
        print(text, file=sys.stderr)
    return 0 if good and not problems else 1


if __name__ == "__main__":
    sys.exit(main())
