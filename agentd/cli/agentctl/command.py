"""What all commands share: their parser, their invocation, their errors."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from itertools import islice

from agentd.cli.agentctl.catalogue import SUMMARIES
from agentd.cli.agentctl.help_layout import Help
from agentd.settings.flags import SHARED_FIELDS
from agentd.settings.options import add_options

TYPE_CHECKING = (
    False  # importing typing, dataclasses, pathlib, json and socket would double the time of `agentctl --help`
)
if TYPE_CHECKING:
    from typing import NoReturn

    from agentd.cli.agentctl.client import Api
    from agentd.settings.settings import Settings
    from agentd.text.terminal import Display

NAMES_COMMAND = "__names"
"""Hidden command for shell completion: prints the agents' names."""

_UNKNOWN_COMMAND = re.compile(r"argument COMMAND: invalid choice: '(.*)' \(choose from (.*)\)", re.DOTALL)
_QUOTED = re.compile(r"[\w-]+")
_COMMAND_MISSING = "arguments are required: COMMAND"
_MISSING = "the following arguments are required: "
_UNKNOWN_OPTION = "unrecognized arguments: "
_SURE = 0.8
"""Similarity of an option that was probably meant."""


PATIENCE = 60.0
"""Seconds that ``--wait`` waits by default; a graceful stop takes up to the grace period, by default 30 s."""


