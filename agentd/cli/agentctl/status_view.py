"""Format the status of the daemon and its agents. Pure."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import NamedTuple

from agentd.cli.agentctl.budget_view import budget_line
from agentd.cli.agentctl.sandbox_view import sandbox_line, sandbox_rows
from agentd.model.limits import LIMIT_FIELDS
from agentd.model.states import Activity, AgentState
from agentd.model.status import (
    AgentStatus,
    Health,
    HeldChangeStatus,
    LimitsStatus,
    LimitStatus,
    QueuedStatus,
    Recording,
    RecordingHealth,
    StalledStatus,
    UsageLimitStatus,
    WorktreeStatus,
)
from agentd.text.quoting import printable
from agentd.text.sizes import about
from agentd.text.terminal import BOLD, CYAN, DIM, GREEN, RED, YELLOW, Cell, Display, lines, plural, span


class Look(NamedTuple):
    """How a state looks: its symbol, and an SGR style."""

    symbol: str
    style: str


_LOOKS: Mapping[str, Look] = {
    AgentState.PENDING: Look("◌", CYAN),
    AgentState.QUEUED: Look("◌", YELLOW),
    AgentState.STARTING: Look("◔", CYAN),
    AgentState.RUNNING: Look("●", GREEN),
    AgentState.STOPPING: Look("◕", YELLOW),
    AgentState.BACKOFF: Look("↻", YELLOW),
    AgentState.EXITED: Look("✓", DIM),
    AgentState.FAILED: Look("✗", RED),
    AgentState.TIMED_OUT: Look("✗", RED),
    AgentState.DISABLED: Look("○", DIM),
}
_ACTIVITY_STYLES: Mapping[str, str] = {
    Activity.WAITING_PERMISSION: YELLOW,
    Activity.WAITING_INPUT: YELLOW,
    Activity.USAGE_LIMIT: RED,
    Activity.AUTH_ERROR: RED,
    Activity.IDLE: DIM,
}
"""Of those that need somebody, and of those that do nothing."""
_EMPTY = Cell("")
_UNKNOWN = Look("?", BOLD)
"""For a state of a newer daemon."""

_HEADING = ("NAME", "STATE", "ACTIVITY", "UPTIME", "RESTARTS", "EXIT", "PID", "RUNS", "SESSION", "DETAIL")
_LIST_HEADING = ("NAME", "HARNESS", "TYPE", "SESSION", "WORKDIR")
_WIDE_HEADING = ("OWNER", "FILE")


def overview_lines(health: Health, agents: Sequence[AgentStatus], display: Display) -> list[str]:
    """Format the daemon and all agents; when not on a terminal only the agents."""
    table = overview_table(agents, display)
    if not display.table:
        return table
    header = _header(health, display)
    return [*header, "", *table] if agents else [*header, "no agents"]


def overview_table(
    agents: Sequence[AgentStatus],
    display: Display,
    hosts: Mapping[str, str] | None = None,
    missing: Sequence[tuple[str, str, str]] = (),
    *,
    by_name: bool = True,
) -> list[str]:
    """Show agents, a line each.

    Parameters
    ----------
    hosts
        The host of each; without it there is no such column.
    missing
        Agents that run nowhere, by name: the host of each, and the reason.
    by_name
        Whether these stand among the others, by name, or after them.
    """
    rows = [_row(agent, display) for agent in agents]
    rows += ([Cell(name, BOLD), Cell(AgentState.PENDING, CYAN), *[_EMPTY] * 7, Cell(why)] for name, _, why in missing)
    of = {**(hosts or {}), **{name: host for name, host, _ in missing}}
    if missing and by_name:
        rows.sort(key=lambda row: row[0].text)
    if not display.table:
        # Last, since scripts count the fields before it.
        at = _HEADING.index("ACTIVITY")
        rows = [[*row[:at], *row[at + 1 :], row[at]] for row in rows]
        return lines(
            (), [[*row, Cell(of.get(row[0].text, ""))] for row in rows] if hosts is not None else rows, display
        )
    left_out = set[str]()
    if all(agent.session == agent.name for agent in agents):
        left_out.add("SESSION")
    if all(agent.activity in (None, Activity.UNKNOWN) for agent in agents):
        left_out.add("ACTIVITY")
    shown = [column for column, title in enumerate(_HEADING) if title not in left_out]
    heading = [_HEADING[column] for column in shown]
    cells = [[row[column] for column in shown] for row in rows]
    if hosts is not None:
        heading.insert(1, "HOST")
        for row in cells:
            row.insert(1, Cell(of.get(row[0].text, ""), CYAN))
    return lines(heading, cells, display)


def list_lines(
    agents: Sequence[AgentStatus], display: Display, *, wide: bool = False, hosts: Mapping[str, str] | None = None
) -> list[str]:
    """Show all agents and where they run; if wide, who declares them too; with `hosts`, the host of each too."""
    rows = [
        [Cell(agent.name, BOLD), Cell(agent.harness), Cell(agent.type), Cell(agent.session), Cell(agent.workdir)]
        + ([Cell(agent.owner or ""), Cell(agent.source or "")] if wide else [])
        + ([] if hosts is None else [Cell(hosts.get(agent.name, ""), CYAN)])
        for agent in agents
    ]
    heading = _LIST_HEADING + (_WIDE_HEADING if wide else ()) + (() if hosts is None else ("HOST",))
    return lines(heading, rows, display)


def agent_lines(agent: AgentStatus, display: Display, more: str | None = None, host: str | None = None) -> list[str]:
    """Format one agent, a field a line; `more` is added as the field detail, and `host` as host."""
    values = {field.name: getattr(agent, field.name) for field in fields(agent)}
    if host is not None:
        values = {"name": agent.name, "host": host, **values}
    if more is not None:
        values["detail"] = more
    values["worktree"] = None if agent.worktree is None else _worktree(agent.worktree)
    values["limits"] = None if agent.limits is None else "; ".join(_limits(agent.limits))
    values["usage_limit"] = None if agent.usage_limit is None else _usage_limit(agent.usage_limit)
    values["stalled"] = None if agent.stalled is None else _stalled(agent.stalled)
    values["budget"] = None if agent.budget is None else budget_line(agent.budget)
    values["ports"] = ", ".join(f"{variable}={port}" for variable, port in agent.ports.items()) or None
    values["held_change"] = None if agent.held_change is None else _held_change(agent.held_change)
    values["queued"] = None if agent.queued is None else _queued(agent.queued)
    values["sandbox"] = None if agent.sandbox is None else sandbox_line(agent.sandbox)
    if not display.table:
        rows = [[Cell(name), Cell(_plain(value))] for name, value in values.items()]
        return lines((), rows, display)
    ended = values.pop("exit_signal"), values.pop("exit_code")
    values["last exit"] = _exit(agent) if any(value is not None for value in ended) else None
    values["uptime"] = _uptime(agent)
    del values["uptime_seconds"], values["running"]
    values["oom_kills"] = agent.oom_kills or None
    values["priority"] = agent.priority or None
    for name in ("next_restart_at", "deadline"):
        if values[name] is not None:
            values[name] = f"{values[name]} ({_from_now(values[name])})"
    shown = {name.replace("_", " "): _plain(value) for name, value in values.items() if value not in (None, "")}
    if agent.sandbox is not None:
        shown |= sandbox_rows(agent.sandbox)
    widest = max(map(len, shown))
    seen = look(agent)
    symbol = f"{seen.symbol} " if display.symbols else ""
    return [
        f"{display.paint(f'{name:{widest}}', DIM)}  "
        + (display.paint(symbol + printable(value), seen.style) if name == "state" else printable(value))
        for name, value in shown.items()
    ]


def _header(health: Health, display: Display) -> list[str]:
    counts = health.agents
    failed = f"{counts.failed} failed"
    summary = (
        f"{display.paint(f'agentd {printable(health.version)}', BOLD)} {printable(health.state)}"
        f" for {span(health.uptime_seconds)}, pid {health.pid}: {plural(counts.total, 'agent')},"
        f" {counts.running} running, {display.paint(failed, RED) if counts.failed else failed}"
    )
    config = health.config
    shown = [summary]
    if health.problem is not None:
        shown.append(f"  {display.paint('problem:', RED)} {printable(health.problem)}")
    shown += [
        f"config {printable(config.path)}: "
        + (display.paint("valid", GREEN) if config.valid else display.paint("not valid", RED)),
    ]
    if config.error is not None:
        shown.append(f"  {display.paint('error:', RED)} {printable(config.error)}")
    if not config.valid and config.loaded_at is not None:
        shown.append(f"  the configuration of {printable(config.loaded_at)} stays in force")
    shown += [f"  {display.paint('warning:', YELLOW)} {printable(warning)}" for warning in config.warnings]
    return [*shown, *_recording(health.recording, display)]


def _recording(recording: Recording, display: Display) -> Iterator[str]:
    """Report what cannot be recorded."""
    for name in (field.name for field in fields(recording)):
        part: RecordingHealth = getattr(recording, name)
        if part.error is not None:
            yield f"{name}: {display.paint(printable(part.state), RED)}: {printable(part.error)}"


def _row(agent: AgentStatus, display: Display) -> list[Cell]:
    seen = look(agent)
    return [
        Cell(agent.name, BOLD),
        Cell(agent.state, seen.style, seen.symbol),
        Cell(agent.activity or "", _ACTIVITY_STYLES.get(agent.activity or "", "")),
        Cell(_uptime(agent) if display.table else str(agent.uptime_seconds) if agent.running else ""),
        Cell(str(agent.restarts)),
        Cell(_exit(agent)),
        Cell(_plain(agent.pid)),
        Cell(_runs(agent) if display.table else agent.harness),
        Cell(agent.session),
        Cell("; ".join(filter(None, (agent.activity_text, detail(agent)))), RED if agent.error is not None else ""),
    ]


def look(agent: AgentStatus) -> Look:
    """How an agent's state looks in tables."""
    return _LOOKS.get(agent.state, _UNKNOWN)


