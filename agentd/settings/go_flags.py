"""Command lines written for the Go agentd: the syntax of Go's flag package, and flags that are kept for it."""

from __future__ import annotations

import argparse
from pathlib import Path

from agentd.settings.folders import absolute
from agentd.settings.settings import Runsc

TYPE_CHECKING = False  # typing costs 5 ms
if TYPE_CHECKING:
    from collections.abc import Sequence

SANDBOX_FLAGS = ("--runsc-path", "--sandbox-state-dir", "--sandbox-bundle-dir")
"""Of sandboxes by gVisor."""

_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
"""As Go's strconv.ParseBool takes them."""

_SURE = 0.6


def add_sandbox_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that the Go agentd had for runsc, hidden from the help."""
    for flag in SANDBOX_FLAGS:
        parser.add_argument(flag, help=argparse.SUPPRESS)


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parse a command line whose flags have two dashes; also gives the words that belong to no flag.

    Raises
    ------
    SystemExit
        With status 2 for an unknown flag.
    """
    parsed, rest = parser.parse_known_args(_without_values(parser, arguments))
    end = rest.index("--") if "--" in rest else len(rest)
    for argument in rest[:end]:
        if argument.startswith("-") and argument != "-":
            _refuse(parser, argument.partition("=")[0])
    return parsed, [*rest[:end], *rest[end + 1 :]]


def refuse_unknown(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """Refuse the first flag that is none: argparse takes its value for a word, and complains of that.

    Raises
    ------
    SystemExit
        With status 2 for an unknown flag.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    known = {string for action in parser._actions for string in action.option_strings}  # noqa: SLF001 (as below)
    for argument in arguments[:end]:
        flag = argument.partition("=")[0]
        if flag.startswith("--") and flag not in known:
            _refuse(parser, flag)


def notes(words: Sequence[str]) -> list[str]:
    """Say which parts of a command line have no effect: one text, or none."""
    return [f"{' '.join(words)}: no flag, and agentd has no commands; agentctl has"] if words else []


def runsc(parsed: argparse.Namespace) -> Runsc:
    """Take what was said of sandboxes by gVisor.

    Raises
    ------
    SettingsError
        If a path is relative, and the current folder was removed.
    """
    given = [getattr(parsed, flag.removeprefix("--").replace("-", "_")) for flag in SANDBOX_FLAGS]
    return Runsc(*(absolute(path) if path else None for path in given))


def runsc_in(command: Sequence[str]) -> Runsc:
    """Take from a daemon's whole command line what it says of sandboxes by gVisor."""
    found: dict[str, Path] = {}
    for word, following in zip(command, (*command[1:], ""), strict=True):
        name, equals, value = word.partition("=")
        flag = "--" + name.lstrip("-")
        path = Path(value if equals else following)
        if name.startswith("-") and flag in SANDBOX_FLAGS and path.is_absolute():
            found[flag] = path
    return Runsc(*map(found.get, SANDBOX_FLAGS))


def _without_values(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> list[str]:
    """Take ``--debug=false`` and the like apart: the flag itself where it is true, and nothing where it is not."""
    switches = {
        string
        for action in parser._actions  # noqa: SLF001 (argparse has no public list)
        for string in action.option_strings
        if action.nargs == 0 and isinstance(action.const, bool)
    }
    end = arguments.index("--") if "--" in arguments else len(arguments)
    state: dict[str, bool] = {}
    for argument in arguments[:end]:
        flag, equals, value = argument.partition("=")
        if flag not in switches:
            continue
        if equals and value not in _BOOLEANS:
            parser.error(f"argument {flag}: expected true or false, found {value!r}")
        # The last one counts.
        state[flag] = _BOOLEANS[value] if equals else True
    plain = (
        argument.partition("=")[0] if argument.partition("=")[0] in state else argument for argument in arguments[:end]
    )
    return [*(argument for argument in plain if state.get(argument, True)), *arguments[end:]]


def _refuse(parser: argparse.ArgumentParser, flag: str) -> None:
    from difflib import get_close_matches

    known = [string for action in parser._actions for string in action.option_strings]  # noqa: SLF001 (as above)
    shown = [string for string in known if string.startswith("--") and string not in SANDBOX_FLAGS]
    close = get_close_matches("--" + flag.lstrip("-"), shown, n=1, cutoff=_SURE)
    parser.error(f"unrecognized arguments: {flag}" + (f"; did you mean {close[0]}?" if close else ""))