class Status(IntEnum):
    """Exit status."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3


class CommandError(Exception):
    """A command failed; the text is printed as one line.

    Parameters
    ----------
    code
        What kind of failure it is, by the name that `agentd.pool.errors.Code` has for it; empty: by the status.
    example
        The command to run next; empty: the command's help.
    """

    status = Status.FAILED
    document: object = None
    """What is printed with ``--json``; ``None`` is the text."""

    def __init__(self, message: str, code: str = "", example: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.example = example


class UsageError(CommandError):
    """The command line is wrong."""

    status = Status.USAGE


class CommandLineError(UsageError):
    """The parser refuses the command line; the text begins with the name of the program or command."""

    def __init__(self, message: str, usage: str) -> None:
        super().__init__(message)
        self.usage = usage


class Invocation:
    """One call of a command: its arguments, and what it works with."""

    __slots__ = ("api", "arguments", "as_json", "compact", "display", "field", "settings")

    def __init__(
        self, arguments: argparse.Namespace, settings: Settings, api: Api, display: Display, *, as_json: bool
    ) -> None:
        self.arguments = arguments
        self.settings = settings
        self.api = api
        self.display = display
        self.as_json = as_json
        given = vars(arguments)
        self.compact = given.get("format") == "json"
        self.field: str | None = given.get("field")

    @property
    def fleet(self) -> bool:
        """Whether all hosts of a fleet are asked."""
        return bool(getattr(self.arguments, "fleet", False))

    def name(self) -> str:
        """Return the NAME argument."""
        return str(self.arguments.name)

    def names(self) -> tuple[str, ...]:
        """Return the NAME arguments of a command that takes several, without repeats."""
        return tuple(dict.fromkeys(str(name) for name in self.arguments.names))

    def print(self, text: Iterable[str]) -> None:
        """Print lines, without control characters other than tabs and styles."""
        from agentd.text.terminal import harmless

        for line in text:
            print(harmless(line))

    def print_document(self, document: object, *, line: bool = False) -> None:
        """Print the JSON document of ``--json``, or the value in it that ``--field`` names.

        Parameters
        ----------
        line
            Whether it is one of several, and so stands in a line of its own.

        Raises
        ------
        CommandError
            If the field is not there.
        """
        if self.field is not None:
            from agentd.cli.agentctl.field import field_of

            try:
                print(field_of(document, self.field), flush=line)
            except LookupError as error:
                raise CommandError(str(error)) from None
        elif self.compact or line:
            import json

            print(json.dumps(document, separators=(",", ":")), flush=line)
        else:
            print_document(document)

    def print_result(self, document: object, lines: Iterable[str]) -> None:
        """Print the document with ``--json``, else the lines."""
        if self.as_json:
            self.print_document(document)
        else:
            self.print(lines)

    def warn(self, message: str) -> None:
        """Print a message on stderr."""
        from agentd.text.terminal import harmless

        print(f"agentctl: {harmless(message)}", file=sys.stderr)


def structured(command: str, message: str, status: Status, code: str = "", example: str = "") -> object:
    """Give the document of an error of a command about workers."""
    code = code or {Status.USAGE: "usage", Status.UNREACHABLE: "agentd_unreachable"}.get(status, "failed")
    usual = "agentctl doctor" if status is Status.UNREACHABLE else f"agentctl {command} --help"
    return {"error": {"code": code, "message": message, "details": {"example": example or usual}}}


def print_document(document: object) -> None:
    """Print JSON in ASCII, which every terminal and locale takes."""
    import json

    print(json.dumps(document, indent=2))


class Parser(argparse.ArgumentParser):
    """A parser whose errors say what to do next."""

    takes_words = False
    """Whether words may be mixed with options (``fields``), and more follow ``--`` (``words``).

    argparse takes the words of one argument only if they stand together.
    """

    _given: Sequence[str] = ()
    """What is being parsed."""

    is_command = False
    """Whether it parses one command, and so refuses unknown arguments with the usage of that command."""

    def parse_known_args(  # type: ignore[override]  # its overloads are for namespaces of other classes
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse known arguments, and return the others."""
        given = list(sys.argv[1:] if args is None else args)
        self._given = given
        words: list[str] | None = None
        if self.takes_words and "--" in given:
            end = given.index("--")
            given, words = given[:end], given[end + 1 :]
        elif self.is_command and not self.takes_words:
            given = self._options_first(given)
        parsed, left = super().parse_known_args(given, namespace)
        if self.takes_words:
            parsed.words = words
            parsed.fields = [word for word in left if not word.startswith("-")]
            left = [word for word in left if word.startswith("-")]
        if left and self.is_command:
            self.error(f"{_UNKNOWN_OPTION}{' '.join(left)}{self._meant(left)}")
        return parsed, left

    def _meant(self, words: Sequence[str]) -> str:
        """Say which option was probably meant by the first that is none."""
        from difflib import get_close_matches

        options = [word.partition("=")[0] for word in words if word.startswith("--") and len(word) > len("--")]
        for option in options:
            known = self._option_string_actions
            close = get_close_matches(option, known, n=1, cutoff=_SURE) if option not in known else None
            if close:
                return f"; did you mean {close[0]} by {option}?"
        return ""

    def _options_first(self, given: Sequence[str]) -> list[str]:
        """Move options before all words, as getopt_long(3) does.

        argparse closes an optional or repeated argument at the first option, and refuses words that follow it.
        """
        options: list[str] = []
        words: list[str] = []
        rest = iter(given)
        for word in rest:
            if word == "--":
                words += rest
            elif not word.startswith("-") or word == "-" or self._negative_number_matcher.match(word):
                words.append(word)
            else:
                options.append(word)
                if self._takes_next(word):
                    value = list(islice(rest, 1))
                    if not value:
                        return list(given)  # A word would be taken for it; so argparse says that it is missing.
                    options += value
        mark = ["--"] if any(len(word) > 1 and word.startswith("-") for word in words) else []
        return [*options, *mark, *words]

    def _takes_next(self, word: str) -> bool:
        """Whether the value of an option is the next word."""
        known = self._option_string_actions.get(word)
        if known is None and not word.startswith("--"):
            # Joined one-letter options: the rest of the word is the value of the first that takes one.
            for at, letter in enumerate(word[1:], 2):
                known = self._option_string_actions.get(f"-{letter}")
                if known is None or known.nargs != 0:
                    return known is not None and at == len(word)
        return known is not None and known.nargs != 0

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises
        ------
        CommandLineError
            Always.
        """
        unknown = _UNKNOWN_COMMAND.search(message)
        if unknown is not None:
            from difflib import get_close_matches

            from agentd.text.quoting import quote

            close = get_close_matches(unknown[1], _QUOTED.findall(unknown[2]), n=2)
            message = f"there is no command {quote(unknown[1])}"
            message += f": did you mean {' or '.join(close)}?" if close else ""
        elif message.endswith(_COMMAND_MISSING):
            message = "name a command, such as agentctl status; new here? agentctl help getting-started"
        elif message.startswith(_MISSING) or (message.startswith(_UNKNOWN_OPTION) and not self.is_command):
            message += self._meant(self._given)
        raise CommandLineError(f"{self.prog}: {message}; see {self.prog} --help", self.format_usage())


class _Named(Parser):
    """Stands for a command that a help only names: its parser costs 1 ms, and its module 2."""

    def __init__(self, **_: object) -> None:
        pass


class Commands:
    """Collects the commands' parsers."""

    def __init__(self, parser: argparse.ArgumentParser, *, only_names: bool = False) -> None:
        self._subparsers = parser.add_subparsers(
            metavar="COMMAND", dest="command", required=True, parser_class=_Named if only_names else Parser
        )

    def name_all(self) -> None:
        """Add all commands by name alone, for a help that lists them."""
        for name, summary in SUMMARIES.items():
            self._subparsers.add_parser(name, help=summary)

    def add(self, name: str, run: Callable[[Invocation], int], *, details: str = "", examples: str) -> Parser:
        """Add a command.

        Parameters
        ----------
        name
            One of the catalogue.
        details
            The description in ``--help``, after the summary.
        examples
            The examples in ``--help``, a line each.
        """
        summary = SUMMARIES[name]
        parser = self._subparsers.add_parser(
            name,
            help=summary,
            description=_description(summary, details),
            epilog="examples:\n" + "\n".join(f"  {line}" for line in examples.splitlines()),
            formatter_class=Help,
            allow_abbrev=False,
        )
        add_shared_options(parser)
        parser.set_defaults(run=run)
        parser.is_command = True
        return parser

    def help_of(self, name: str) -> str:
        """Return a command's help."""
        return str(self._subparsers.choices[name].format_help())


