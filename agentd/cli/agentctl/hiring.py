"""Making workspaces, declaring agents that work in them, and waiting until they run."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from agentd.cli.agentctl.client import ApiError, UnreachableError, agent_from
from agentd.cli.agentctl.command import CommandError, Invocation, UsageError
from agentd.cli.agentctl.convergence import LOOK_AFTER
from agentd.cli.agentctl.declare import declare
from agentd.cli.agentctl.lookup import NOT_FOUND
from agentd.cli.agentctl.waiting import first_seen
from agentd.cli.agentctl.worktree_look import Surroundings, look_around
from agentd.jcard.checks import check_name, check_role
from agentd.model.spec import Mode, RestartPolicy
from agentd.model.states import AgentState
from agentd.model.status import AgentStatus
from agentd.process.runner import Runner
from agentd.settings.settings import absolute, templates_folder
from agentd.text.quoting import printable
from agentd.workspaces.roles import Occasion, TemplateError, workspace_files
from agentd.workspaces.workspace import WORKSPACES, WorkspaceError, make_workspace

_WITHOUT_A_FUTURE: Final = frozenset({AgentState.EXITED, AgentState.FAILED, AgentState.TIMED_OUT, AgentState.DISABLED})
"""States that an agent does not leave by itself."""


@dataclass(frozen=True, slots=True)
class Hiring:
    """One role, and perhaps one agent of it."""

    invocation: Invocation
    surroundings: Surroundings
    role: str
    name: str
    """``ROLE_NAME``, or ``ROLE`` where no agent is meant."""
    workspace: Path

    @classmethod
    def of(cls, invocation: Invocation, name: str | None) -> Hiring:
        """Take it from the command line.

        Raises
        ------
        UsageError
            If role or name cannot be used.
        """
        role = str(invocation.arguments.role)
        full = role if name is None else f"{role}_{name}"
        for what, check, value in (("ROLE", check_role, role), ("NAME", check_name, name or role)):
            try:
                check(value)
            except ValueError as error:
                raise UsageError(f"{what}: {error}") from None
        try:
            check_name(full)
        except ValueError as error:
            raise UsageError(f"the agent's name: {error}") from None
        surroundings = look_around(invocation)
        folder: str | None = invocation.arguments.workspace
        workspace = surroundings.data_dir / WORKSPACES / full if folder is None else absolute(folder)
        return cls(invocation, surroundings, role, full, workspace)

    def make_workspace(self, *, must: bool) -> list[str]:
        """Make what of the workspace is missing, and give its paths.

        Parameters
        ----------
        must
            Whether it is an error if this user cannot make files for the agents' user; the daemon makes a workspace
            that is missing when its agent starts.

        Raises
        ------
        CommandError
            If it cannot be made.
        """
        user = self.surroundings.user
        if os.geteuid() != 0 and user.name != self.surroundings.agent_user:
            if must:
                raise CommandError(f"only root and {self.surroundings.agent_user} can make files of that user")
            return []
        today = datetime.now(UTC).astimezone().date()
        try:
            texts = workspace_files(Occasion(self.role, self.name, today), templates_folder(os.environ))
            return make_workspace(Runner(user, os.environ), self.workspace, texts)
        except (TemplateError, WorkspaceError) as error:
            raise CommandError(f"cannot make the workspace {self.workspace}: {error}") from None

    def hire(self, limit: float) -> Mapping[str, object]:
        """Make the workspace, declare the agent, and wait until it runs.

        Parameters
        ----------
        limit
            Seconds to wait.

        Raises
        ------
        CommandError
            If something cannot be made, or the agent does not run.
        UnreachableError
            If no daemon answers: nothing was changed then.
        """
        if self.surroundings.agents is None:
            self.invocation.api.get("/v1/health")
            raise UnreachableError("it has just started; try again")
        fields = self._fields()
        made: list[str] = []
        # Looked at first, so that nothing is made for an agent that cannot be declared or is there already.
        declared = declare(self.surroundings, self.name, fields, dry_run=True)
        if declared.diff:
            made = self.make_workspace(must=False)
            if made:
                self.invocation.warn(f"made the workspace {printable(str(self.workspace))}")
            declared = declare(self.surroundings, self.name, fields)
        for line in declared.diff:
            print(printable(line), file=sys.stderr)
        agent = self._wait(declared.name, limit)
        trusted, waiting = first_seen(self.invocation.api, agent)
        for text in (
            None if trusted is None else f"agentd had {agent.harness} trust {agent.workdir}, in {trusted}",
            None if waiting is None else f"{agent.name} {waiting}",
        ):
            if text is not None:
                self.invocation.warn(printable(text))
        return {
            "name": agent.name,
            "pid": agent.pid,
            "workspace": agent.workdir,
            "added": bool(declared.diff),
            "made": made,
            "trusted_in": trusted,
            "waiting": waiting,
        }

    def _fields(self) -> Mapping[str, str]:
        given = self.invocation.arguments
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
        return {
            **fields,
            "role": self.role,
            "workdir": str(self.workspace),
            "restart": RestartPolicy.ALWAYS.value,
        }

    def _wait(self, name: str, limit: float) -> AgentStatus:
        end = time.monotonic() + limit
        while True:
            over = time.monotonic() >= end
            agent = self._look(name)
            if agent is not None and agent.state == AgentState.RUNNING and agent.pid is not None:
                return agent
            if agent is not None and (agent.state in _WITHOUT_A_FUTURE or agent.error is not None):
                reason = f": {agent.error}" if agent.error else ""
                advice = "; agentctl start runs it" if agent.state == AgentState.DISABLED else ""
                raise CommandError(f"{agent.name} is declared, and is {agent.state}{reason}{advice}")
            if over:
                state = "not known to the daemon" if agent is None else agent.state
                raise CommandError(f"{name} is {state} after {limit:.0f} s; see agentctl status")
            time.sleep(LOOK_AFTER)  # noqa: TID251 (a person waits, and the API tells of no events)

    def _look(self, name: str) -> AgentStatus | None:
        try:
            return agent_from(self.invocation.api.get(f"/v1/agents/{name}"))
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise
            return None
