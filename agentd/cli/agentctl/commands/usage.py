"""``agentctl usage``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from agentd.cli.agentctl.client import Json
from agentd.cli.agentctl.command import Commands, Invocation, Status, UsageError, add_name, not_empty
from agentd.cli.agentctl.kept_events import kept_events
from agentd.cli.agentctl.lookup import find_agent
from agentd.cli.agentctl.used import QUOTA, TOKENS, USAGE, Used, document, quota_text
from agentd.text.terminal import BOLD, DIM, Cell, lines, span

_DETAILS = """\
Says of each provider of workers whether one may be spawned, and if not, why and until when; of each window of its
account's quota how much is used and when that resets; and sums up tokens, and cost in USD where its program says it.
--provider P shows only that one, --refresh reads the programs' newest records first.
Then the same of each agent, from all turns among the events that are kept: --agents shows only these, and NAME one
agent and each run of it; with --json their runs stand there always. Each number has its source and its age. Nothing is
guessed: - stands for what no program told.
When not on a terminal: one line per provider, with fields separated by tabs: provider, usable, quota, output tokens,
cost, reason; and one per agent, or run: name, or id of the run, turns, input, output, cache read and cache write
tokens, cost, source, seconds since the latest number, quota."""

_EXAMPLES = """\
agentctl usage
agentctl usage --provider codex --refresh --json
agentctl usage --json | jq '.providers[].usable'
agentctl usage --agents --json | jq '.[].output_tokens'
agentctl usage reviewer-0 --json | jq '.[].quota'"""

_HEADING = ("NAME", "TURNS", "INPUT", "OUTPUT", "CACHE READ", "CACHE WRITE", "COST", "SOURCE", "AGE", "QUOTA")


def register(commands: Commands) -> None:
    """Add the command."""
    usage = commands.add("usage", _usage, details=_DETAILS, examples=_EXAMPLES)
    add_name(usage, optional=True)
    usage.add_argument("--agents", action="store_true", help="only what agents used")
    usage.add_argument("--provider", metavar="P", type=not_empty, help="only the account of this provider, or of all")
    usage.add_argument("--refresh", action="store_true", help="read the providers' newest records first")


def _usage(invocation: Invocation) -> Status:
    given = invocation.arguments
    of_providers = given.provider is not None or given.refresh
    if of_providers and (given.agents or given.name is not None):
        raise UsageError("--provider and --refresh are about providers, NAME and --agents about agents; leave one out")
    if given.agents or given.name is not None:
        documents, shown = _agents(invocation, given.name)
        invocation.print_result(documents, shown)
        return Status.DONE
    everything = given.provider is None
    report, shown = _providers(invocation, None if given.provider == "all" else given.provider, refresh=given.refresh)
    if everything:
        report["agents"], of_agents = _agents(invocation, None)
        shown += [*([""] if invocation.display.table else []), *of_agents]
    if invocation.as_json:
        invocation.print_document(report, line=True)
    else:
        invocation.print(shown)
    return Status.DONE


def _agents(invocation: Invocation, name: str | None) -> tuple[list[dict[str, Json]], list[str]]:
    """Give what agents used, and the lines that show it."""
    from datetime import UTC

    agents = invocation.api.agents() if name is None else [find_agent(invocation.api, name)]
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
    return documents, [*lines(_HEADING, rows, invocation.display)]


def _providers(invocation: Invocation, provider: str | None, *, refresh: bool) -> tuple[dict[str, object], list[str]]:
    """Give what is known of providers' accounts, and the lines that show it."""
    from agentd.cli.agentctl.pooled import run_pool
    from agentd.pool.accounts import usage
    from agentd.pool.results.common import document as document_of

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
    return {**document_of(report)}, [*lines(heading, rows, invocation.display)]


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
