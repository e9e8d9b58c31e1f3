"""Errors and warnings about a jcard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from agentd.jcard.scan import Path
from agentd.model.approvals import ApprovalRule
from agentd.model.budgets import Budget
from agentd.model.capacity import Capacity
from agentd.model.gateway import GatewayDeclaration
from agentd.model.notification import NotifyRule
from agentd.model.pool import PoolDeclaration
from agentd.model.spec import AgentSpec
from agentd.model.telemetry import Telemetry


class Severity(StrEnum):
    """Whether the file is unusable or merely suspicious."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a jcard."""

    severity: Severity
    file: str
    message: str
    """What was found and what was expected, on one line."""
    line: int | None = None
    """From 1."""
    column: int | None = None
    """From 1, in characters."""
    agent: str | None = None
    field: str | None = None

    def __str__(self) -> str:
        """Render as ``file:line:column: agent "x": field: message``."""
        where = self.file
        if self.line is not None:
            where += f":{self.line}"
            if self.column is not None:
                where += f":{self.column}"
        parts = [where]
        if self.agent is not None:
            parts.append(f'agent "{self.agent}"')
        if self.field is not None:
            parts.append(self.field)
        return ": ".join([*parts, self.message])


class Checked:
    """Something that was checked, with its problems."""

    __slots__ = ()
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> Sequence[Problem]:
        """The problems for which it is refused."""
        return [problem for problem in self.problems if problem.severity is Severity.ERROR]

    @property
    def warnings(self) -> Sequence[Problem]:
        """The problems that stop nothing."""
        return [problem for problem in self.problems if problem.severity is Severity.WARNING]

    @property
    def valid(self) -> bool:
        """Whether there are no errors."""
        return not self.errors


@dataclass(frozen=True, slots=True)
class LoadResult(Checked):
    """What a jcard or drop-in declares; nothing if it has an error."""

    agents: tuple[AgentSpec, ...]
    problems: tuple[Problem, ...]
    lease: float | None = None
    """Seconds for which a drop-in counts after it was renewed last; ``None`` is for ever."""
    notify: tuple[NotifyRule, ...] = ()
    """Who is told what."""
    approvals: tuple[ApprovalRule, ...] = ()
    """What agents may do without anybody being asked."""
    tables: Mapping[str, Path] = field(default_factory=dict, compare=False)
    """The table that declares each agent, by the agent's name."""
    text: str = field(default="", repr=False, compare=False)
    """The file, to find places in."""
    gateway: GatewayDeclaration | None = None
    """What agentd-gateway goes by."""
    gateway_errors: tuple[Problem, ...] = ()
    """For which agentd-gateway refuses it; among the problems they are warnings, as agentd does not."""
    gateway_secrets: frozenset[str] = frozenset()
    """Names of the gateway's own secrets, also of a table with errors."""
    pool: PoolDeclaration | None = None
    """What holds for workers."""
    capacity: Capacity | None = None
    """How many agents run at once."""
    budget: Budget | None = None
    """What agents may use up that do not say it themselves."""
    telemetry: Telemetry | None = None
    """What is sent to a collector."""
    boot: str | None = None
    """The boot of the machine in which a drop-in counts; ``None`` is any."""
