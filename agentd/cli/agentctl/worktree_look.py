"""Which worktrees there are, whose they are, and which of them are in use."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agentd.cli.agentctl.answers import answers, require_answer
from agentd.cli.agentctl.client import UnreachableError, agents_from, health_from, report_from
from agentd.cli.agentctl.command import CommandError, Invocation
from agentd.cli.agentctl.lookup import unknown_agent
from agentd.jcard.reading import config_bytes
from agentd.model.spec import WORKTREES
from agentd.model.status import AgentStatus
from agentd.model.user import AgentUser
from agentd.process.runner import Runner
from agentd.settings.context import (
    ConfigUnavailableError,
    load_context,
    resolve_agent_user,
    resolve_data_dir,
)
from agentd.text.quoting import printable, quote
from agentd.worktrees.git import Git, GitError
from agentd.worktrees.record import HeldError, Place, all_held


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is the same for all agents, from the daemon if there is one, else as it would decide."""

    user: AgentUser
    """As whom programs are run: the agents' user where that can be, else the invoking one."""
    agent_user: str
    config: Path
    data_dir: Path
    agents: Mapping[str, AgentStatus] | None
    """By name; ``None`` while no daemon answers."""

    @property
    def git(self) -> Git:
        """git, as the agents' user."""
        return Git(Runner(self.user, os.environ), Path("/"))

    def worktrees(self, invocation: Invocation) -> list[Place]:
        """Find all worktrees; says which are not understood.

        Raises
        ------
        CommandError
            If the folder of worktrees cannot be read, or is somebody else's.
        """
        self._check_owner()
        try:
            places, problems = all_held(self.data_dir / WORKTREES)
        except HeldError as error:
            raise CommandError(str(error)) from None
        for problem in problems:
            invocation.warn(printable(problem))
        return places

    def _check_owner(self) -> None:
        """Run git in nobody else's worktrees: what is set up there would be run with our rights."""
        folder = self.data_dir / WORKTREES
        require_answer(folder)
        try:
            owner = folder.stat().st_uid
        except OSError:
            return  # What is wrong is said by who reads it.
        if owner != self.user.uid:
            try:
                name = pwd.getpwuid(owner).pw_name
            except KeyError:
                name = str(owner)
            name = printable(name)
            raise CommandError(
                f"the worktrees in {folder} are those of the user {name}, and only root and {name} can look into them: "
                f"use sudo, with --agent-user {name} where agentd does not run"
            )

    def worktree(self, invocation: Invocation) -> Place:
        """Find the worktree that the command line names.

        Raises
        ------
        CommandError
            If there is none, or no such agent.
        """
        places, name = self.worktrees(invocation), invocation.name()
        if self.agents is not None:
            known = sorted({*self.agents, *(place.name for place in places)})
            if name.lower() not in map(str.lower, known):
                raise unknown_agent(name, known)
        return find(places, name)


def check_answering(place: Place) -> None:
    """Look whether a worktree and its repository answer: git would wait for them.

    Raises
    ------
    GitError
        If not.
    """
    try:
        require_answer(place.path)
        require_answer(Path(place.held.repo))
    except CommandError as error:
        raise GitError(str(error)) from None


def find(places: list[Place], name: str) -> Place:
    """Find a worktree by the name of its agent, compared without regard to case.

    Raises
    ------
    CommandError
        If there is none.
    """
    for place in places:
        if place.name.lower() == name.lower():
            return place
    known = ", ".join(printable(place.name) for place in places)
    advice = f"there are those of {known}" if known else 'an agent gets one by repo and isolation = "worktree"'
    raise CommandError(f"there is no worktree of {quote(name)}: {advice}")


def look_around(invocation: Invocation) -> Surroundings:
    """Ask the daemon, or the settings where none answers."""
    settings = invocation.settings
    try:
        report = report_from(invocation.api.get("/v1/plan"))
        config = Path(health_from(invocation.api.get("/v1/health")).config.path)
        agents = {agent.name: agent for agent in agents_from(invocation.api.get("/v1/agents"))}
    except UnreachableError:
        user, _ = resolve_agent_user(settings.agent_user, os.environ)
        return Surroundings(user, user.name, settings.config, resolve_data_dir(settings.data_dir, user), None)
    # Only root can become another user; for anybody else what they may do themselves has to do.
    user, _ = resolve_agent_user(report.agent_user if os.geteuid() == 0 else None, os.environ)
    return Surroundings(user, report.agent_user, config, Path(report.data_dir), agents)


def names_in_use(surroundings: Surroundings) -> frozenset[str]:
    """Name the agents that are declared or that the daemon has in hand.

    Raises
    ------
    CommandError
        If that cannot be told: nothing may be taken for unused then.
    """
    from agentd.harness.registry import load_harnesses
    from agentd.jcard.load import load_jcard

    known = frozenset(surroundings.agents or ())
    config, user = surroundings.config, surroundings.user
    try:
        data = config_bytes(config)
    except ConfigUnavailableError as error:
        if surroundings.agents is not None and answers(config) and not config.exists():
            return known
        raise CommandError(f"cannot tell which worktrees are in use: {error}") from None
    context = load_context(config, user.name, user.home, load_harnesses().harnesses, surroundings.data_dir)
    result = load_jcard(data, str(config), context)
    if result.errors:
        raise CommandError(f"cannot tell which worktrees are in use: {result.errors[0]}")
    return known | {agent.name for agent in result.agents}
