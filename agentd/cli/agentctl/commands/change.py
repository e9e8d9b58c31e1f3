"""The commands that change definitions: ``agentctl set``, ``remove``, ``stop`` and others."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial

from agentd.cli.agentctl.command import (
    Commands,
    Invocation,
    Status,
    UsageError,
    add_edit_options,
    add_name,
    add_names,
    not_empty,
)

_SET_DETAILS = """\
The fields are those of the jcard (agentctl help jcard), and env.NAME. A value is read as TOML if the field takes that
(true, 3, ["a", "b"]), else as plain text. A field that is set already keeps its place and its comment. --dry-run shows
the change without making it."""

_SET_EXAMPLES = """\
agentctl set reviewer restart=always max_restarts=5
agentctl set reviewer timeout=2h 'args=["--verbose"]' env.LEVEL=3 --wait
agentctl set reviewer prompt="$(cat prompt.md)" --dry-run"""

_UNSET_DETAILS = """\
The fields then have their defaults. Fields that are not set are ignored. Comments above them stay."""

_UNSET_EXAMPLES = """\
agentctl unset reviewer timeout
agentctl unset reviewer env.LEVEL model --wait"""

_SCALE_DETAILS = """\
Several replicas are called NAME-0, NAME-1 …, each with its own session; a single one is called NAME. Going from one to
several, or back, therefore stops what runs under the former name."""

_SCALE_EXAMPLES = """\
agentctl scale reviewer 3 --wait
agentctl scale reviewer 1"""

_RENAME_DETAILS = """\
A running agent is stopped and started under the new name, in a session of that name unless session is set. With
isolation it gets a new worktree; the former one stays, and a warning names it."""

_RENAME_EXAMPLES = """\
agentctl rename reviewer critic --wait"""

_REMOVE_DETAILS = """\
Removes each agent's table and the comment directly above it. A running agent is stopped gracefully, and its session is
closed. A git worktree stays until agentctl worktrees clean, and a warning names it. agentctl stop keeps the
definition."""

_REMOVE_EXAMPLES = """\
agentctl remove reviewer --wait
agentctl remove reviewer fixer --dry-run"""

_EXAMPLES = """\
agentctl {0} reviewer
agentctl {0} reviewer fixer --wait --timeout 2m"""

_START_DETAILS = """\
Removes enabled = false from the definition. An agent that ended by itself is still enabled: agentctl restart runs it
again."""

_STOP_DETAILS = """\
Writes enabled = false: the agent is stopped gracefully and its session is closed. Its definition stays."""

_RESTART_DETAILS = """\
Writes the time to restarted_at; whenever that field changes, the daemon stops the current run and starts another. An
agent that ended runs again."""


_APPLY_DETAILS = """\
Writes the time to applied_at. A change that waits, as the agent's apply says, is then applied: the agent is restarted,
whatever it does. Where none waits nothing happens, nor to other replicas that are as declared already."""


def register(commands: Commands) -> None:
    """Add the commands."""
    parser = commands.add("set", _set, details=_SET_DETAILS, examples=_SET_EXAMPLES)
    parser.usage = "agentctl set [options] NAME key=value ..."
    parser.takes_words = True
    add_name(parser)
    add_edit_options(parser)

    parser = commands.add("unset", _unset, details=_UNSET_DETAILS, examples=_UNSET_EXAMPLES)
    add_name(parser)
    parser.add_argument("keys", metavar="key", nargs="+", help="a field, or env.NAME")
    add_edit_options(parser)

    parser = commands.add("scale", _scale, details=_SCALE_DETAILS, examples=_SCALE_EXAMPLES)
    add_name(parser)
    parser.add_argument("replicas", metavar="N", type=_number, help="number of replicas, from 1")
    add_edit_options(parser)

    parser = commands.add("rename", _rename, details=_RENAME_DETAILS, examples=_RENAME_EXAMPLES)
    parser.add_argument("name", metavar="OLD", help="name of the agent; case is ignored")
    parser.add_argument("new", metavar="NEW", type=not_empty, help="its new name")
    add_edit_options(parser)

    for name, run, details, examples in (
        ("remove", _remove, _REMOVE_DETAILS, _REMOVE_EXAMPLES),
        ("start", _start, _START_DETAILS, _EXAMPLES),
        ("stop", _stop, _STOP_DETAILS, _EXAMPLES),
        ("restart", _restart, _RESTART_DETAILS, _EXAMPLES),
        ("apply", _apply, _APPLY_DETAILS, _EXAMPLES),
    ):
        parser = commands.add(name, run, details=details, examples=examples.format(name))
        add_names(parser)
        add_edit_options(parser)


def _number(text: str) -> int:
    # 0 is refused later, with what to do instead.
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {text!r}")
    return int(text)


def _edit(
    invocation: Invocation,
    change: Callable[[str, str], str],
    unchanged: str = "",
    *,
    names: Sequence[str] | None = None,
    after: Sequence[str] | None = None,
) -> Status:
    """Change the definitions that the command line names; `after` are their names afterwards, if they differ."""
    from agentd.cli.agentctl.edit import Edit
    from agentd.cli.agentctl.edit_command import run_edit

    names = (invocation.name(),) if names is None else names
    return run_edit(invocation, Edit(change, names, names if after is None else after), unchanged)


def _set(invocation: Invocation) -> Status:
    from agentd.cli.agentctl.edit_command import assignments
    from agentd.jcard.edit.agents import set_fields

    words = invocation.arguments.fields
    if not words or invocation.arguments.words:
        raise UsageError("expected key=value, such as restart=always; agentctl set --help has more")
    fields = assignments(words)
    after = (str(fields.get(("name",), invocation.name())),)
    change = partial(set_fields, fields=fields)
    return _edit(invocation, change, "the fields have these values already", after=after)


def _unset(invocation: Invocation) -> Status:
    from agentd.jcard.edit.agents import unset_fields
    from agentd.jcard.edit.assignments import AssignmentError, parse_field

    keys = list[str](invocation.arguments.keys)

    def unset(text: str, name: str) -> str:
        for key in keys:
            edited = unset_fields(text, name, [parse_field(key, known_only=False)])
            if edited == text:
                # A key that is no field can be taken out of a file that has it; one that is not there is mistyped.
                parse_field(key)
            text = edited
        return text

    try:
        return _edit(invocation, unset, "the fields are not set")
    except AssignmentError as error:
        raise UsageError(str(error)) from None


def _scale(invocation: Invocation) -> Status:
    from agentd.jcard.edit.agents import scale_agent

    replicas = int(invocation.arguments.replicas)
    return _edit(invocation, partial(scale_agent, replicas=replicas), f"it has {replicas} already")


def _rename(invocation: Invocation) -> Status:
    from agentd.jcard.edit.agents import rename_agent

    new = str(invocation.arguments.new)
    return _edit(invocation, partial(rename_agent, new=new), "that is its name already", after=(new,))


def _remove(invocation: Invocation) -> Status:
    from agentd.jcard.edit.agents import remove_agent

    return _edit(invocation, remove_agent, names=invocation.names(), after=())


def _start(invocation: Invocation) -> Status:
    from agentd.jcard.edit.agents import start_agent

    unchanged = "it is enabled already; if it ended, agentctl restart runs it again"
    return _edit(invocation, start_agent, unchanged, names=invocation.names())


def _stop(invocation: Invocation) -> Status:
    from agentd.jcard.edit.agents import stop_agent

    return _edit(invocation, stop_agent, "it is stopped already", names=invocation.names())


def _restart(invocation: Invocation) -> Status:
    from agentd.jcard.edit.agents import restart_agent

    return _edit(invocation, lambda text, name: restart_agent(text, name, _now()), names=invocation.names())


def _apply(invocation: Invocation) -> Status:
    from agentd.jcard.edit.agents import set_fields

    def apply(text: str, name: str) -> str:
        return set_fields(text, name, {("applied_at",): _now()})

    return _edit(invocation, apply, names=invocation.names())


def _now() -> str:
    """The time, to the microsecond and taken under the file's lock: two commands in one second are two changes."""
    from agentd.text.timestamps import rfc3339_microseconds

    return rfc3339_microseconds(time.time())