def _description(summary: str, details: str) -> str:
    text = f"{summary[0].upper()}{summary[1:]}."
    return f"{text}\n\n{details}" if details else text


def add_shared_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that may stand before and after the command's name."""
    group = parser.add_argument_group(
        "options of every command (defaults and environment variables as in agentd --help)"
    )
    # A default would overwrite a value given before the command's name.
    group.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON document")
    group.add_argument(
        "--format", choices=("json",), default=argparse.SUPPRESS, help="print one JSON document, without spaces"
    )
    group.add_argument(
        "--field", metavar="A.B.C", type=not_empty, default=argparse.SUPPRESS, help="print this value of it alone"
    )
    add_options(group, SHARED_FIELDS, brief=True)


def add_gateway_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a gateway; they may stand before the command's name, too."""
    parser.add_argument(
        "--gateway",
        metavar="URL",
        type=not_empty,
        default=argparse.SUPPRESS,
        help="agentd-gateway, as http://HOST:PORT or unix:PATH [http://127.0.0.1:8765; AGENTD_GATEWAY_URL]",
    )
    parser.add_argument(
        "--auth-token",
        metavar="TOKEN",
        type=not_empty,
        default=argparse.SUPPRESS,
        help="token for it; others see it in the list of processes, but not the variable AGENTCTL_AUTH_TOKEN",
    )


OUTPUT_FLAGS = ("--format", "--field", "--gateway", "--auth-token")
"""Those that take a value and may stand before the command's name, beside the settings."""


def duration_argument(text: str) -> float:
    """Parse a duration into seconds; raises `argparse.ArgumentTypeError` for anything else."""
    from agentd.text.durations import DurationError, parse_duration

    try:
        return parse_duration(text)
    except DurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def whole_number(text: str) -> int:
    """Parse a number from 0; raises `argparse.ArgumentTypeError` for anything else."""
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, found {text!r}")
    return int(text)


def not_empty(text: str) -> str:
    """Refuse an empty name or path: mostly a script's variable that is not set."""
    if not text:
        raise argparse.ArgumentTypeError("expected a value, found an empty string")
    return text


def add_name(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """Add the NAME argument."""
    if optional:
        parser.add_argument("name", metavar="NAME", nargs="?", help="name of an agent; case is ignored")
    else:
        parser.add_argument("name", metavar="NAME", help="name of the agent; case is ignored")


def add_fleet(parser: argparse.ArgumentParser) -> None:
    """Add the ``--fleet`` option."""
    parser.add_argument("--fleet", action="store_true", help="ask all hosts of the fleet, by agentd-fleet")


def add_names(parser: argparse.ArgumentParser) -> None:
    """Add NAME arguments, one or more."""
    parser.add_argument("names", metavar="NAME", nargs="+", help="name of an agent; case is ignored")


def add_jcard(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Add the optional FILE argument, whose help begins with ``meaning``."""
    help_text = f"{meaning}; - for standard input"
    parser.add_argument("file", metavar="FILE", nargs="?", type=not_empty, help=help_text)


def add_edit_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of all editing commands."""
    parser.add_argument("--dry-run", action="store_true", help="show the change without making it")
    parser.add_argument("--wait", action="store_true", help="wait until the daemon has applied the change")
    add_timeout(parser, "how long to --wait at most", PATIENCE)


def add_timeout(parser: argparse.ArgumentParser, meaning: str, default: float | None = None) -> None:
    """Add the ``--timeout`` option.

    Parameters
    ----------
    meaning
        Its help, which this follows with the default.
    default
        Seconds; without it there is no limit.
    """
    shown = "none" if default is None else f"{default:.0f}s"
    parser.add_argument(
        "--timeout", metavar="DURATION", type=duration_argument, default=default, help=f"{meaning} [{shown}]"
    )
