"""What every editing command does: make its edit, show the diff, and wait for the daemon if asked to."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from agentd.cli.agentctl.answers import answers
from agentd.cli.agentctl.client import ApiError, Json, UnreachableError
from agentd.cli.agentctl.command import CommandError, Invocation, Status, UsageError
from agentd.cli.agentctl.edit import Edit, EditResult, make_edit
from agentd.cli.agentctl.patch_view import patch_lines
from agentd.cli.agentctl.status_view import held_change
from agentd.cli.agentctl.waiting import wait_until_converged
from agentd.jcard.edit.agents import FieldPath
from agentd.jcard.edit.assignments import AssignmentError, FieldValueError, parse_assignment
from agentd.jcard.edit.writing import TomlValue
from agentd.jcard.explain import field_name
from agentd.model.status import AgentStatus
from agentd.settings.context import resolve_agent_user
from agentd.text.quoting import printable, quote


def assignments(words: Sequence[str], taken: Collection[str] = ()) -> dict[FieldPath, TomlValue]:
    """Read key=value arguments.

    Raises
    ------
    UsageError
        If one cannot be read, or gives a field again; the fields in `taken` were given as options.
    CommandError
        If a field does not take its value: the file would not be valid.
    """
    given: dict[FieldPath, TomlValue] = {}
    for word in words:
        try:
            path, value = parse_assignment(word)
        except FieldValueError as error:
            raise CommandError(f"not edited: {error}") from None
        except AssignmentError as error:
            raise UsageError(str(error)) from None
        if path in given or path[0] in taken:
            raise UsageError(f"{field_name(path)} is given twice; give it once")
        given[path] = value
    return given


def run_edit(invocation: Invocation, edit: Edit, unchanged: str = "") -> Status:
    """Make an edit and report it.

    Parameters
    ----------
    invocation
        The call, with the options of `add_edit_options`.
    unchanged
        What to say if nothing changes.

    Raises
    ------
    CommandError
        If it cannot be made; the file is then unchanged.
    SettingsError
        If the agents cannot run as the user that was asked for.
    """
    arguments, settings = invocation.arguments, invocation.settings
    dry_run = bool(arguments.dry_run)
    if dry_run and arguments.wait:
        raise UsageError("--dry-run changes nothing to --wait for; leave one of them out")
    user, _ = resolve_agent_user(settings.agent_user, os.environ)
    result = make_edit(settings, user, edit, dry_run=dry_run)
    files = [str(outcome.file) for outcome in result.outcomes]
    warnings = _warnings(invocation, result)
    for warning in warnings:
        invocation.warn(f"warning: {warning}")
    diff = result.diff
    if not invocation.as_json:
        display = invocation.display
        lines = patch_lines((line.removesuffix("\r") for line in diff), display) if display.table else diff
        invocation.print(lines if diff else [f"nothing to change: {unchanged}"])
        if diff and dry_run and display.table:
            invocation.print([f"dry run: {printable(', '.join(files))} {'is' if len(files) == 1 else 'are'} unchanged"])
    observed: Sequence[Json] | None = None
    error: str | None = None
    status = Status.DONE
    if arguments.wait:
        status, observed, error = _wait(invocation, result)
    if invocation.as_json:
        invocation.print_document(
            {
                "changed": result.changed,
                "dry_run": dry_run,
                "file": files[0],
                "files": files,
                "diff": "".join(f"{line}\n" for line in diff),
                "agents": list(result.present),
                "removed": list(result.gone),
                "warnings": warnings,
                "observed": observed,
                "error": error,
            }
        )
    if error is not None:
        invocation.warn(printable(error))
    return status


def _warnings(invocation: Invocation, result: EditResult) -> list[str]:
    warnings = [f"{agent} cannot be launched: {printable(problem)}" for agent, problem in result.unlaunchable.items()]
    warnings += map(printable, result.warnings)
    warnings += result.worktrees
    if result.renamed:
        warnings.append(
            f"{', '.join(result.renamed)}: has no name of its own in the file, so it now gets another one and is "
            "relaunched; agentctl rename gives a name that stays"
        )
    config = invocation.settings.config
    try:
        in_force = invocation.api.health().config.path
    except (UnreachableError, ApiError):
        # Without a daemon the edit counts when one starts.
        return warnings
    if answers(Path(in_force)) and os.path.realpath(in_force) != os.path.realpath(config):
        warnings.append(
            f"the daemon on {invocation.api.path} runs {printable(in_force)}, not {config}: name its file with --config"
        )
    return warnings


def _state(agent: AgentStatus) -> str:
    return f"{agent.name} is {agent.state}" + (f" (pid {agent.pid})" if agent.pid is not None else "")


def _wait(invocation: Invocation, result: EditResult) -> tuple[Status, Sequence[Json] | None, str | None]:
    """Wait for the daemon; whatever goes wrong now, the message says that the edit is made."""
    made = "the edit is made" if result.changed else "there was nothing to edit"
    try:
        agents = wait_until_converged(
            invocation, [outcome.file for outcome in result.outcomes], result.present, result.gone
        )
    except UnreachableError as error:
        return (
            Status.UNREACHABLE,
            None,
            f"{made}, but agentd is not reachable on {invocation.api.path}: {error}; it reads the file when it starts",
        )
    except (CommandError, ApiError) as error:
        return Status.FAILED, None, f"{made}, but {error}"
    if not invocation.as_json:
        invocation.print(
            ["; ".join(filter(None, (_state(agent), held_change(agent)))) for agent, _ in agents]
            + [f"{quote(name)[1:-1]} is gone" for name in result.gone]
        )
    unwell = [
        f"{agent.name} is {agent.state}{f': {agent.error}' if agent.error else ''}"
        for agent, _ in agents
        if agent.state in ("failed", "backoff", "timed_out")
    ]
    documents = [document for _, document in agents]
    return (Status.FAILED, documents, "; ".join(unwell)) if unwell else (Status.DONE, documents, None)
