"""What every editing command does with its edit: make it in the file, show it, wait for the daemon."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from agentd.cli.agentctl.client import ApiError, Json, UnreachableError, health_from
from agentd.cli.agentctl.command import CommandError, Invocation, Status, UsageError
from agentd.text.quoting import printable, quote
from agentd.text.terminal import BOLD, CYAN, GREEN, RED, Display

if TYPE_CHECKING:
    from agentd.cli.agentctl.edited import Made, Named
    from agentd.jcard.edit.agents import FieldPath
    from agentd.jcard.edit.file import FileEdit
    from agentd.jcard.edit.writing import TomlValue

_LINE = re.compile(r"[^\n]*\n|[^\n]+")

_DIFF_STYLES = {"-": RED, "+": GREEN, "@": CYAN}


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit of the jcard, and whom it is about."""

    make: Callable[[str], str]
    before: Sequence[str] = ()
    """Names, as they were typed, of the definitions that it changes or removes."""
    after: Sequence[str] = ()
    """Their names afterwards, and those of new ones."""
    unchanged: str = ""
    """What to say if nothing changes."""
    create: bool = False
    """Whether a missing file is begun."""
    dry_run: bool = False


def assignments(words: Sequence[str], taken: Collection[str] = ()) -> list[tuple[FieldPath, TomlValue]]:
    """Read the key=value arguments.

    Raises
    ------
    UsageError
        If one is none, or gives a field a second time.
    """
    from agentd.jcard.edit.assignments import AssignmentError, parse_assignment
    from agentd.jcard.explain import field_name

    given: dict[FieldPath, TomlValue] = {}
    for word in words:
        try:
            path, value = parse_assignment(word)
        except AssignmentError as error:
            raise UsageError(str(error)) from None
        if path in given or path[0] in taken:
            raise UsageError(f"{field_name(path)} is given twice; give it once")
        given[path] = value
    return list(given.items())


def run_edit(invocation: Invocation, edit: Edit) -> Status:
    """Make an edit and report it.

    Raises
    ------
    CommandError
        If it cannot be made; the file is as it was then.
    SettingsError
        If the agents cannot run as the user that was asked for.
    """
    arguments = invocation.arguments
    if arguments.dry_run and arguments.wait:
        raise UsageError("--dry-run changes nothing to --wait for; leave one of them out")
    from agentd.cli.agentctl.edited import make_edit

    made = make_edit(invocation.settings, replace(edit, dry_run=bool(arguments.dry_run)))
    outcome, named = made.outcome, made.named
    warnings = _warnings(invocation, made)
    for warning in warnings:
        invocation.warn(f"warning: {warning}")
    diff = diff_lines(outcome)
    if not invocation.as_json:
        _show(invocation, edit, outcome, diff)
    observed: Sequence[Json] | None = None
    error: str | None = None
    status = Status.DONE
    if arguments.wait:
        status, observed, error = _wait(invocation, outcome, named)
    if invocation.as_json:
        document: dict[str, object] = {
            "changed": outcome.changed,
            "dry_run": bool(arguments.dry_run),
            "file": str(outcome.file),
            "diff": "".join(f"{line}\n" for line in diff),
            "agents": list(named.present),
            "removed": list(named.gone),
            "warnings": warnings,
            "observed": None if observed is None else list(observed),
            "error": error,
        }
        invocation.print_document(document)
    if error is not None:
        invocation.warn(printable(error))
    return status


def _warnings(invocation: Invocation, made: Made) -> list[str]:
    warnings = [f"{agent} cannot run like this: {printable(problem)}" for agent, problem in made.unlaunchable.items()]
    warnings += map(printable, made.suspicious)
    warnings += made.left
    if made.named.others:
        warnings.append(
            f"{', '.join(made.named.others)}: without a name of its own in the file, it is called otherwise now, and "
            "so is run anew; agentctl rename gives a name that stays"
        )
    config = invocation.settings.config
    try:
        in_force = health_from(invocation.api.get("/v1/health")).config.path
    except (UnreachableError, ApiError):
        # Without a daemon the edit counts when one starts.
        return warnings
    from agentd.cli.agentctl.answers import answers

    if answers(Path(in_force)) and os.path.realpath(in_force) != os.path.realpath(config):
        warnings.append(
            f"the daemon on {invocation.api.path} runs {printable(in_force)}, not {config}: --config names its file"
        )
    return warnings


def diff_lines(outcome: FileEdit) -> list[str]:
    """Give the change as a unified diff that patch takes, without line ends; none if nothing changed."""
    from difflib import unified_diff

    name = str(outcome.file)
    # Not splitlines, which takes other characters for line ends too.
    before, after = (_LINE.findall(text) for text in (outcome.before, outcome.after))
    shown: list[str] = []
    for line in unified_diff(before, after, name, name):
        shown.append(line.removesuffix("\n"))
        if not line.endswith("\n"):
            shown.append("\\ No newline at end of file")
    return shown


def _show(invocation: Invocation, edit: Edit, outcome: FileEdit, diff: Sequence[str]) -> None:
    display = invocation.display
    if not outcome.changed:
        invocation.print([f"nothing to change: {edit.unchanged}"])
    elif not display.table:
        invocation.print(diff)
    else:
        invocation.print(_painted(diff, display))
        if invocation.arguments.dry_run:
            invocation.print([f"dry run: {printable(str(outcome.file))} is as it was"])


def _painted(diff: Sequence[str], display: Display) -> list[str]:
    return [
        display.paint(
            "\t".join(map(printable, line.removesuffix("\r").split("\t"))),
            BOLD if number < len(("---", "+++")) else _DIFF_STYLES.get(line[:1], ""),
        )
        for number, line in enumerate(diff)
    ]


def _wait(invocation: Invocation, outcome: FileEdit, named: Named) -> tuple[Status, Sequence[Json] | None, str | None]:
    """Wait for the daemon; what goes wrong now is told with the edit, which is made."""
    from agentd.cli.agentctl.convergence import wait_until_converged

    made = "the edit is made" if outcome.changed else "nothing was to be edited"
    try:
        agents = wait_until_converged(invocation, outcome.file, named.present, named.gone)
    except UnreachableError as error:
        return (
            Status.UNREACHABLE,
            None,
            f"{made}, but agentd is not reachable on {invocation.api.path}: {error}; it acts on the file once it runs",
        )
    except (CommandError, ApiError) as error:
        return Status.FAILED, None, f"{made}, but {error}"
    if not invocation.as_json:
        invocation.print(
            [
                f"{agent.name} is {agent.state}" + (f" (pid {agent.pid})" if agent.pid is not None else "")
                for agent, _ in agents
            ]
            + [f"{quote(name)[1:-1]} is gone" for name in named.gone]
        )
    unwell = [
        f"{agent.name} is {agent.state}{f': {agent.error}' if agent.error else ''}"
        for agent, _ in agents
        if agent.state in ("failed", "backoff", "timed_out")
    ]
    documents = [document for _, document in agents]
    return (Status.FAILED, documents, "; ".join(unwell)) if unwell else (Status.DONE, documents, None)
