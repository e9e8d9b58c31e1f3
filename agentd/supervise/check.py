"""Are a jcard and its drop-ins good? What ``agentd --check`` and ``agentctl validate`` print."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agentd.harness.base import Harness
from agentd.harness.registry import load_harnesses
from agentd.jcard.drop_in_folder import DropIns
from agentd.jcard.drop_ins import SourceFile, TakenFile, merge
from agentd.jcard.given_file import GivenFile
from agentd.jcard.load import load_jcard
from agentd.jcard.problems import Checked, Problem, Severity
from agentd.jcard.prompts import PromptError
from agentd.jcard.reading import drop_in_source, drop_ins, prompt_text
from agentd.model.spec import AgentSpec, LoadContext
from agentd.settings.context import (
    ConfigUnavailableError,
    load_context,
    resolve_agent_user,
    resolve_data_dir,
)
from agentd.settings.folders import drop_in_folder
from agentd.settings.settings import Settings
from agentd.supervise.desired import resolve_launch
from agentd.text.quoting import printable
from agentd.text.terminal import BOLD, GREEN, RED, YELLOW, Cell, Display, lines, plural


@dataclass(frozen=True, slots=True)
class CheckResult(Checked):
    """What was found in a jcard and its drop-ins."""

    path: Path
    """The jcard."""
    files: tuple[TakenFile, ...]
    """All of them, the jcard first."""
    agents: tuple[AgentSpec, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    """What is wrong with this machine rather than with the file."""

    def document(self) -> dict[str, object]:
        """Give the result as JSON values."""
        return {
            "path": str(self.path),
            "valid": self.valid,
            "agents": [_agent_document(agent) for agent in self.agents],
            "errors": [_problem_document(problem) for problem in self.errors],
            "warnings": [_problem_document(problem) for problem in self.warnings],
            "files": [
                {"path": str(file.path), "valid": file.valid, "agents": [agent.name for agent in file.agents]}
                for file in self.files
            ],
            "notes": list(self.notes),
        }


def check(settings: Settings, environ: Mapping[str, str], given: GivenFile | None = None) -> CheckResult:
    """Read and check a jcard, its drop-ins and their prompt files.

    Parameters
    ----------
    settings
        Who the agents run as, and jcard and drop-ins unless others are given.
    given
        The jcard to check, with the drop-ins in the folder beside it; or a folder of drop-ins alone.

    Raises
    ------
    SettingsError
        If the agents cannot run as the user that was asked for.
    """
    folder: Path | None = settings.config_dir
    takes_folder = given is not None
    if given is None:
        given = GivenFile(settings.config, settings.config.parent, stream=False, typed=False)
    else:
        folder = None if given.stream else drop_in_folder(given.path)
    path = given.path
    user, user_warning = resolve_agent_user(settings.agent_user, environ)
    registry = load_harnesses()
    data_dir = resolve_data_dir(settings.data_dir, user)
    context = load_context(given.folder / path.name, user.name, user.home, registry.harnesses, data_dir)
    sources = []
    if takes_folder and given.is_folder():
        folder = path
    else:
        sources.append(_source(given, context))
    found = DropIns() if folder is None else drop_ins(folder)
    files = merge([*sources, *(drop_in_source(file, context) for file in found.files.values())])
    problems = [Problem(Severity.ERROR, str(folder), reason) for folder, reason in found.unlisted.items()]
    problems += (problem for file in files for problem in file.problems)
    agents = tuple(agent for file in files for agent in file.agents)
    unlaunchable = (launch_problem(agent, registry.harnesses, user.name) for agent in agents)
    problems += (problem for problem in unlaunchable if problem is not None)
    notes = (*([user_warning] if user_warning else []), *registry.warnings)
    return CheckResult(path, files, agents, tuple(problems), notes)


def _source(given: GivenFile, context: LoadContext) -> SourceFile:
    try:
        data = given.read()
    except ConfigUnavailableError as error:
        return SourceFile(given.path, None, None, unavailable=str(error).removeprefix(f"{given.path}: "))
    return SourceFile(given.path, None, load_jcard(data, str(given.path), context))


def launch_problem(agent: AgentSpec, harnesses: Mapping[str, Harness], user: str) -> Problem | None:
    """Say why an agent could not be launched, as far as its definition tells."""
    problem = Problem(Severity.ERROR, str(agent.source), "", agent=agent.name)
    try:
        prompt = None if agent.prompt_file is None else prompt_text(agent.prompt_file)
    except PromptError as error:
        return replace(problem, message=str(error), field="prompt_file")
    desired = resolve_launch(
        agent, prompt=prompt, input_error=None, secrets={}, harness=harnesses[agent.harness], user=user, key=b""
    )
    return None if desired.error is None else replace(problem, message=desired.error)


def check_lines(result: CheckResult, display: Display) -> list[str]:
    """Lay a result out for people: the agents, then what is wrong, then the verdict."""
    shown = [*_agent_lines(result.agents, display)]
    if shown and display.table:
        shown.append("")
    shown += [f"{display.paint('note:', BOLD)} {printable(note)}" for note in result.notes]
    shown += [f"{display.paint('warning:', YELLOW)} {printable(str(problem))}" for problem in result.warnings]
    shown += [f"{display.paint('error:', RED)} {printable(str(problem))}" for problem in result.errors]
    found = [
        plural(len(problems), noun)
        for problems, noun in ((result.errors, "error"), (result.warnings, "warning"))
        if problems
    ]
    verdict = display.paint("valid", GREEN) if result.valid else display.paint("not valid", RED)
    if result.valid:
        found.insert(0, plural(len(result.agents), "agent"))
    drop_ins = sum(file.path != result.path for file in result.files)
    files = printable(os.fspath(result.path)) + (f" and {plural(drop_ins, 'drop-in')}" if drop_ins else "")
    return [*shown, f"{files}: {verdict}: {', '.join(found)}"]


def _agent_lines(agents: Sequence[AgentSpec], display: Display) -> list[str]:
    if not agents:
        return []
    rows = [
        [
            Cell(agent.name, BOLD),
            Cell(agent.harness if agent.enabled else f"{agent.harness} (disabled)"),
            Cell(agent.session),
            Cell(str(agent.workdir)),
        ]
        for agent in agents
    ]
    return lines(("NAME", "HARNESS", "SESSION", "WORKDIR"), rows, display)


def _agent_document(agent: AgentSpec) -> dict[str, object]:
    return {
        "name": agent.name,
        "harness": agent.harness,
        "type": str(agent.type),
        "session": agent.session,
        "workdir": str(agent.workdir),
        "enabled": agent.enabled,
        "owner": agent.owner,
        "source": str(agent.source),
    }


def _problem_document(problem: Problem) -> dict[str, object]:
    return {
        "message": problem.message,
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "agent": problem.agent,
        "field": problem.field,
    }
