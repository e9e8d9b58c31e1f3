"""The agents' worktrees: where they are, whose they are, and which are in use."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from agentd.cli.agentctl.answers import answers, require_answer
from agentd.cli.agentctl.client import UnreachableError, view
from agentd.cli.agentctl.command import CommandError, Invocation
from agentd.cli.agentctl.lookup import unknown_agent
from agentd.jcard.reading import declared
from agentd.model.plan_report import PlanReport
from agentd.model.spec import WORKTREES
from agentd.model.status import AgentStatus
from agentd.model.user import AgentUser
from agentd.process.runner import Runner
from agentd.settings.context import load_context, resolve_agent_user, resolve_data_dir
from agentd.settings.settings import Settings, of_daemon
from agentd.text.quoting import printable, quote
from agentd.worktrees.git import Git, GitError
from agentd.worktrees.record import RecordError, Worktree, list_worktrees


@dataclass(frozen=True, slots=True)
class WorktreeContext:
    """Where worktrees are and who uses them: as the daemon says, or as its settings say where none answers."""

    user: AgentUser
    """Runs git: the agents' user if we may become it, else the invoking one."""
    agent_user: str
    """Name of the agents' user."""
    settings: Settings
    """Where the daemon's jcard and its drop-ins are."""
    data_dir: Path
    """Folder of the agents' worktrees and workspaces."""
    agents: Mapping[str, AgentStatus] | None
    """By name; ``None`` if no daemon answers."""

    @classmethod
    def of(cls, invocation: Invocation) -> WorktreeContext:
        """Ask the daemon, or take the settings where none answers.

        Raises
        ------
        ApiError
            If the daemon's answer cannot be used.
        SettingsError
            If the agents cannot run as the user that was asked for.
        """
        settings, api = invocation.settings, invocation.api
        try:
            report = view(PlanReport, api.get("/v1/plan"))
            config = Path(api.health().config.path)
            agents = {agent.name: agent for agent in api.agents()}
        except UnreachableError:
            user, _ = resolve_agent_user(settings.agent_user, os.environ)
            return cls(user, user.name, settings, resolve_data_dir(settings.data_dir, user), None)
        # Only root can become another user.
        user, _ = resolve_agent_user(report.agent_user if os.geteuid() == 0 else None, os.environ)
        data_dir = Path(report.data_dir)
        return cls(user, report.agent_user, replace(of_daemon(settings, config), data_dir=data_dir), data_dir, agents)

    @property
    def can_act_as_agents(self) -> bool:
        """Whether files can be made for the agents' user."""
        return os.geteuid() == 0 or self.user.name == self.agent_user

    @property
    def git(self) -> Git:
        """git, as the agents' user."""
        return Git(Runner(self.user, os.environ), Path("/"))

    def worktrees(self, invocation: Invocation) -> list[Worktree]:
        """Find all worktrees, and warn of those whose record cannot be read.

        Raises
        ------
        CommandError
            If the folder of worktrees cannot be read, or belongs to another user.
        """
        self.check_owner()
        try:
            worktrees, problems = list_worktrees(self.data_dir / WORKTREES)
        except RecordError as error:
            raise CommandError(str(error)) from None
        for problem in problems:
            invocation.warn(printable(problem))
        return worktrees

    def check_owner(self) -> None:
        """Refuse to run git in another user's worktrees: hooks and filters set there would run with our rights.

        Raises
        ------
        CommandError
            If they are another user's.
        """
        folder = self.data_dir / WORKTREES
        require_answer(folder)
        try:
            owner = folder.stat().st_uid
        except OSError:
            return  # Whoever reads the folder reports the error.
        if owner != self.user.uid:
            try:
                name = pwd.getpwuid(owner).pw_name
            except KeyError:
                name = str(owner)
            name = printable(name)
            raise CommandError(
                f"the worktrees in {folder} belong to {name}, and only root and {name} may look into them: "
                f"use sudo, and --agent-user {name} if agentd does not run"
            )

    def worktree(self, invocation: Invocation) -> Worktree:
        """Find the worktree that the command line names.

        Raises
        ------
        CommandError
            If there is none, or no such agent.
        """
        worktrees, name = self.worktrees(invocation), invocation.name()
        if self.agents is not None:
            known = sorted({*self.agents, *(worktree.name for worktree in worktrees)})
            if name.lower() not in map(str.lower, known):
                raise unknown_agent(name, known)
        return find_worktree(worktrees, name)


def check_answering(worktree: Worktree) -> None:
    """Check that a worktree and its repository answer: git would hang on a dead mount.

    Raises
    ------
    GitError
        If one does not answer.
    """
    try:
        require_answer(worktree.path)
        require_answer(Path(worktree.record.repo))
    except CommandError as error:
        raise GitError(str(error)) from None


def find_worktree(worktrees: list[Worktree], name: str) -> Worktree:
    """Find a worktree by the name of its agent, ignoring case.

    Raises
    ------
    CommandError
        If there is none.
    """
    for worktree in worktrees:
        if worktree.name.lower() == name.lower():
            return worktree
    known = ", ".join(printable(worktree.name) for worktree in worktrees)
    advice = f"there are worktrees of {known}" if known else 'an agent gets one by repo and isolation = "worktree"'
    raise CommandError(f"there is no worktree of {quote(name)}: {advice}", "not_found", "agentctl worktrees list")


def names_in_use(context: WorktreeContext) -> frozenset[str]:
    """Name the agents that are declared, or known to the daemon.

    Raises
    ------
    CommandError
        If a file that declares agents cannot be read, or has errors: every worktree might then be in use.
    """
    from agentd.harness.registry import load_harnesses

    known = frozenset(context.agents or ())
    config, user = context.settings.config, context.user
    loading = load_context(config, user.name, user.home, load_harnesses().harnesses, context.data_dir)
    files, drop_ins = declared(config, context.settings.config_dir, loading)
    if context.agents is not None and answers(config) and not config.exists():
        files = files[1:]
    errors = [str(error) for file in files for error in file.errors]
    errors += [f"{folder}: {reason}" for folder, reason in drop_ins.unlisted.items()]
    if errors:
        raise CommandError(f"cannot tell which worktrees are in use: {errors[0]}")
    return known | {agent.name for file in files for agent in file.agents}