def _runs(agent: AgentStatus) -> str:
    """Name what an agent runs: its command, or its harness and model."""
    return agent.command or " ".join(filter(None, (agent.harness, agent.model)))


def _uptime(agent: AgentStatus) -> str:
    return span(agent.uptime_seconds) if agent.running else ""


def _exit(agent: AgentStatus) -> str:
    if agent.exit_signal is not None:
        try:
            return signal.Signals(agent.exit_signal).name
        except ValueError:
            return f"signal {agent.exit_signal}"
    return _plain(agent.exit_code)


def detail(agent: AgentStatus) -> str:
    """What is to be known beside an agent's state: its error, when it is restarted or times out."""
    parts = [agent.error] if agent.error is not None else []
    if agent.queued is not None:
        parts.append(_queued(agent.queued))
    elif agent.next_start_at is not None:
        parts.append(f"its schedule starts it {_from_now(agent.next_start_at)}")
    if agent.next_restart_at is not None:
        parts.append(f"restart {_from_now(agent.next_restart_at)}")
    if agent.running and agent.deadline is not None:
        parts.append(f"times out {_from_now(agent.deadline)}")
    if agent.stalled is not None:
        parts.append(f"stalled: {_stalled(agent.stalled)}")
    if agent.usage_limit is not None and agent.usage_limit.resume_at is not None:
        parts.append(f"goes on {_from_now(agent.usage_limit.resume_at)}")
    parts += _over_budget(agent)
    if (held := held_change(agent)) is not None:
        parts.append(held)
    if agent.recording is not None:
        parts.append(f"not recorded: {agent.recording}")
    if agent.running:
        parts += _not_enforced(agent)
    return "; ".join(parts)


