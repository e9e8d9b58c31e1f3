"""Take snapshots of agents, and find them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from agentd.cli.agentctl.command import CommandError, Invocation
from agentd.cli.agentctl.lookup import unknown_agent
from agentd.cli.agentctl.worktree_context import WorktreeContext, check_answering
from agentd.model.status import AgentStatus
from agentd.pool.output_folder import OutputError, OutputFolder, new_folder
from agentd.pool.work_files import MOST
from agentd.process.runner import RunnerError
from agentd.settings.folders import absolute
from agentd.text.quoting import printable, quote
from agentd.worktrees.git import CHECKOUT_LIMIT, GitError
from agentd.worktrees.inspect import inspect
from agentd.worktrees.record import RecordError, Worktree
from agentd.worktrees.repository_lock import repository_lock
from agentd.worktrees.snapshots import (
    FILE,
    SavedWorktree,
    Snapshot,
    list_snapshots,
    read_snapshot,
    write_snapshot,
)
from agentd.worktrees.trash import SNAPSHOTS, save_work

BUNDLE: Final = "work.bundle"
"""Name of the commits in a folder that can be carried elsewhere."""

_ASKED: Final = "asked for"


def kept_snapshots(invocation: Invocation, name: str | None) -> list[Snapshot]:
    """Read the snapshots of an agent, or of all; warns of those that cannot be read.

    Raises
    ------
    CommandError
        If the folder cannot be read.
    """
    context = WorktreeContext.of(invocation)
    context.check_owner()
    try:
        found, problems = list_snapshots(context.data_dir, name)
    except RecordError as error:
        raise CommandError(str(error)) from None
    for problem in problems:
        invocation.warn(printable(problem))
    return found


def find_snapshot(invocation: Invocation, name: str, stamp: str | None, *, of_worktree: bool) -> Snapshot:
    """Find a snapshot of an agent: that of a time, or else the newest.

    Parameters
    ----------
    of_worktree
        Whether it has to have a worktree.

    Raises
    ------
    CommandError
        If there is none.
    """
    found = [each for each in kept_snapshots(invocation, name) if each.worktree is not None or not of_worktree]
    if not found:
        what = "a worktree of " if of_worktree else ""
        raise CommandError(
            f"there is no snapshot of {what}{quote(name)}: agentctl snapshot takes one, agentctl snapshot --list shows "
            "all; a worktree without work is removed without one"
        )
    if stamp is None:
        return max(found, key=lambda each: each.stamp)
    for each in found:
        if each.stamp == stamp:
            return each
    raise CommandError(f"there is no snapshot of {quote(name)} of {quote(stamp)}: agentctl snapshot --list shows all")


def carried_snapshot(folder: Path, name: str) -> Snapshot:
    """Read the snapshot in a folder that was carried here.

    Raises
    ------
    CommandError
        If it has none of that agent.
    """
    try:
        found = read_snapshot(folder / FILE)
    except RecordError as error:
        raise CommandError(str(error)) from None
    if found.name.lower() != name.lower():
        raise CommandError(f"{folder} has a snapshot of {quote(found.name)}, not of {quote(name)}")
    return found


def take_snapshot(invocation: Invocation, output: str | None) -> tuple[Snapshot, Path | None]:
    """Take a snapshot of the agent that the command line names; with `output` also into a new folder.

    Returns
    -------
    The snapshot, and the folder.

    Raises
    ------
    CommandError
        If there is no such agent, or it cannot be saved.
    """
    context, now = WorktreeContext.of(invocation), time.time()
    wanted = invocation.name()
    worktrees = {each.name.lower(): each for each in context.worktrees(invocation)}
    agents = {} if context.agents is None else {name.lower(): agent for name, agent in context.agents.items()}
    worktree, agent = worktrees.get(wanted.lower()), agents.get(wanted.lower())
    if worktree is None and agent is None:
        raise unknown_agent(wanted, sorted({*(context.agents or {}), *(each.name for each in worktrees.values())}))
    if context.agents is None:
        invocation.warn("agentd does not answer: the conversation is not saved")
    name = worktree.name if agent is None and worktree is not None else str(agent and agent.name)
    try:
        saved = None if worktree is None else _save(invocation, context, worktree, now)
        snapshot = _of_agent(Snapshot.taken(name, now, _ASKED, saved), agent)
        write_snapshot(context.git.runner, context.data_dir, snapshot)
        if output is None:
            return snapshot, None
        folder = absolute(output)
        with new_folder(folder) as made:
            _write(context, made, replace(snapshot, declaration=_declaration(invocation, context, name)))
    except (GitError, RecordError, RunnerError, OutputError) as error:
        raise CommandError(str(error)) from None
    return snapshot, folder


def _save(invocation: Invocation, context: WorktreeContext, worktree: Worktree, now: float) -> SavedWorktree:
    check_answering(worktree)
    git = context.git
    with repository_lock(git.runner, Path(worktree.record.repo)):
        work = inspect(git, worktree)
        saved = save_work(git, worktree, work, now, SNAPSHOTS)
    left = [
        f"{what} {', '.join(paths)}"
        for what, paths in (("ignored", work.ignored), ("repositories", work.nested))
        if paths
    ]
    if work.under_way is not None:
        left.append(f"{work.under_way} under way")
    if left:
        invocation.warn(printable(f"not saved: {'; '.join(left)}"))
    return saved


def _of_agent(snapshot: Snapshot, agent: AgentStatus | None) -> Snapshot:
    if agent is None:
        return snapshot
    return replace(snapshot, conversation=agent.conversation, harness=agent.harness, workdir=agent.workdir)


def _declaration(invocation: Invocation, context: WorktreeContext, name: str) -> Mapping[str, object] | None:
    """Read how an agent is declared; a replica alone is not."""
    from agentd.cli.agentctl.declaring_files import DeclaringFiles
    from agentd.harness.registry import load_harnesses
    from agentd.jcard.edit.agents import agent_fields
    from agentd.settings.context import load_context

    settings, user = context.settings, context.user
    loading = load_context(settings.config, user.name, user.home, load_harnesses().harnesses, context.data_dir)
    files = DeclaringFiles.read(settings.config, settings.config_dir, loading)
    try:
        [(path, [spelled])] = files.declaring([name]).items()
    except CommandError as error:
        invocation.warn(f"its definition is not saved: {error}")
        return None
    return agent_fields(files.contents[path].decode("utf-8-sig"), spelled)


def _write(context: WorktreeContext, folder: OutputFolder, snapshot: Snapshot) -> None:
    worktree = snapshot.worktree
    if worktree is not None and worktree.refs:
        repository = context.git.in_folder(Path(worktree.record.repo))
        with folder.new_file(BUNDLE) as file:
            bundle = ("bundle", "create", "--quiet", "-", *worktree.refs)
            repository.out(*bundle, take=file.write, limit=CHECKOUT_LIMIT, most=MOST)
    with folder.new_file(FILE) as file:
        file.write(snapshot.text())
