"""Making an edit in the jcard: the file found as agentd finds it, the result held to what agentd takes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentd.cli.agentctl.answers import require_answer
from agentd.cli.agentctl.command import CommandError
from agentd.cli.agentctl.editing import Edit
from agentd.cli.agentctl.left_behind import left_behind
from agentd.cli.agentctl.lookup import unknown_agent
from agentd.harness.registry import load_harnesses
from agentd.jcard.edit.agents import EditError, UnknownAgentError, declared_agents
from agentd.jcard.edit.file import FileEdit, FileEditError, edit_file
from agentd.jcard.load import load_jcard
from agentd.jcard.problems import LoadResult, Problem
from agentd.settings.context import LARGEST_CONFIG, load_context, resolve_agent_user, resolve_data_dir
from agentd.settings.settings import Settings
from agentd.supervise.check import launch_problem
from agentd.text.quoting import printable


@dataclass(frozen=True, slots=True)
class Named:
    """The agents that an edit is about, replicas each by itself."""

    present: Sequence[str]
    """Declared afterwards."""
    gone: Sequence[str]
    """Declared before and not afterwards."""
    others: Sequence[str]
    """Not named by the edit, yet called otherwise from now on."""


@dataclass(frozen=True, slots=True)
class Made:
    """An edit that was made, or found to change nothing."""

    outcome: FileEdit
    named: Named
    unlaunchable: Mapping[str, str]
    """Agents named by the edit that the file declares well, and that yet cannot be launched: why."""
    suspicious: Sequence[str]
    """What the file is warned of since the edit."""
    left: Sequence[str]
    """What becomes of worktrees that no agent has any more."""


def make_edit(settings: Settings, edit: Edit) -> Made:
    """Make an edit.

    Raises
    ------
    CommandError
        If it cannot be made; the file is as it was then.
    SettingsError
        If the agents cannot run as the user that was asked for.
    """
    path = settings.config
    require_answer(path)
    user, _ = resolve_agent_user(settings.agent_user, os.environ)
    harnesses = load_harnesses().harnesses
    data_dir = resolve_data_dir(settings.data_dir, user)
    context = load_context(path, user.name, user.home, harnesses, data_dir)
    result = LoadResult((), ())

    def check(content: bytes) -> None:
        nonlocal result
        result = load_jcard(content, str(path), context)
        if result.errors:
            raise CommandError(f"not edited, for the file would not be valid: {'; '.join(map(str, result.errors))}")

    try:
        outcome = edit_file(
            path, edit.make, limit=LARGEST_CONFIG, check=check, create=edit.create, dry_run=edit.dry_run
        )
    except UnknownAgentError as error:
        if not error.known:
            raise CommandError(f"{error}: {path} declares none; agentctl add begins one") from None
        names = [printable(name) for name in error.known]
        raise unknown_agent(error.name, names, otherwise=f"{path} declares {', '.join(names)}") from None
    except (EditError, FileEditError) as error:
        raise CommandError(str(error)) from None
    named = _named(outcome, edit)
    problems = (
        launch_problem(agent, path, harnesses, user.name) for agent in result.agents if agent.name in named.present
    )
    unlaunchable = {str(problem.agent): problem.message for problem in problems if problem is not None}
    suspicious: Sequence[str] = ()
    left: Sequence[str] = ()
    # Reading the file a second time takes milliseconds, which most edits need not spend.
    checkouts = "isolation" in outcome.before and outcome.changed
    if result.warnings or checkouts:
        before = load_jcard(outcome.before.encode(), str(path), context)
        left = left_behind(before.agents, result.agents) if checkouts else ()
        known = {_apart_from_place(warning) for warning in before.warnings}
        suspicious = [str(warning) for warning in result.warnings if _apart_from_place(warning) not in known]
    return Made(outcome, named, unlaunchable, suspicious, left)


def _apart_from_place(problem: Problem) -> tuple[str | None, str | None, str]:
    return problem.agent, problem.field, problem.message


def _named(outcome: FileEdit, edit: Edit) -> Named:
    before, after = declared_agents(outcome.before), declared_agents(outcome.after)
    meant_before, meant_after = _running(before, edit.before), _running(after, edit.after)
    declared_after = {name for names in after.values() for name in names}
    gone = [name for names in before.values() for name in names if name not in declared_after]
    return Named(present=meant_after, gone=gone, others=[name for name in gone if name not in meant_before])


def _running(declared: Mapping[str, Sequence[str]], typed: Sequence[str]) -> list[str]:
    """Give the agents that run for the definitions that were typed, in the order of the file."""
    folded = {name.casefold() for name in typed}
    return [name for definition, names in declared.items() if definition.casefold() in folded for name in names]
