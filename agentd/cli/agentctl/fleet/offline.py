"""Plan for hosts of a file, without asking anybody."""

from __future__ import annotations

import os
from pathlib import Path

from agentd.cli.agentctl.command import CommandError, Invocation
from agentd.cli.agentctl.fleet.plan_view import plan_view
from agentd.fleet.hosts_file import HostsFileError, parse_hosts
from agentd.fleet.placement import place
from agentd.fleet.protocol import JcardBody, PlanView
from agentd.fleet.wishes import wishes_of
from agentd.harness.registry import load_harnesses
from agentd.jcard.load import load_jcard
from agentd.settings.context import load_context, resolve_agent_user, resolve_data_dir


def plan_for(invocation: Invocation, body: JcardBody, hosts: Path) -> PlanView:
    """Plan as if nothing ran yet.

    Raises
    ------
    CommandError
        If a file cannot be read, or is wrong.
    SettingsError
        If the agents cannot run as the user that was asked for.
    """
    try:
        found = parse_hosts(hosts.read_bytes(), str(hosts))
    except OSError as error:
        raise CommandError(f"{hosts}: cannot be read: {error.strerror}; name another file") from None
    except HostsFileError as error:
        raise CommandError(str(error)) from None
    user, _ = resolve_agent_user(invocation.settings.agent_user, os.environ)
    harnesses = load_harnesses().harnesses
    data_dir = resolve_data_dir(invocation.settings.data_dir, user)
    context = load_context(Path(body.path).absolute(), user.name, user.home, harnesses, data_dir)
    loaded = load_jcard(body.jcard.encode(), body.path, context)
    if loaded.errors:
        raise CommandError("; ".join(map(str, loaded.errors)))
    plan = place(wishes_of(loaded.agents, loaded.tables), found, {})
    return plan_view(plan, [str(warning) for warning in loaded.warnings])
