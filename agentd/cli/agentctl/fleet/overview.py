"""Show hosts, and where all agents are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final, NamedTuple

from agentd.cli.agentctl.attention import order
from agentd.cli.agentctl.client import ApiError, Json, view, views
from agentd.cli.agentctl.command import CommandError, Invocation, Status
from agentd.cli.agentctl.fleet.client import FleetClient
from agentd.cli.agentctl.lookup import agent_document, unknown_agent
from agentd.cli.agentctl.status_view import agent_lines, overview_table
from agentd.cli.agentctl.watch import watched
from agentd.fleet.protocol import FleetView, HostState, HostView, PlacedView, Placement
from agentd.model.status import AgentStatus
from agentd.text.quoting import printable
from agentd.text.sizes import about
from agentd.text.terminal import BOLD, CYAN, DIM, GREEN, RED, YELLOW, Cell, Display, lines, plural

HOST: Final = "HOST"

_HOST_STYLES: Final = {
    HostState.READY: GREEN,
    HostState.DRAINING: YELLOW,
    HostState.LOST: RED,
    HostState.FENCED: RED,
}
_PLACEMENT_STYLES: Final = {
    Placement.PENDING: RED,
    Placement.WAITING: YELLOW,
    Placement.MOVING: YELLOW,
    Placement.LEAVING: DIM,
}


_STOPPING: Final = frozenset({Placement.MOVING, Placement.LEAVING})


def host_lines(hosts: Sequence[HostView], display: Display) -> list[str]:
    """Show hosts, a line each."""
    heading = ("NAME", "STATE", "AGENTS", "SLOTS", "CPUS", "MEMORY", "GPUS", "LABELS", "VERSION", "ADDRESS", "NOTE")
    rows = [
        [
            Cell(host.name, BOLD),
            Cell(host.state, _HOST_STYLES.get(host.state, "")),
            Cell(str(host.agents)),
            Cell(f"{host.used_slots}/{host.slots}"),
            Cell(_of(host.used_cpus, host.cpus)),
            Cell(f"{about(host.used_memory)}/{about(host.memory)}" if host.memory else ""),
            Cell(_of(host.used_gpus, host.gpus)),
            Cell(",".join(f"{name}={value}" for name, value in sorted(host.labels.items()))),
            Cell(host.version or ""),
            Cell(host.address or ""),
            Cell(host.note or "", RED),
        ]
        for host in hosts
    ]
    if not hosts and display.table:
        return ["no hosts: agentd-fleet join ADDRESS adds one"]
    return lines(heading, rows, display)


def _of(used: float, there_is: float) -> str:
    return f"{used:g}/{there_is:g}" if there_is else ""


def fleet_lines(client: FleetClient, display: Display) -> list[str]:
    """Show the fleet: hosts, and the agents that are not where they are to be; off a terminal all agents."""
    placed = client.placed()
    if not display.table:
        return _placed_lines(placed, display)
    shown = [*_header(client.fleet(), display), "", *host_lines(client.hosts(), display)]
    waiting = [each for each in placed if each.placement != Placement.PLACED]
    return [*shown, *(["", *_placed_lines(waiting, display)] if waiting else [])]


def _placed_lines(placed: Sequence[PlacedView], display: Display) -> list[str]:
    rows = [
        [
            Cell(each.name, BOLD),
            Cell(each.placement, _PLACEMENT_STYLES.get(each.placement, "")),
            Cell(each.host or "", CYAN),
            Cell(each.previous or ""),
            Cell(each.reason),
        ]
        for each in placed
    ]
    return lines(("NAME", "PLACEMENT", HOST, "FROM", "REASON"), rows, display)


def _header(fleet: FleetView, display: Display) -> list[str]:
    where = f" on {printable(fleet.controller)}" if fleet.controller else ""
    jcard = (
        "no jcard has been applied: agentctl fleet apply FILE"
        if fleet.jcard is None
        else f"jcard {printable(fleet.jcard)}, revision {fleet.revision}, applied {printable(fleet.applied_at or '')}"
    )
    pending = f"{fleet.agents_pending} pending"
    return [
        f"{display.paint(f'fleet {printable(fleet.version)}', BOLD)}{where}: {fleet.hosts_ready} of "
        f"{plural(fleet.hosts, 'host')} ready, {plural(fleet.agents, 'agent')}, {fleet.agents_placed} placed, "
        + (display.paint(pending, RED) if fleet.agents_pending else pending),
        jcard,
        *(f"  {display.paint('warning:', YELLOW)} {printable(warning)}" for warning in fleet.warnings),
    ]


def fleet_document(client: FleetClient) -> dict[str, object]:
    """Give what ``fleet status --json`` prints."""
    return {
        "fleet": asdict(client.fleet()),
        "hosts": [asdict(host) for host in client.hosts()],
        "agents": [asdict(each) for each in client.placed()],
    }


def with_hosts(documents: Json) -> tuple[list[AgentStatus], Mapping[str, str]]:
    """Read the agents of a fleet, and the host of each."""
    agents = views(AgentStatus, documents)
    raw = documents if isinstance(documents, list) else []
    hosts = {agent.name: str(each.get("host") or "") for agent, each in zip(agents, raw, strict=True)}
    return agents, hosts


def fleet_status(invocation: Invocation) -> Status:
    """Show all agents of the fleet as ``agentctl status`` does, or one."""
    arguments = invocation.arguments
    if arguments.watch:
        return watched(invocation, lambda: _lines_now(invocation))
    if not invocation.as_json:
        invocation.print(_lines(invocation))
    elif arguments.name is not None:
        invocation.print_document(agent_document(invocation.api, invocation.name()))
    else:
        invocation.print_document(_status_document(invocation))
    return Status.DONE


def _lines(invocation: Invocation) -> list[str]:
    return _one_agent(invocation) if invocation.arguments.name is not None else _status_lines(invocation)


def _lines_now(invocation: Invocation) -> list[str]:
    """Show them, or why they cannot be shown at the moment: a Controller may be away, and come back."""
    try:
        return _lines(invocation)
    except (ApiError, CommandError) as error:
        return [printable(str(error))]


def _status_lines(invocation: Invocation) -> list[str]:
    client, display = FleetClient(invocation.api), invocation.display
    agents, hosts = with_hosts(client.api.get("/v1/agents"))
    attention = bool(invocation.arguments.attention)
    running = {agent.name for agent in agents}
    missing = [each for each in client.placed() if each.name not in running]
    absent = [(each.name, each.host or "", _why(each)) for each in missing]
    shown = sorted(agents, key=order) if attention else agents
    table = overview_table(shown, display, hosts, absent, by_name=not attention)
    return [*_header(client.fleet(), display), "", *table] if display.table else table


def _why(placed: PlacedView) -> str:
    return placed.reason or {
        Placement.PLACED: "its host has not said yet that it has it",
        Placement.MOVING: f"it is being stopped on {placed.previous}",
    }.get(Placement(placed.placement), placed.placement)


def _status_document(invocation: Invocation) -> dict[str, object]:
    client = FleetClient(invocation.api)
    documents = client.api.get("/v1/agents")
    if invocation.arguments.attention and isinstance(documents, list):
        documents = sorted(documents, key=lambda each: order(view(AgentStatus, each)))
    return {
        "fleet": asdict(client.fleet()),
        "agents": documents,
        "placed": [asdict(each) for each in client.placed()],
    }


def _one_agent(invocation: Invocation) -> list[str]:
    """Show one agent, or where it is to be if it does not run."""
    client, wanted = FleetClient(invocation.api), invocation.name().lower()
    placed = next((each for each in client.placed() if each.name.lower() == wanted), None)
    try:
        document = agent_document(invocation.api, invocation.name())
    except CommandError:
        if placed is None:
            raise
        return _placed_lines([placed], invocation.display)
    [agent], hosts = with_hosts([document])
    return agent_lines(agent, invocation.display, None, hosts[agent.name] or (placed.host if placed else None) or "")


class Reached(NamedTuple):
    """An agent, and how its host is reached."""

    agent: str
    host: str
    address: str


def address_of(client: FleetClient, agent: str) -> Reached:
    """Find the host of an agent, and the address that it is reached by.

    Raises
    ------
    CommandError
        If the agent is not known, or has no host.
    """
    placed = client.placed()
    found = next((each for each in placed if each.name.lower() == agent.lower()), None)
    if found is None:
        raise unknown_agent(agent, [each.name for each in placed], otherwise="agentctl list --fleet shows all agents")
    # One that is being stopped is still where it was.
    at = found.previous if found.placement in _STOPPING and found.previous else found.host
    if at is None:
        raise CommandError(f"{found.name} has no host: {found.reason or found.placement}")
    host = next((each for each in client.hosts() if each.name == at), None)
    return Reached(found.name, at, host.address if host is not None and host.address else at)
