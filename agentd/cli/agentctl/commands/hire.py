"""``agentctl init`` and ``agentctl hire``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agentd.cli.agentctl.command import (
    CommandError,
    Commands,
    Invocation,
    Status,
    UsageError,
    add_gateway_options,
    add_timeout,
    not_empty,
)
from agentd.text.quoting import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentd.cli.agentctl.edit import EditResult
    from agentd.cli.agentctl.worktree_context import WorktreeContext

_LIMIT = 30.0
"""Seconds that hire waits by default."""

_INIT_DETAILS = """\
Creates a workspace: a folder with SOUL.md (who the agent is), AGENTS.md (how to work here; CLAUDE.md and GEMINI.md are
links to it), memory/memory.md and today's note in notes/. Existing files are never changed. A role is any name. Some
have their own templates: those built in (engineer, reviewer, writer) and those in $XDG_CONFIG_HOME/agentd/roles/ROLE,
which take precedence. Templates may contain {role}, {name} and {date}."""

_INIT_EXAMPLES = """\
agentctl init engineer
agentctl init reviewer --workspace ./review"""

_HIRE_DETAILS = """\
Creates a workspace as agentctl init does, adds the agent ROLE_NAME to the jcard with that workspace as its workdir and
restart = "always", waits until it runs, and prints its name and pid. If the agent is declared already, nothing changes.
Says whether agentd had the harness trust the workspace, or that the agent waits for somebody to do so. With a prompt,
the agent stays after its answer (mode = "interactive"). With --gateway it is agentd-gateway that declares the agent."""

_HIRE_EXAMPLES = """\
agentctl hire engineer alice
agentctl hire reviewer bob --harness codex --prompt "Review what alice did"
agentctl hire engineer alice --json | jq .pid"""


def register(commands: Commands) -> None:
    """Add both commands."""
    init = commands.add("init", _init, details=_INIT_DETAILS, examples=_INIT_EXAMPLES)
    init.add_argument("role", metavar="ROLE", help="a role, such as engineer")
    hire = commands.add("hire", _hire, details=_HIRE_DETAILS, examples=_HIRE_EXAMPLES)
    hire.add_argument("role", metavar="ROLE", help="a role, such as engineer")
    hire.add_argument("name", metavar="NAME", type=not_empty, help="a name, such as alice")
    for parser in (init, hire):
        parser.add_argument(
            "--workspace",
            metavar="DIR",
            type=not_empty,
            help="its folder [workspaces/ROLE[_NAME] in --data-dir]",
        )
    hire.add_argument("--harness", metavar="HARNESS", default="claude-code", help="the coding agent [claude-code]")
    hire.add_argument("--model", metavar="MODEL", help="model it uses")
    prompt = hire.add_mutually_exclusive_group()
    prompt.add_argument("--prompt", metavar="TEXT", help="its first prompt")
    prompt.add_argument("--prompt-file", metavar="FILE", help="file that holds its first prompt")
    add_timeout(hire, "how long to wait until it runs", _LIMIT)
    add_gateway_options(hire)


def _init(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.worktree_context import WorktreeContext

    role = str(invocation.arguments.role)
    _check_names(role, None)
    context = WorktreeContext.of(invocation)
    if not context.can_act_as_agents:
        raise CommandError(f"only root and {context.agent_user} can create files of that user")
    workspace = _workspace(invocation, context, role)
    made = _make_workspace(context, workspace, role, role)
    folder = printable(str(workspace))
    lines = [f"made {folder}/{printable(name)}" for name in made] or [f"{folder} exists already"]
    invocation.print_result({"role": role, "workspace": str(workspace), "made": made}, lines)
    return Status.DONE


def _hire(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.client import UnreachableError
    from agentd.cli.agentctl.trust_question import first_seen
    from agentd.cli.agentctl.waiting import wait_until_running
    from agentd.cli.agentctl.worktree_context import WorktreeContext

    role = str(invocation.arguments.role)
    _check_names(role, invocation.name())
    _require_coding_agent(str(invocation.arguments.harness))
    if "gateway" in invocation.arguments:
        return _hire_by_gateway(invocation, role)
    name = f"{role}_{invocation.name()}"
    context = WorktreeContext.of(invocation)
    if context.agents is None:
        invocation.api.get("/v1/health")
        raise UnreachableError("it has just started; try again")
    workspace = _workspace(invocation, context, name)
    fields = _fields(invocation, role, workspace)
    # A dry run first, so that nothing is made for an agent that exists already or cannot be declared.
    declared = _declare(context, name, fields, dry_run=True)
    made: list[str] = []
    if declared.diff:
        # Where this user cannot make files for the agents, the daemon makes the workspace when the agent starts.
        made = _make_workspace(context, workspace, role, name) if context.can_act_as_agents else []
        if made:
            invocation.warn(f"made the workspace {printable(str(workspace))}")
        declared = _declare(context, name, fields, dry_run=False)
    diff = declared.diff
    for line in diff:
        print(printable(line), file=sys.stderr)
    agent = wait_until_running(invocation, declared.present[0])
    trusted, waiting = first_seen(invocation.api, agent)
    if trusted is not None:
        invocation.warn(printable(f"agentd had {agent.harness} trust {agent.workdir}, in {trusted}"))
    if waiting is not None:
        invocation.warn(printable(f"{agent.name} {waiting}"))
    document = {
        "name": agent.name,
        "pid": agent.pid,
        "workspace": agent.workdir,
        "added": bool(diff),
        "made": made,
        "trusted_in": trusted,
        "waiting": waiting,
    }
    invocation.print_result(document, [f"{agent.name} {agent.pid}"])
    return Status.DONE


def _hire_by_gateway(invocation: Invocation, role: str) -> Status:
    """Have agentd-gateway declare it: for who may not edit the jcard."""
    from agentd.cli.agentctl.gateway.client import Gateway

    given = invocation.arguments
    if given.prompt is not None or given.prompt_file is not None or given.workspace is not None:
        raise UsageError(
            "--prompt, --prompt-file and --workspace cannot be used with --gateway: send a message instead"
        )
    body = {"role": role, "name": invocation.name(), "harness": given.harness, "model": given.model}
    hired = Gateway.of(invocation).post("/hire", body)
    invocation.print_result(hired, [printable(f"{hired.get('name')} {hired.get('pid')}")])
    return Status.DONE


def _check_names(role: str, name: str | None) -> None:
    from agentd.jcard.checks import check_name

    agent = role if name is None else f"{role}_{name}"
    for what, value in (("ROLE", role), ("NAME", name), ("the agent's name", agent)):
        try:
            if value is not None:
                check_name(value)
        except ValueError as error:
            raise UsageError(f"{what}: {error}") from None


def _require_coding_agent(name: str) -> None:
    from agentd.harness.registry import load_harnesses

    harness = load_harnesses().harnesses.get(name)
    if harness is not None and harness.takes_command:
        raise UsageError(
            f"--harness: found {name}, which runs a command; expected a coding agent, such as claude-code; "
            f"agentctl add NAME --harness {name} -- COMMAND adds that"
        )


def _workspace(invocation: Invocation, context: WorktreeContext, name: str) -> Path:
    from agentd.settings.folders import absolute
    from agentd.workspaces.workspace import WORKSPACES

    folder: str | None = invocation.arguments.workspace
    return context.data_dir / WORKSPACES / name if folder is None else absolute(folder)


def _make_workspace(context: WorktreeContext, workspace: Path, role: str, name: str) -> list[str]:
    """Create what a workspace lacks, as the agents' user, and return the paths of what was created."""
    from datetime import UTC, datetime

    from agentd.process.runner import Runner
    from agentd.settings.folders import templates_folder
    from agentd.workspaces.roles import TemplateError, TemplateValues, workspace_files
    from agentd.workspaces.workspace import WorkspaceError, make_workspace

    today = datetime.now(UTC).astimezone().date()
    try:
        texts = workspace_files(TemplateValues(role, name, today), templates_folder(os.environ))
        return make_workspace(Runner(context.user, os.environ), workspace, texts)
    except (TemplateError, WorkspaceError) as error:
        raise CommandError(f"cannot create the workspace {workspace}: {error}") from None


