"""Run the benchmark and print the table: ``make bench``, or ``python -m benchmarks --help``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

from benchmarks.effort import FULL, QUICK, Effort
from benchmarks.floor import FloorError
from benchmarks.machine import UnfitError, check_limits, facts, is_busy, load
from benchmarks.profile import ProfilerMissingError, profile
from benchmarks.recorded import Recorded
from benchmarks.recording import Recording
from benchmarks.results import MEASURES, Result, Row, judge_all, render
from benchmarks.rollcall import RollCallError
from benchmarks.rounds import Rounds
from benchmarks.running import running_agentd, running_floor, say, warm_up
from benchmarks.steady import Steady
from benchmarks.subject import SubjectError

_IN_ROUNDS = ("start", "stop", "memory")
_WHILE_STEADY = ("idle", "add", "status", "metrics", "api", "exit")
"""In this order: the last one leaves fewer agents."""
_WITHOUT_AGENTS = ("events", "journal")

_FULL_AGENTS = [300, 1000]
_QUICK_AGENTS = [50, 100]
_FAILURES = (FloorError, ProfilerMissingError, RollCallError, SubjectError, UnfitError, AssertionError, OSError)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="fewer agents and repeats: under 90 s")
    parser.add_argument("--only", metavar="NAME", nargs="+", choices=MEASURES, help=f"of {', '.join(MEASURES)}")
    parser.add_argument(
        "--agents", metavar="N", nargs="+", type=int, help="numbers of agents, the first with all targets"
    )
    parser.add_argument("--rounds", metavar="N", type=int, help="starts and stops of everything")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write rows and samples there too")
    parser.add_argument("--strict", action="store_true", help="exit with status 2 if a target is missed")
    parser.add_argument(
        "--profile",
        metavar="FILE",
        type=Path,
        help="record one start with py-spy instead: .svg, .json (speedscope) or .txt",
    )
    return parser


def _measure(
    chosen: Sequence[str], count: int, rounds: int, effort: Effort, environment: Mapping[str, str]
) -> Iterator[Result]:
    if any(name in _IN_ROUNDS for name in chosen):
        for result in Rounds(count, rounds, environment).results():
            if result.measure.partition(",")[0] in chosen:
                yield result
    if "record" in chosen:
        yield from Recording(count, effort).results()
    steady = [name for name in _WHILE_STEADY if name in chosen]
    if not steady:
        return
    say(f"{count} agents: starting, to stay")
    with running_floor(environment) as floor, running_agentd() as subject:
        measures = Steady(subject, floor, count, effort)
        for name in steady:
            say(f"{count} agents: {name}")
            run = {
                "idle": measures.idle,
                "add": measures.add,
                "status": measures.status,
                "metrics": measures.metrics,
                "api": measures.api,
                "exit": measures.exit,
            }[name]
            yield from run()
        subject.stop()


def _measure_recorded(chosen: Sequence[str], effort: Effort) -> Iterator[Result]:
    measures = Recorded(effort)
    for name in (name for name in _WITHOUT_AGENTS if name in chosen):
        say(name)
        yield from {"events": measures.events, "journal": measures.journal}[name]()


def _report(results: Sequence[Result], about: Mapping[str, str], file: Path | None) -> list[Row]:
    rows, about = judge_all(results), {**about, "load average after": load()}
    print(render(rows, about), flush=True)
    if file is not None:
        document = {"machine": about, "rows": [row.as_json() for row in rows]}
        file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return rows


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    # Once: what follows is the cleaning up, which must not be cut short.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    say("interrupted: ending everything")
    raise KeyboardInterrupt


def _run(arguments: argparse.Namespace) -> int:
    counts = sorted(set(arguments.agents or (_QUICK_AGENTS if arguments.quick else _FULL_AGENTS)))
    effort = QUICK if arguments.quick else FULL
    if arguments.rounds is not None:
        effort = replace(effort, rounds=arguments.rounds, rounds_more=arguments.rounds)
    about = facts()
    # The floor and agentd hold their agents at the same time, and each has one session of its own.
    check_limits(2 * (max(counts) + effort.additions + 1))
    if is_busy():
        say(f"this machine is busy (load average {load()}): times will be too long")
    if arguments.profile is not None:
        profile(arguments.profile, counts[0])
        return 0
    chosen = arguments.only or MEASURES
    results: list[Result] = []
    try:
        results.extend(_measure_recorded(chosen, effort))
        if all(name in _WITHOUT_AGENTS for name in chosen):
            counts = []
        environment = warm_up() if counts else {}
        for count in counts:
            rounds = effort.rounds if count == counts[0] else effort.rounds_more
            results.extend(_measure(chosen, count, rounds, effort, environment))
    except (KeyboardInterrupt, *_FAILURES):
        say("ended early; what was measured until then:")
        if results:
            _report(results, about, arguments.json)
        raise
    rows = _report(results, about, arguments.json)
    return 2 if arguments.strict and not all(row.met for row in rows) else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 if everything could be measured, whatever the figures are, unless ``--strict``."""
    # Everything started here is ended by context managers, whichever way it ends.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted)
    try:
        return _run(_parser().parse_args(arguments))
    except KeyboardInterrupt:
        return 130
    except _FAILURES as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
