"""``agentctl add``."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from agentd.cli.agentctl.command import Commands, Invocation, Status, UsageError, add_edit_options, not_empty
from agentd.settings.folders import SettingsError, absolute

if TYPE_CHECKING:
    from agentd.jcard.edit.writing import TomlValue

_DETAILS = """\
Adds an [[agents]] table after the last one, in a new file if there is none. With --file it goes into the drop-in NAME,
or OWNER/NAME, which is created if it is missing. Give other fields as key=value, as for agentctl set. What follows --
is the command of the harness custom or acp. Paths of --workdir and --prompt-file are relative to the current folder."""

_EXAMPLES = """\
agentctl add reviewer --harness claude-code --prompt 'Review the open pull requests.' restart=on-failure
agentctl add fixer --harness codex --workdir ~/src/app env.LEVEL=3 'args=["--search"]' --wait
agentctl add nightly --harness codex --file ci/nightly
agentctl add clock --harness custom -- sh -c 'while date; do sleep 60; done'"""

_USAGE = "agentctl add [options] NAME --harness HARNESS [key=value ...] [-- COMMAND ...]"

_COMMANDS = {"acp": "gemini --acp", "custom": "sh -c 'while date; do sleep 60; done'"}
"""What such a command is, for example."""

_OPTIONS = ("harness", "prompt", "prompt_file", "workdir", "restart", "model")


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("add", _add, details=_DETAILS, examples=_EXAMPLES)
    parser.usage = _USAGE
    parser.takes_words = True
    parser.add_argument("name", metavar="NAME", type=not_empty, help="name of the new agent")
    parser.add_argument("--harness", metavar="HARNESS", required=True, help="the coding agent to run")
    prompt = parser.add_mutually_exclusive_group()
    prompt.add_argument("--prompt", metavar="TEXT", help="its prompt")
    prompt.add_argument("--prompt-file", metavar="FILE", type=_path, help="file that holds its prompt")
    parser.add_argument("--workdir", metavar="DIR", type=_path, help="folder it works in")
    parser.add_argument("--restart", metavar="WHEN", help="when to restart it: no, on-failure or always [no]")
    parser.add_argument("--model", metavar="MODEL", help="model it uses")
    parser.add_argument("--file", metavar="NAME", type=not_empty, help="drop-in to add it to, instead of the jcard")
    add_edit_options(parser)


def _path(text: str) -> str:
    if text == "~" or text.startswith("~/"):
        return text
    try:
        return os.fspath(absolute(text))
    except SettingsError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _add(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.declaring_files import drop_in_path
    from agentd.cli.agentctl.edit import Edit
    from agentd.cli.agentctl.edit_command import run_edit
    from agentd.jcard.edit.agents import add_agent

    settings, drop_in = invocation.settings, invocation.arguments.file
    file = settings.config if drop_in is None else drop_in_path(settings.config_dir, drop_in)
    names, fields = (invocation.name(),), _fields(invocation.arguments, file.parent)
    _require_command(names[0], fields)
    edit = Edit(lambda text, name: add_agent(text, name, fields), names, names, adds_to=file)
    return run_edit(invocation, edit)


def _fields(arguments: argparse.Namespace, folder: Path) -> dict[str, TomlValue]:
    from agentd.cli.agentctl.edit_command import assignments

    given: dict[str, TomlValue] = {
        option: value for option in _OPTIONS if (value := getattr(arguments, option)) is not None
    }
    for option in ("prompt_file", "workdir"):
        if option in given:
            given[option] = _short(str(given[option]), folder)
    command: list[str] | None = arguments.words
    if command is not None:
        given["command"] = command
    for path, value in assignments(arguments.fields, taken={"name", *given}).items():
        if len(path) == 1:
            given[path[0]] = value
            continue
        table = given.setdefault(path[0], {})
        if not isinstance(table, dict):
            raise UsageError(f"{path[0]} is given whole and in parts; give it once")
        table[path[1]] = value
    return given


def _require_command(name: str, fields: Mapping[str, TomlValue]) -> None:
    """Refuse an agent that has nothing to run.

    Raises
    ------
    UsageError
        If its harness runs a command, there is none, and no program has the name that stands for one.
    """
    from agentd.harness.registry import load_harnesses

    given = str(fields["harness"])
    harness = load_harnesses().harnesses.get(given)
    if harness is None or not harness.takes_command or fields.get("command") or shutil.which(harness.binary):
        return
    call = f"agentctl add {shlex.quote(name)} --harness {given} -- {_COMMANDS.get(given, 'PROGRAM ARGUMENTS')}"
    raise UsageError(f"the harness {given} runs a command, found none; expected it at the end, after --, as in: {call}")


def _short(path: str, folder: Path) -> str:
    """Make a path below the jcard's folder relative to it, so that the folder may move."""
    inside = Path(path).is_relative_to(folder) and Path(path) != folder
    return os.fspath(Path(path).relative_to(folder)) if inside else path