def _fields(invocation: Invocation, role: str, workspace: Path) -> Mapping[str, str]:
    from agentd.model.spec import Mode, RestartPolicy
    from agentd.settings.folders import absolute

    given = invocation.arguments
    fields = {"harness": str(given.harness)}
    if given.model is not None:
        fields["model"] = str(given.model)
    if given.prompt is not None:
        fields["prompt"] = str(given.prompt)
    elif given.prompt_file is not None:
        fields["prompt_file"] = str(absolute(given.prompt_file))
    if given.prompt is not None or given.prompt_file is not None:
        # With restart = "always" an answer that ends the run would be asked for again and again.
        fields["mode"] = Mode.INTERACTIVE.value
    return {**fields, "role": role, "workdir": str(workspace), "restart": RestartPolicy.ALWAYS.value}


def _declare(context: WorktreeContext, name: str, fields: Mapping[str, str], *, dry_run: bool) -> EditResult:
    """Add the agent to the jcard, unless one of that name is declared already, whatever its fields."""
    from agentd.cli.agentctl.edit import Edit, make_edit
    from agentd.jcard.edit.agents import add_agent, declared_agents

    def add(text: str, name: str) -> str:
        known = {declared.casefold() for declared in declared_agents(text)}
        return text if name.casefold() in known else add_agent(text, name, fields)

    edit = Edit(add, names=(name,), after=(name,), adds_to=context.settings.config)
    return make_edit(context.settings, context.user, edit, dry_run=dry_run)
