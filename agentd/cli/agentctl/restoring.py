"""Bring agents and worktrees back as a snapshot has them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from agentd.cli.agentctl.answers import require_answer
from agentd.cli.agentctl.client import ApiError, UnreachableError
from agentd.cli.agentctl.command import CommandError, Invocation
from agentd.cli.agentctl.edit import Edit, make_edit
from agentd.cli.agentctl.snapshots import BUNDLE, carried_snapshot, find_snapshot
from agentd.cli.agentctl.turns_client import TurnsClient
from agentd.cli.agentctl.worktree_context import WorktreeContext, names_in_use
from agentd.jcard.edit.agents import add_agent
from agentd.jcard.edit.writing import TomlValue
from agentd.model.spec import WORKTREES
from agentd.process.runner import RunnerError
from agentd.settings.context import resolve_agent_user
from agentd.settings.folders import absolute
from agentd.worktrees.git import GitError
from agentd.worktrees.record import RecordError
from agentd.worktrees.repository_lock import repository_lock
from agentd.worktrees.restore import fetch_bundle, restore_worktree
from agentd.worktrees.snapshots import SavedWorktree, Snapshot


@dataclass(frozen=True, slots=True)
class Restored:
    """What was brought back."""

    snapshot: Snapshot
    declared_in: Path | None
    """The file that declares the agent since."""
    conversation_lost: str | None
    """Why its next run will not go on with the conversation; ``None`` if it will, or there is none."""


def restore(invocation: Invocation) -> Restored:
    """Bring the agent back that the command line names.

    Raises
    ------
    CommandError
        If it runs, or something cannot be restored.
    """
    given, context = invocation.arguments, WorktreeContext.of(invocation)
    carried = None if given.folder is None else absolute(given.folder)
    if carried is None:
        snapshot = find_snapshot(invocation, invocation.name(), given.at, of_worktree=False)
    else:
        require_answer(carried)
        snapshot = carried_snapshot(carried, invocation.name())
    if given.repo is not None and snapshot.worktree is not None:
        record = replace(snapshot.worktree.record, repo=str(absolute(given.repo)))
        snapshot = replace(snapshot, worktree=replace(snapshot.worktree, record=record))
    _check_stopped(context, snapshot.name)
    if snapshot.worktree is not None:
        _restore_worktree(context, snapshot.name, snapshot.worktree, carried, ignored=bool(given.ignored))
    lost = _restore_conversation(invocation, context, snapshot)
    return Restored(snapshot, _declare(invocation, context, snapshot), lost)


def restore_worktrees(invocation: Invocation, names: list[str], stamp: str | None, *, ignored: bool) -> list[Snapshot]:
    """Bring worktrees back, and nothing else.

    Raises
    ------
    CommandError
        If an agent runs, or its worktree cannot be restored.
    """
    context = WorktreeContext.of(invocation)
    restored = []
    for name in names:
        snapshot = find_snapshot(invocation, name, stamp, of_worktree=True)
        assert snapshot.worktree is not None, "as asked"
        _check_stopped(context, snapshot.name)
        _restore_worktree(context, snapshot.name, snapshot.worktree, None, ignored=ignored)
        restored.append(snapshot)
    return restored


def _check_stopped(context: WorktreeContext, name: str) -> None:
    agent = next((each for each in (context.agents or {}).values() if each.name.lower() == name.lower()), None)
    if agent is not None and (agent.running or agent.state == "starting"):
        raise CommandError(f"{agent.name} is {agent.state}: agentctl stop {agent.name} --wait first")


def _restore_worktree(
    context: WorktreeContext, name: str, saved: SavedWorktree, carried: Path | None, *, ignored: bool
) -> None:
    git, repo, now = context.git, Path(saved.record.repo), time.time()
    require_answer(repo)
    context.check_owner()
    try:
        with repository_lock(git.runner, repo):
            if carried is not None and saved.refs:
                fetch_bundle(git, repo, carried / BUNDLE, saved.refs, context.data_dir)
            restore_worktree(git, context.data_dir / WORKTREES / name, saved, now, ignored=ignored)
    except (GitError, RecordError, RunnerError) as error:
        raise CommandError(str(error)) from None


def _restore_conversation(invocation: Invocation, context: WorktreeContext, snapshot: Snapshot) -> str | None:
    """Have the next run go on with the conversation; says why it will not."""
    if snapshot.conversation is None or snapshot.harness is None or snapshot.workdir is None:
        return None
    # A worktree may be elsewhere than it was.
    in_worktree = snapshot.worktree is not None
    workdir = str(context.data_dir / WORKTREES / snapshot.name) if in_worktree else snapshot.workdir
    try:
        TurnsClient.of(invocation).restore(snapshot.name, snapshot.harness, workdir, snapshot.conversation)
    except (ApiError, UnreachableError) as error:
        return str(error)
    return None


def _declare(invocation: Invocation, context: WorktreeContext, snapshot: Snapshot) -> Path | None:
    """Declare the agent as a snapshot that was carried here says, if nothing declares it."""
    declaration = snapshot.declaration
    if declaration is None or snapshot.name.lower() in {name.lower() for name in names_in_use(context)}:
        return None
    fields: dict[str, TomlValue] = dict(declaration)  # type: ignore[arg-type]  # as TOML had them
    if snapshot.worktree is not None and "repo" in fields:
        fields["repo"] = snapshot.worktree.record.repo
    settings, names = context.settings, (snapshot.name,)
    user, _ = resolve_agent_user(settings.agent_user, os.environ)
    edit = Edit(lambda text, name: add_agent(text, name, fields), names, names, adds_to=settings.config)
    for warning in make_edit(settings, user, edit, dry_run=False).warnings:
        invocation.warn(f"warning: {warning}")
    return settings.config