def _over_budget(agent: AgentStatus) -> list[str]:
    breached = agent.running and agent.budget is not None and agent.budget.breached
    return [f"over budget: {agent.budget.reason}"] if breached and agent.budget is not None else []


def _usage_limit(limit: UsageLimitStatus) -> str:
    """Say when a usage limit resets, and what follows."""
    resets = "resets at a time that is not known" if limit.resets_at is None else f"resets at {limit.resets_at}"
    follows = limit.reason or "nothing is done about it"
    when = "" if limit.resume_at is None else f" at {limit.resume_at} ({_from_now(limit.resume_at)})"
    return f"{resets}; goes on{when}: {follows}" if when else f"{resets}; {follows}"


def _stalled(stalled: StalledStatus) -> str:
    """Say what was seen of an agent that does not go on, and what was tried."""
    then = "nothing is left to try" if stalled.next is None else f"then {stalled.next}"
    return f"{stalled.reason}; tried {stalled.action}, {then}"


def held_change(agent: AgentStatus) -> str | None:
    """Say what an agent's change that waits changes, if there is one."""
    return None if agent.held_change is None else f"changed: {_held_change(agent.held_change)}"


def _held_change(held: HeldChangeStatus) -> str:
    """Say what a change that waits changes, and what it waits for."""
    until = "" if held.apply_at is None else f"; until {held.apply_at} ({_from_now(held.apply_at)})"
    return f"{', '.join(held.fields)} (waits: {'; '.join(held.waits)}{until})"


def _queued(queued: QueuedStatus) -> str:
    """Say which place an agent has in the queue, and why."""
    return queued.reason if queued.place is None else f"place {queued.place}: {queued.reason}"


def _limits(limits: LimitsStatus) -> Iterator[str]:
    """Say of each limit what it is, what was used of it, and what holds it."""
    for name in LIMIT_FIELDS:
        limit: LimitStatus | None = getattr(limits, name)
        if limit is None:
            continue
        sized = name.startswith("memory")
        value = about(int(limit.value)) if sized else f"{limit.value:g}"
        held = f"not enforced: {limit.reason}" if limit.enforced_by is None else f"held by {limit.enforced_by}"
        peak = () if limit.peak is None else (f"peak {about(limit.peak) if sized else limit.peak}",)
        yield f"{name} {value} ({', '.join((*peak, held))})"


def _not_enforced(agent: AgentStatus) -> Iterator[str]:
    """Name the limits that nothing holds, with the reason."""
    limits = {} if agent.limits is None else {name: getattr(agent.limits, name) for name in LIMIT_FIELDS}
    reasons: dict[str | None, list[str]] = {}
    for name, limit in limits.items():
        if limit is not None and limit.enforced_by is None:
            reasons.setdefault(limit.reason, []).append(name)
    for reason, names in reasons.items():
        yield f"{' and '.join(names)} not enforced: {reason}"


def _worktree(worktree: WorktreeStatus) -> str:
    # Its path is the workdir, or a folder above.
    what = "read-only checkout" if worktree.branch is None else f"branch {worktree.branch}"
    return f"{what} of {worktree.repo}"


def _from_now(moment: str) -> str:
    """Say how far away an RFC 3339 time is."""
    from agentd.text.iso8601 import seconds_of

    at = seconds_of(moment)
    if at is None:
        return f"at {moment}"
    left = at - time.time()
    return f"in {span(round(left))}" if left > 0 else "now"


def _plain(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)
