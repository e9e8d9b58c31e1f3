"""``agentctl fleet``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.cli.agentctl.command import CommandError, Commands, Invocation, Status, UsageError, not_empty

if TYPE_CHECKING:
    from agentd.cli.agentctl.fleet.client import FleetClient
    from agentd.fleet.protocol import JcardBody, PlanView

_DETAILS = """\
apply FILE: hands the fleet a jcard, whose agents it places on its hosts; --dry-run only says what it would do, as plan.
plan FILE: shows what would go where, and why; with --hosts for the hosts of a file, without asking anybody and as if
nothing ran yet. hosts: lists the hosts, and what is left of them. status: shows the fleet, and the agents that are not
where they are to be. drain HOST: moves all away from a host, and places nothing there. uncordon HOST: takes that back.
forget HOST: your word that nothing runs on a lost host any more: it leaves the list, and its agents are launched
elsewhere at once; where that is wrong, they run twice. rebalance: moves agents from full hosts to emptier ones;
--dry-run only says which.

Marks of a plan: + start, ~ move, - remove, ? pending, ! waits for a lost host; --all shows those that stay, too (=).
When not on a terminal, fields are separated by tabs; plan: mark, step, agent, host, from, reason; hosts: name, state,
agents, slots, cpus, memory, gpus, labels, version, address, note; status: agent, placement, host, from, reason.

A file of hosts has [[hosts]] tables with name, slots, and if need be cpus, memory, gpus, labels, cordoned, draining and
lost; or is what agentctl fleet hosts --json prints.
FILE may be - for standard input. The other commands ask agentd-fleet beside the agentd of this machine; those with
--fleet do, too: status, list, logs, screen, events, send, wait, collect and attach."""

_EXAMPLES = """\
agentctl fleet plan jcard.toml --hosts hosts.toml
agentctl fleet apply jcard.toml --dry-run
agentctl fleet apply jcard.toml
agentctl fleet hosts
agentctl fleet drain h3
agentctl fleet forget h4
agentctl fleet rebalance --dry-run
agentctl fleet status --json | jq -r '.agents[] | select(.placement == "pending") | .reason'"""

_OF_FILE = ("apply", "plan")
_OF_HOST = ("drain", "uncordon", "forget")
_ALONE = ("hosts", "status", "rebalance")


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("fleet", _fleet, details=_DETAILS, examples=_EXAMPLES)
    actions = (*_OF_FILE, *_ALONE, *_OF_HOST)
    parser.add_argument("action", metavar="ACTION", choices=actions, help=f"one of {', '.join(actions)}")
    parser.add_argument("target", metavar="FILE|HOST", nargs="?", type=not_empty, help="the jcard, or the host")
    parser.add_argument("--hosts", metavar="FILE", type=not_empty, help="plan: for the hosts of this file")
    parser.add_argument("--all", action="store_true", help="show agents that stay as they are, too")
    parser.add_argument("--dry-run", action="store_true", help="apply, rebalance: only say what would be done")
    parser.set_defaults(fleet=True)


def _fleet(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.fleet.client import FleetClient

    action = str(invocation.arguments.action)
    _check(invocation, action)
    client = FleetClient(invocation.api)
    if action in _OF_FILE:
        _show_plan(invocation, _of_file(invocation, client, action))
    elif action in _OF_HOST:
        changes = {"drain": client.drain, "uncordon": client.uncordon, "forget": client.forget}
        _show_plan(invocation, changes[action](str(invocation.arguments.target)))
    elif action == "rebalance":
        _show_plan(invocation, client.rebalance(dry_run=bool(invocation.arguments.dry_run)))
    else:
        _show(invocation, client, action)
    return Status.DONE


def _check(invocation: Invocation, action: str) -> None:
    arguments = invocation.arguments
    if action in _ALONE and arguments.target is not None:
        raise UsageError(f"fleet {action} takes no {'HOST' if action == 'hosts' else 'FILE'}; leave it out")
    if action not in _ALONE and arguments.target is None:
        raise UsageError(
            f"fleet {action} needs a {'FILE' if action in _OF_FILE else 'HOST'}: see agentctl fleet --help"
        )
    if arguments.hosts is not None and action != "plan":
        raise UsageError(f"--hosts is for plan, which asks nobody; leave it out, or name {action} the fleet's hosts")
    if arguments.dry_run and action not in ("apply", "rebalance"):
        raise UsageError(f"fleet {action} has no --dry-run; fleet plan and fleet rebalance --dry-run change nothing")


def _of_file(invocation: Invocation, client: FleetClient, action: str) -> PlanView:
    from pathlib import Path

    body = _read(str(invocation.arguments.target))
    if invocation.arguments.hosts is not None:
        from agentd.cli.agentctl.fleet.offline import plan_for

        return plan_for(invocation, body, Path(invocation.arguments.hosts))
    return client.plan(body) if action == "plan" or invocation.arguments.dry_run else client.apply(body)


def _read(text: str) -> JcardBody:
    from agentd.files.regular import without_mark
    from agentd.fleet.protocol import MOST_JCARD_BYTES, JcardBody
    from agentd.jcard.given_file import given_file
    from agentd.settings.context import ConfigUnavailableError

    file = given_file(text)
    if file.is_folder():
        raise CommandError(f"{text}: found a folder, expected one jcard")
    try:
        data = without_mark(file.read())
        if len(data) > MOST_JCARD_BYTES:
            raise CommandError(f"{text}: expected {MOST_JCARD_BYTES} bytes at most, found {len(data)}")
        return JcardBody(data.decode(), text)
    except ConfigUnavailableError as error:
        raise CommandError(str(error)) from None
    except UnicodeDecodeError as error:
        raise CommandError(f"{text}: expected UTF-8, byte {error.start + 1} is not; convert it") from None


def _show_plan(invocation: Invocation, plan: PlanView) -> None:
    from agentd.cli.agentctl.fleet.plan_view import plan_document, plan_lines
    from agentd.text.quoting import printable

    for warning in plan.warnings:
        invocation.warn(f"warning: {printable(warning)}")
    shown = plan_lines(plan, invocation.display, everything=bool(invocation.arguments.all))
    invocation.print_result(plan_document(plan), shown)


def _show(invocation: Invocation, client: FleetClient, action: str) -> None:
    from dataclasses import asdict

    from agentd.cli.agentctl.fleet.overview import fleet_document, fleet_lines, host_lines

    if action == "hosts":
        hosts = client.hosts()
        invocation.print_result([asdict(host) for host in hosts], host_lines(hosts, invocation.display))
    elif invocation.as_json:
        invocation.print_document(fleet_document(client))
    else:
        invocation.print(fleet_lines(client, invocation.display))
