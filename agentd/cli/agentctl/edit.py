"""Edit the files that declare agents, and keep the result only if agentd would take it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from agentd.cli.agentctl.answers import require_answer
from agentd.cli.agentctl.command import CommandError
from agentd.cli.agentctl.declaring_files import DeclaringFiles
from agentd.cli.agentctl.names_left import names_left
from agentd.cli.agentctl.worktrees_left import worktrees_left
from agentd.harness.registry import load_harnesses
from agentd.jcard.edit.agents import declared_agents
from agentd.jcard.edit.file import FileEdit, FileEditError, edit_file
from agentd.jcard.edit.plain import EditError
from agentd.jcard.problems import Problem
from agentd.model.user import AgentUser
from agentd.settings.context import LARGEST_CONFIG, load_context, resolve_data_dir
from agentd.settings.settings import Settings
from agentd.supervise.check import launch_problem

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
    adds_to: Path | None = None
    """The file in which the definitions are new; it is created if it is missing."""


@dataclass(frozen=True, slots=True)
class EditResult:
    """What an edit did, or with ``dry_run`` would do."""

    outcomes: Sequence[FileEdit]
    """One for each file that declares an edited agent."""
    present: Sequence[str]
    """Agents of the edited definitions, replicas counted singly."""
    gone: Sequence[str]
    """Agents that are no longer declared."""
    renamed: Sequence[str]
    """Agents among `gone` that the edit did not name: they have no name of their own, and now get another."""
    unlaunchable: Mapping[str, str]
    """Agents in `present` that cannot be launched, with the reason."""
    warnings: Sequence[str]
    """Warnings about the file that are new since the edit, and what names agents that are gone."""
    worktrees: Sequence[str]
    """What becomes of worktrees that no agent has any more."""

    @property
    def changed(self) -> bool:
        """Whether there is a difference."""
        return any(outcome.changed for outcome in self.outcomes)

    @property
    def diff(self) -> Sequence[str]:
        """The change as a unified diff that patch takes, without line ends; empty if nothing changed."""
        return [line for outcome in self.outcomes for line in _diff(outcome)]


def _diff(outcome: FileEdit) -> Iterable[str]:
    name = str(outcome.file)
    # Not splitlines, which takes other characters for line ends too.
    before, after = (_LINE.findall(text) for text in (outcome.before, outcome.after))
    for line in unified_diff(before, after, name, name if outcome.content is not None else "/dev/null"):
        yield line.removesuffix("\n")
        if not line.endswith("\n"):
            yield "\\ No newline at end of file"


def make_edit(settings: Settings, user: AgentUser, edit: Edit, *, dry_run: bool) -> EditResult:
    """Edit each agent in the file that declares it.

    A drop-in that declares nobody afterwards is removed.

    Parameters
    ----------
    settings
        Where the daemon's jcard, its drop-ins and the agents' worktrees are.
    user
        Who the agents run as.
    dry_run
        Whether to write nothing.

    Raises
    ------
    CommandError
        If the edit cannot be made; no file is changed then.
    """
    config = settings.config
    require_answer(config)
    harnesses = load_harnesses().harnesses
    data_dir = resolve_data_dir(settings.data_dir, user)
    context = load_context(config, user.name, user.home, harnesses, data_dir)
    files = DeclaringFiles.read(config, settings.config_dir, context)
    declared = [agent for file in files.taken for agent in file.agents]
    targets = files.declaring(edit.names) if edit.adds_to is None else {edit.adds_to: edit.names}
    outcomes, edited = _edit_all(files, targets, edit, dry_run=dry_run or len(targets) > 1)
    if len(targets) > 1 and not dry_run:
        # None was written before all were known to hold.
        outcomes, edited = _edit_all(files, targets, edit, dry_run=False)

    before = [declared_agents(outcome.before) for outcome in outcomes]
    after = [declared_agents(outcome.after) for outcome in outcomes]
    present = [name for declared in after for name in _agents_of(declared, edit.after)]
    still = {name for declared in after for names in declared.values() for name in names}
    gone = [name for declared in before for names in declared.values() for name in names if name not in still]
    named = (
        [] if edit.adds_to is not None else [name for declared in before for name in _agents_of(declared, edit.names)]
    )
    agents = [agent for file in edited.taken for agent in file.agents]
    problems = (launch_problem(agent, harnesses, user.name) for agent in agents if agent.name in present)
    known = {_without_position(warning) for file in files.taken for warning in file.warnings}
    return EditResult(
        outcomes=outcomes,
        present=present,
        gone=gone,
        renamed=[name for name in gone if name not in named],
        unlaunchable={str(problem.agent): problem.message for problem in problems if problem is not None},
        warnings=[
            str(warning)
            for file in edited.taken
            if file.path in targets
            for warning in file.warnings
            if _without_position(warning) not in known
        ]
        + names_left(declared, agents, edited.taken),
        worktrees=worktrees_left(declared, agents) if any(outcome.changed for outcome in outcomes) else (),
    )


def _edit_all(
    files: DeclaringFiles, targets: Mapping[Path, Sequence[str]], edit: Edit, *, dry_run: bool
) -> tuple[Sequence[FileEdit], DeclaringFiles]:
    """Edit the files, and give them as they are then.

    Raises
    ------
    CommandError
        If one cannot be edited, or the files would not be valid.
    """
    outcomes = []
    for path, names in targets.items():
        outcome, files = _edit_one(files, path, names, edit, dry_run=dry_run)
        outcomes.append(outcome)
    return outcomes, files


def _edit_one(
    files: DeclaringFiles, path: Path, names: Sequence[str], edit: Edit, *, dry_run: bool
) -> tuple[FileEdit, DeclaringFiles]:
    edited = files

    def change(text: str) -> str:
        for name in names:
            text = edit.change(text, name)
        return text

    def check(content: bytes | None) -> None:
        nonlocal edited
        edited = files.with_content(path, content)

    def is_needless(text: str) -> bool:
        return path != files.config and not declared_agents(text)

    try:
        outcome = edit_file(
            path,
            change,
            limit=LARGEST_CONFIG,
            check=check,
            create=edit.adds_to is not None,
            remove=is_needless,
            dry_run=dry_run,
        )
    except (EditError, FileEditError) as error:
        raise CommandError(str(error)) from None
    return outcome, edited


def _without_position(problem: Problem) -> tuple[str | None, str | None, str]:
    return problem.agent, problem.field, problem.message


def _agents_of(declared: Mapping[str, Sequence[str]], typed: Sequence[str]) -> list[str]:
    """Give the agents of the definitions that were typed, in the order of the file."""
    folded = {name.casefold() for name in typed}
    return [name for definition, names in declared.items() if definition.casefold() in folded for name in names]
