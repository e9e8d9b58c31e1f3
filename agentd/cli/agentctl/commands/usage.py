"""``agentctl usage``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from agentd.cli.agentctl.client import Json
from agentd.cli.agentctl.command import Commands, Invocation, Status, add_name, not_empty
from agentd.cli.agentctl.kept_events import kept_events
from agentd.cli.agentctl.lookup import find_agent
from agentd.cli.agentctl.used import QUOTA, TOKENS, USAGE, Used, document, quota_text
from agentd.text.terminal import BOLD, DIM, Cell, lines, span

_DETAILS = """\
Sums up what the agents' programs recorded of their models' use, of all turns among the events that are kept: tokens,
cost in USD where the program says it, and how much of the account's quota is used, when that resets, who says so and
how long ago. Nothing is guessed: - stands for what no program told. With NAME each run of it has a line of its own,
too; --json has them always. --provider P, all, or --refresh show the accounts of the providers of workers instead:
whether one may be spawned, each window of the quota, and when it resets.
When not on a terminal: one line per agent, and with NAME one per run, with fields separated by tabs: name, or id of the
run, turns, input, output, cache read and cache write tokens, cost, source, seconds since the latest number, quota."""

_EXAMPLES = """\
agentctl usage
agentctl usage reviewer-0
agentctl usage --json | jq '.[].output_tokens'
agentctl usage reviewer-0 --json | jq '.[].quota'
agentctl usage --provider all --refresh --json"""

_HEADING = ("NAME", "TURNS", "INPUT", "OUTPUT", "CACHE READ", "CACHE WRITE", "COST", "SOURCE", "AGE", "QUOTA")


def register(commands: Commands) -> None:
    """Add the command."""
    usage = commands.add("usage", _usage, details=_DETAILS, examples=_EXAMPLES)
    add_name(usage, optional=True)
    usage.add_argument("--provider", metavar="P", type=not_empty, help="the account of a provider, or all, instead")
    usage.add_argument("--refresh", action="store_true", help="read the providers' newest records first")


def _usage(invocation: Invocation) -> Status:
    from datetime import UTC

    given = invocation.arguments
    if given.provider is not None or given.refresh:
        return _providers(invocation, None if given.provider == "all" else given.provider, refresh=given.refresh)
    name = given.name
    agents = invocation.api.agents() if name is None else [find_agent(invocation.api, str(name))]
    used = {agent.name: Used() for agent in agents}
    for event in kept_events(invocation.api, [USAGE, QUOTA], None if name is None else agents[0].name):
        known = used.get(str(event.get("agent")))
        if known is not None:
            known.add(event)
    now = datetime.now(UTC)
    documents: list[dict[str, Json]] = []
    rows: list[list[Cell]] = []
    for agent in agents:
        sums = used[agent.name]
        shown = document(sums, agent.harness, now)
        runs = [(run, document(each, agent.harness, now)) for run, each in sums.runs.items()]
        documents.append({"name": agent.name, **shown, "runs": [{"run": run, **each} for run, each in runs]})
        table = invocation.display.table
        rows.append(_row(Cell(agent.name, BOLD), shown, agent.harness, now, table=table))
        if name is not None:
            rows += [_row(Cell(run, DIM), each, agent.harness, now, table=table) for run, each in runs]
    invocation.print_result(documents, lines(_HEADING, rows, invocation.display))
    return Status.DONE


def _providers(invocation: Invocation, provider: str | None, *, refresh: bool) -> Status:
    from agentd.cli.agentctl.pooled import print_pooled, run_pool
    from agentd.pool.accounts import usage

    report = run_pool(invocation, lambda pool: usage(pool, provider, refresh=refresh))
    rows = [
        [
            Cell(each.provider, BOLD),
            Cell("yes" if each.usable else "no"),
            Cell("; ".join(f"{window.name} {_percent(window.used_percent)}" for window in each.windows)),
            Cell("" if each.tokens.output is None else str(each.tokens.output)),
            Cell("" if each.cost.usd is None else f"{each.cost.usd:.4f}"),
            Cell(each.unusable_reason or ""),
        ]
        for each in report.providers
    ]
    heading = ("PROVIDER", "USABLE", "QUOTA", "OUTPUT", "COST", "REASON")
    print_pooled(invocation, report, lines(heading, rows, invocation.display))
    return Status.DONE


def _percent(used: float | None) -> str:
    return "unknown" if used is None else f"{used:g} %"


def _row(name: Cell, shown: Mapping[str, Json], harness: str, now: datetime, *, table: bool) -> list[Cell]:
    cost, age = shown["cost_usd"], shown["age_seconds"]
    told = shown["source"] is not None
    return [
        name,
        Cell(str(shown["turns"])),
        *(Cell(str(shown[each]) if told else "") for each in TOKENS),
        Cell(f"{cost:.4f}" if isinstance(cost, int | float) else ""),
        Cell(harness if told else ""),
        Cell("" if not isinstance(age, int) else span(age) if table else str(age)),
        Cell(quota_text(shown["quota"], now)),
    ]
