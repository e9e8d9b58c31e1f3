"""Edit the file that declares an agent, and keep the result only if agentd would take it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from agentd.cli.agentctl.answers import require_answer
from agentd.cli.agentctl.command import CommandError
from agentd.cli.agentctl.lookup import unknown_agent
from agentd.cli.agentctl.worktrees_left import worktrees_left
from agentd.harness.registry import load_harnesses
from agentd.jcard.edit.agents import EditError, UnknownAgentError, declared_agents, find_agent
from agentd.jcard.edit.file import FileEdit, FileEditError, edit_file
from agentd.jcard.load import load_jcard
from agentd.jcard.problems import LoadResult, Problem
from agentd.model.user import AgentUser
from agentd.settings.context import LARGEST_CONFIG, load_context
from agentd.supervise.check import launch_problem
from agentd.text.quoting import printable

_LINE = re.compile(r"[^\n]*\n|[^\n]+")


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of one or more definitions."""

    change: Callable[[str, str], str]
    """Takes a file's text and a definition's name, and gives the new text."""
    names: Sequence[str]
    """The definitions to change, as the operator typed them."""
    after: Sequence[str] = ()
    """Their names afterwards; empty if they are removed."""
    adds: bool = False
    """Whether the definitions are new; a missing file is then created."""


@dataclass(frozen=True, slots=True)
class EditResult:
    """What an edit did, or with ``dry_run`` would do."""

    outcome: FileEdit
    present: Sequence[str]
    """Agents of the edited definitions, replicas counted singly."""
    gone: Sequence[str]
    """Agents that are no longer declared."""
    renamed: Sequence[str]
    """Agents among `gone` that the edit did not name: they have no name of their own, and now get another."""
    unlaunchable: Mapping[str, str]
    """Agents in `present` that cannot be launched, with the reason."""
    warnings: Sequence[str]
    """Warnings about the file that are new since the edit."""
    worktrees: Sequence[str]
    """What becomes of worktrees that no agent has any more."""

    @property
    def diff(self) -> Sequence[str]:
        """The change as a unified diff that patch takes, without line ends; empty if nothing changed."""
        name = str(self.outcome.file)
        # Not splitlines, which takes other characters for line ends too.
        before, after = (_LINE.findall(text) for text in (self.outcome.before, self.outcome.after))
        shown: list[str] = []
        for line in unified_diff(before, after, name, name):
            shown.append(line.removesuffix("\n"))
            if not line.endswith("\n"):
                shown.append("\\ No newline at end of file")
        return shown


def make_edit(config: Path, user: AgentUser, data_dir: Path, edit: Edit, *, dry_run: bool) -> EditResult:
    """Edit the file that declares the agents.

    Parameters
    ----------
    config
        The daemon's jcard, absolute.
    user
        Who the agents run as.
    data_dir
        Folder of the agents' worktrees and workspaces.
    edit
        The change.
    dry_run
        Whether to write nothing.

    Raises
    ------
    CommandError
        If the edit cannot be made; the file is then unchanged.
    """
    require_answer(config)
    harnesses = load_harnesses().harnesses
    context = load_context(config, user.name, user.home, harnesses, data_dir)
    result = LoadResult((), ())

    def change(text: str) -> str:
        # Spelled as in the file, so that a name given twice in different case is edited once.
        for name in edit.names if edit.adds else dict.fromkeys([find_agent(text, name) for name in edit.names]):
            text = edit.change(text, name)
        return text

    def check(content: bytes) -> None:
        nonlocal result
        result = load_jcard(content, str(config), context)
        if result.errors:
            raise CommandError(f"not edited: the file would not be valid: {'; '.join(map(str, result.errors))}")

    try:
        outcome = edit_file(config, change, limit=LARGEST_CONFIG, check=check, create=edit.adds, dry_run=dry_run)
    except UnknownAgentError as error:
        if not error.known:
            raise CommandError(f"{error}: {config} declares none; agentctl add declares one") from None
        names = [printable(name) for name in error.known]
        raise unknown_agent(error.name, names, otherwise=f"{config} declares {', '.join(names)}") from None
    except (EditError, FileEditError) as error:
        raise CommandError(str(error)) from None

    before, after = declared_agents(outcome.before), declared_agents(outcome.after)
    present = _agents_of(after, edit.after)
    still = {name for names in after.values() for name in names}
    gone = [name for names in before.values() for name in names if name not in still]
    named = () if edit.adds else _agents_of(before, edit.names)
    problems = (launch_problem(agent, config, harnesses, user.name) for agent in result.agents if agent.name in present)
    warnings: Sequence[str] = ()
    worktrees: Sequence[str] = ()
    # Reading the file a second time takes milliseconds, which most edits need not spend.
    checkouts = "isolation" in outcome.before and outcome.changed
    if result.warnings or checkouts:
        former = load_jcard(outcome.before.encode(), str(config), context)
        worktrees = worktrees_left(former.agents, result.agents) if checkouts else ()
        known = {_without_position(warning) for warning in former.warnings}
        warnings = [str(warning) for warning in result.warnings if _without_position(warning) not in known]
    return EditResult(
        outcome=outcome,
        present=present,
        gone=gone,
        renamed=[name for name in gone if name not in named],
        unlaunchable={str(problem.agent): problem.message for problem in problems if problem is not None},
        warnings=warnings,
        worktrees=worktrees,
    )


def _without_position(problem: Problem) -> tuple[str | None, str | None, str]:
    return problem.agent, problem.field, problem.message


def _agents_of(declared: Mapping[str, Sequence[str]], typed: Sequence[str]) -> list[str]:
    """Give the agents of the definitions that were typed, in the order of the file."""
    folded = {name.casefold() for name in typed}
    return [name for definition, names in declared.items() if definition.casefold() in folded for name in names]
