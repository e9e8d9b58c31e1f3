"""``agentctl status`` and ``agentctl list``."""

from __future__ import annotations

from agentd.cli.agentctl.client import Json, view, views
from agentd.cli.agentctl.command import Commands, Invocation, Status, add_fleet, add_name
from agentd.cli.agentctl.lookup import agent_document, find_agent
from agentd.cli.agentctl.status_view import agent_lines, list_lines, overview_lines
from agentd.model.status import AgentStatus, Health
from agentd.text.quoting import printable

_STATUS_DETAILS = """\
When not on a terminal: one line per agent, with fields separated by tabs: name, state, uptime in seconds, restarts,
exit (status or signal of the last run that ended), pid, harness, session, the error, question or next restart, and the
activity; with --fleet also the host. With NAME: one line per field of that agent, as name, tab, value; the field
detail says whether the agent waits for somebody to trust its folder. Without NAME the exit status is 1 if agentd
answers but does not do its work ("problem" in the JSON)."""

_STATUS_EXAMPLES = """\
agentctl status
agentctl status reviewer-0
agentctl status --watch --attention
agentctl status | awk -F'\\t' '$2 == "failed" {print $1}'
agentctl status --json | jq '.agents[] | select(.running) | .pid'"""

_LIST_DETAILS = """\
When not on a terminal: one line per agent, with fields separated by tabs: name, harness, type, session, workdir; with
--wide also owner and file, with --fleet the host last."""

_LIST_EXAMPLES = """\
agentctl list
agentctl list --wide
agentctl list | cut -f1
agentctl list --json | jq -r '.[].session'"""

_LISTED = ("name", "harness", "type", "session", "workdir", "owner", "source")


def register(commands: Commands) -> None:
    """Add both commands."""
    parser = commands.add("status", _status, details=_STATUS_DETAILS, examples=_STATUS_EXAMPLES)
    add_name(parser, optional=True)
    parser.add_argument("--watch", action="store_true", help="update it until C-c")
    parser.add_argument("--attention", action="store_true", help="show whoever needs somebody first")
    add_fleet(parser)
    parser = commands.add("list", _list, details=_LIST_DETAILS, examples=_LIST_EXAMPLES)
    parser.add_argument("--wide", action="store_true", help="show the file that declares each agent, and its owner")
    add_fleet(parser)


def _status(invocation: Invocation) -> Status:
    if invocation.fleet:
        from agentd.cli.agentctl.fleet.overview import fleet_status

        return fleet_status(invocation)
    if invocation.arguments.watch:
        from agentd.cli.agentctl.watch import watched

        return watched(invocation, lambda: _lines(invocation))
    if not invocation.as_json:
        return _print_lines(invocation)
    if invocation.arguments.name is not None:
        invocation.print_document(agent_document(invocation.api, invocation.name()))
        return Status.DONE
    document = invocation.api.get("/v1/health")
    invocation.print_document({"daemon": document, "agents": _documents(invocation)})
    return _green(view(Health, document))


def _print_lines(invocation: Invocation) -> Status:
    if invocation.arguments.name is not None:
        invocation.print(_agent_lines(invocation))
        return Status.DONE
    health = invocation.api.health()
    invocation.print(_overview(invocation, health))
    return _green(health)


def _green(health: Health) -> Status:
    """A daemon that answers, but does not do its work, is none that is well."""
    return Status.DONE if health.problem is None else Status.FAILED


def _lines(invocation: Invocation) -> list[str]:
    if invocation.arguments.name is not None:
        return _agent_lines(invocation)
    return _overview(invocation, invocation.api.health())


def _agent_lines(invocation: Invocation) -> list[str]:
    from agentd.cli.agentctl.trust_question import waits_for

    agent = find_agent(invocation.api, invocation.name())
    return agent_lines(agent, invocation.display, waits_for(invocation.api, agent))


def _overview(invocation: Invocation, health: Health) -> list[str]:
    if not invocation.display.table and health.problem is not None:
        invocation.warn(printable(health.problem))
    if not invocation.display.table and not health.config.valid:
        # On a terminal the header says it.
        invocation.warn(f"config {printable(health.config.path)}: not valid: {printable(health.config.error or '')}")
    return overview_lines(health, _sorted(invocation, invocation.api.agents()), invocation.display)


def _documents(invocation: Invocation) -> Json:
    documents = invocation.api.get("/v1/agents")
    if not isinstance(documents, list):
        return documents
    by_name = dict(zip((agent.name for agent in views(AgentStatus, documents)), documents, strict=True))
    return [by_name[agent.name] for agent in _sorted(invocation, views(AgentStatus, documents))]


def _sorted(invocation: Invocation, agents: list[AgentStatus]) -> list[AgentStatus]:
    if not invocation.arguments.attention:
        return agents
    from agentd.cli.agentctl.attention import order

    return sorted(agents, key=order)


def _list(invocation: Invocation) -> Status:
    if invocation.fleet:
        return _list_fleet(invocation)
    agents = invocation.api.agents()
    document = [{name: getattr(agent, name) for name in _LISTED} for agent in agents]
    invocation.print_result(document, list_lines(agents, invocation.display, wide=bool(invocation.arguments.wide)))
    return Status.DONE


def _list_fleet(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.fleet.overview import with_hosts

    agents, hosts = with_hosts(invocation.api.get("/v1/agents"))
    document = [{**{name: getattr(agent, name) for name in _LISTED}, "host": hosts[agent.name]} for agent in agents]
    wide = bool(invocation.arguments.wide)
    invocation.print_result(document, list_lines(agents, invocation.display, wide=wide, hosts=hosts))
    return Status.DONE
