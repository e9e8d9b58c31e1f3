"""``agentctl spawn``, ``observe``, ``transcript``, ``artifacts``, ``terminate``, ``workers`` and ``stats``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from agentd.cli.agentctl.command import (
    CommandError,
    Commands,
    Invocation,
    Parser,
    Status,
    UsageError,
    add_timeout,
    duration_argument,
    not_empty,
    whole_number,
)
from agentd.cli.agentctl.pooled import comma_list, print_pooled, run_pool
from agentd.model.pool import WorkerEvent, WorkerIsolation
from agentd.model.states import AgentState
from agentd.text.quoting import printable
from agentd.text.terminal import BOLD, Cell, lines

if TYPE_CHECKING:
    from agentd.pool.results.workers import Observation, StatsRow, Worker

_SPAWN_DETAILS = """\
Declares a worker: an agent in a drop-in of its own in jcard.d/workers, which agentd runs like any other. It has the
task as its first message, takes further ones (agentctl send), asks (agentctl answer), and stays until it is terminated
or its --max-runtime is over. With --isolation read_only or sandboxed, or --max-turns, it answers its task and exits.
none works in DIR itself; worktree in a git worktree of its own; sandboxed in such a one in a sandbox; read_only in a
sandbox with a checkout that it cannot write. What cannot be done for real is refused."""

_SPAWN_EXAMPLES = """\
agentctl spawn --provider claude-code --repo . --isolation worktree --task 'Fix the failing test.'
agentctl spawn --provider codex --repo ~/shop --isolation read_only --task-file review.md --role reviewer
git diff | agentctl spawn --provider gemini-cli --repo . --task-stdin --max-runtime 20m --json"""

_OBSERVE_DETAILS = """\
Waits for the first event of any of the workers, and returns at once if it is so already: completed (its last turn ended
well, and no message waits), error (a turn or its program failed), question, approval (it asks whether it may do
something), usage_limit, exited (its program has ended), idle (it is your move), screen_changed. Go on with --cursor
from the answer: then only what happened after that counts. If the time is over, timed_out says so."""

_OBSERVE_EXAMPLES = """\
agentctl observe w1129-191638-3fa2c1
agentctl observe w1129-191638-3fa2c1 w1129-191702-77b0e9 --timeout 5m --json
agentctl observe w1129-191638-3fa2c1 --for question,approval --cursor 4711"""

_TERMINATE_DETAILS = """\
Stops a worker within its grace period and removes the file that declares it. Its worktree goes if nothing in it would
be lost, and stays otherwise; agentctl collect still collects it."""

_STATS_DETAILS = """\
Sums up what workers did, from the events that are kept: runs, how often one hit a usage limit, time from the first
start to the last end, hours of all together, tokens and cost as their programs told them. What is missing is said."""

_ID_HELP = "id of a worker"
_PAGE = 200
"""Lines of a transcript."""


def register(commands: Commands) -> None:
    """Add the commands."""
    _register_spawn(commands)
    _register_observe(commands)
    transcript = _of_worker(
        commands, "transcript", _transcript, examples="agentctl transcript w1129-191638-3fa2c1 --tail-lines 50"
    )
    transcript.add_argument("--offset", metavar="N", type=whole_number, help="number of the first line [0]")
    transcript.add_argument("--limit", metavar="N", type=whole_number, help=f"most lines [{_PAGE}]")
    transcript.add_argument("--tail-lines", metavar="N", type=whole_number, help="the last N lines instead")
    artifacts = _of_worker(commands, "artifacts", _artifacts, examples="agentctl artifacts w1129-191638-3fa2c1 --json")
    artifacts.add_argument("--offset", metavar="N", type=whole_number, default=0, help="number of the first file [0]")
    artifacts.add_argument("--limit", metavar="N", type=whole_number, default=100, help="most files [100]")
    terminate = _of_worker(
        commands, "terminate", _terminate, _TERMINATE_DETAILS, "agentctl terminate w1129-191638-3fa2c1 --dry-run"
    )
    terminate.add_argument("--dry-run", action="store_true", help="only say what would be done")
    _register_lists(commands)


def _of_worker(
    commands: Commands, name: str, run: Callable[[Invocation], Status], details: str = "", examples: str = ""
) -> Parser:
    parser = commands.add(name, run, details=details, examples=examples)
    parser.add_argument("name", metavar="ID", type=not_empty, help=_ID_HELP)
    return parser


def _register_spawn(commands: Commands) -> None:
    spawn = commands.add("spawn", _spawn, details=_SPAWN_DETAILS, examples=_SPAWN_EXAMPLES)
    spawn.add_argument(
        "--provider", metavar="P", required=True, type=not_empty, help="as agentctl inventory lists them"
    )
    task = spawn.add_mutually_exclusive_group(required=True)
    task.add_argument("--task", metavar="TEXT", help="what it is to do")
    task.add_argument("--task-stdin", action="store_true", help="read that from standard input")
    task.add_argument("--task-file", metavar="FILE", type=not_empty, help="read that from a file")
    spawn.add_argument("--repo", metavar="DIR", required=True, help="folder that it works in, or of its repository")
    spawn.add_argument(
        "--isolation",
        choices=[*map(str, WorkerIsolation)],
        default=str(WorkerIsolation.NONE),
        help="where it works [none]",
    )
    spawn.add_argument("--role", metavar="R", type=not_empty, help="what it is to be called in lists and statistics")
    spawn.add_argument("--model", metavar="M", type=not_empty, help="model it uses")
    spawn.add_argument("--reasoning-effort", metavar="E", type=not_empty, help="low, medium, high and so on")
    spawn.add_argument("--max-runtime", metavar="D", type=duration_argument, help="longest that it lives, such as 30m")
    spawn.add_argument(
        "--max-turns", metavar="N", type=whole_number, help="most steps of its one run; Claude Code only"
    )
    spawn.add_argument(
        "--allowed-path",
        metavar="P",
        action="append",
        default=[],
        help="path that it is to change; collect tells others",
    )
    spawn.add_argument("--parent", metavar="ID", type=not_empty, help="whom it works for [the agent that calls]")


def _register_observe(commands: Commands) -> None:
    observe = commands.add("observe", _observe, details=_OBSERVE_DETAILS, examples=_OBSERVE_EXAMPLES)
    observe.add_argument("names", metavar="ID", nargs="+", help=_ID_HELP)
    observe.add_argument(
        "--for",
        metavar="EVENT,…",
        dest="events",
        type=comma_list(WorkerEvent),
        help="which events [all but idle, screen_changed]",
    )
    add_timeout(observe, "how long to wait")
    observe.add_argument(
        "--detail", choices=("summary", "excerpt", "full"), default="summary", help="how much [summary]"
    )
    observe.add_argument("--cursor", metavar="C", type=not_empty, help="as an earlier answer gave it")


def _register_lists(commands: Commands) -> None:
    workers = commands.add(
        "workers", _workers, examples="agentctl workers\nagentctl workers --state running,starting --json"
    )
    workers.add_argument(
        "--state", metavar="STATE,…", type=comma_list(AgentState), default=[], help="only these states"
    )
    workers.add_argument("--recent", metavar="N", type=whole_number, help="only the newest N")
    stats = commands.add(
        "stats", _stats, details=_STATS_DETAILS, examples="agentctl stats\nagentctl stats --since 24h --by role --json"
    )
    stats.add_argument("--since", metavar="D", type=duration_argument, help="only the last D, such as 24h")
    stats.add_argument(
        "--from", metavar="TIME", dest="begin", type=_time, help="only from then on, such as 2026-01-31T09:00:00Z"
    )
    stats.add_argument("--to", metavar="TIME", dest="end", type=_time, help="only until then")
    stats.add_argument(
        "--by", choices=("provider", "role", "agent"), default="provider", help="a line for each [provider]"
    )


def _time(text: str) -> float:
    from datetime import UTC, datetime

    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a time such as 2026-01-31T09:00:00Z, found {text!r}") from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


def _spawn(invocation: Invocation) -> Status:
    from agentd.pool.checking import SpawnRequest
    from agentd.pool.spawning import spawn

    given = invocation.arguments
    request = SpawnRequest(
        provider=given.provider,
        task=_task(given),
        repo=given.repo,
        isolation=WorkerIsolation(given.isolation),
        role=given.role,
        model=given.model,
        reasoning_effort=given.reasoning_effort,
        max_runtime=given.max_runtime,
        max_turns=given.max_turns,
        allowed_paths=tuple(given.allowed_path),
        parent=given.parent,
    )
    spawned = run_pool(invocation, lambda pool: spawn(pool, request))
    for warning in spawned.warnings:
        invocation.warn(printable(warning))
    print_pooled(invocation, spawned, [f"{spawned.id}: {spawned.state}; {spawned.attach} shows it; {spawned.next}"])
    return Status.DONE


def _task(given: argparse.Namespace) -> str:
    try:
        if given.task_stdin:
            return sys.stdin.buffer.read().decode()
        if given.task_file is not None:
            return Path(given.task_file).read_bytes().decode()
    except OSError as error:
        raise CommandError(f"{given.task_file}: cannot be read: {error.strerror}; name another file") from None
    except UnicodeDecodeError as error:
        raise CommandError(f"the task: expected UTF-8, byte {error.start + 1} is not; convert it") from None
    return str(given.task)


def _observe(invocation: Invocation) -> Status:
    from agentd.pool.observing import DEFAULT_EVENTS, observe
    from agentd.pool.telling import Detail

    given = invocation.arguments
    wanted = [WorkerEvent(each) for each in given.events] if given.events else DEFAULT_EVENTS
    seen = run_pool(
        invocation,
        lambda pool: observe(
            pool, invocation.names(), wanted, patience=given.timeout, detail=Detail(given.detail), cursor=given.cursor
        ),
    )
    print_pooled(invocation, seen, _observed(seen))
    return Status.DONE


def _observed(seen: Observation) -> list[str]:
    who = "" if seen.worker is None else f"{seen.worker} is {seen.state}: "
    shown = [f"{who}{seen.event or 'nothing happened in time'}"]
    if seen.exit is not None:
        reason = f", {seen.exit.reason}" if seen.exit.reason else ""
        shown.append(f"exit code {seen.exit.code}, signal {seen.exit.signal}{reason}")
    shown += [f"asks: {printable(seen.asks)}"] if seen.asks else []
    shown += [f"error: {printable(seen.error)}"] if seen.error else []
    shown += [printable(each) for each in (seen.answer or "").splitlines()]
    shown += [printable(each) for each in seen.output or ()]
    return [*shown, f"next: {seen.next}", f"cursor: {seen.cursor}"]


def _transcript(invocation: Invocation) -> Status:
    from agentd.pool.transcripts import transcript

    given = invocation.arguments
    if given.tail_lines is not None and (given.offset is not None or given.limit is not None):
        raise UsageError("transcript: --tail-lines is the end, --offset and --limit a page; leave one out")
    limit = _PAGE if given.limit is None else given.limit
    page = run_pool(invocation, lambda pool: transcript(pool, invocation.name(), given.offset, limit, given.tail_lines))
    print_pooled(invocation, page, page.lines)
    if page.has_more and not invocation.as_json:
        invocation.warn(f"there is more: --offset {page.next_offset}")
    return Status.DONE


def _artifacts(invocation: Invocation) -> Status:
    from agentd.pool.collecting import artifacts

    given = invocation.arguments
    page = run_pool(invocation, lambda pool: artifacts(pool, invocation.name(), given.offset, given.limit or 1))
    rows = [
        [Cell(each.status), Cell("" if each.bytes is None else str(each.bytes)), Cell(printable(each.path))]
        for each in page.artifacts
    ]
    print_pooled(invocation, page, lines(("STATUS", "BYTES", "PATH"), rows, invocation.display))
    return Status.DONE


def _terminate(invocation: Invocation) -> Status:
    from agentd.pool.ending import terminate

    dry = bool(invocation.arguments.dry_run)
    done = run_pool(invocation, lambda pool: terminate(pool, invocation.name(), dry_run=dry))
    tree = ""
    if done.worktree is not None:
        tree = f"; its worktree {done.worktree} {'stays, work is in it' if done.worktree_stays else 'is removed'}"
    print_pooled(invocation, done, [f"{done.worker}: {'would be terminated' if dry else 'terminated'}{tree}"])
    return Status.DONE


def _workers(invocation: Invocation) -> Status:
    from agentd.pool.listing import workers

    given = invocation.arguments
    states = [AgentState(each) for each in given.state]
    found = run_pool(invocation, lambda pool: workers(pool, states, given.recent))
    heading = ("ID", "PROVIDER", "STATE", "ACTIVITY", "ROLE", "ISOLATION", "SPAWNED", "REPO")
    print_pooled(invocation, found, lines(heading, [_worker_row(each) for each in found.workers], invocation.display))
    return Status.DONE


def _worker_row(worker: Worker) -> list[Cell]:
    texts = (worker.activity, worker.role, worker.isolation, worker.spawned_at, worker.repo)
    return [
        Cell(worker.id, BOLD),
        Cell(worker.provider),
        Cell(worker.state),
        *(Cell(printable(each or "")) for each in texts),
    ]


def _stats(invocation: Invocation) -> Status:
    import time

    from agentd.pool.statistics import stats

    given = invocation.arguments
    if given.since is not None and (given.begin is not None or given.end is not None):
        raise UsageError("stats: --since is up to now, --from and --to name both ends; leave one out")
    begin = time.time() - given.since if given.since is not None else given.begin
    found = run_pool(invocation, lambda pool: stats(pool, begin, given.end, given.by))
    heading = (given.by.upper(), "WORKERS", "RUNS", "LIMITS", "WALL CLOCK", "HOURS", "INPUT", "OUTPUT", "COST")
    rows = [_stats_row(each) for each in (*found.rows, found.total)]
    print_pooled(invocation, found, lines(heading, rows, invocation.display))
    for note in [] if invocation.as_json else found.notes:
        invocation.warn(note)
    return Status.DONE


def _stats_row(row: StatsRow) -> list[Cell]:
    def number(value: float | None, form: str) -> Cell:
        return Cell("" if value is None else format(value, form))

    return [
        Cell(printable(row.key), BOLD),
        Cell(str(row.workers)),
        Cell(str(row.runs)),
        Cell(str(row.limits_hit)),
        number(row.wall_clock_seconds, ".0f"),
        number(row.worker_seconds / 3600, ".2f"),
        number(row.input_tokens, "d"),
        number(row.output_tokens, "d"),
        number(row.cost_usd, ".4f"),
    ]
