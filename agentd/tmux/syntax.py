"""Writing tmux commands: quoting of arguments and exact targets, each in one place."""

from __future__ import annotations

from collections.abc import Iterable

_ESCAPED_IN_DOUBLE_QUOTES = {"\n": r'"\n"', "\r": r'"\r"'}


def quote(argument: str) -> str:
    r"""Quote one argument for tmux' command parser.

    Single quotes are literal there as in sh, and adjacent quoted pieces join; a line break cannot stand in a
    control-mode line, so it is written as an escape in double quotes. Source: tmux(1), PARSING SYNTAX.

    Raises
    ------
    ValueError
        If the argument contains NUL.

    Examples
    --------
    >>> print(quote("it's"), quote("$HOME"), quote(""))
    'it'"'"'s' '$HOME' ''
    """
    if "\0" in argument:
        raise ValueError("expected a tmux argument without NUL")
    quoted = "'" + argument.replace("'", "'\"'\"'") + "'"
    for character, escaped in _ESCAPED_IN_DOUBLE_QUOTES.items():
        quoted = quoted.replace(character, f"'{escaped}'")
    return quoted


def command(*words: str) -> str:
    """Join a command and its arguments, all quoted but the first."""
    return " ".join([words[0], *map(quote, words[1:])])


def sequence(commands: Iterable[str]) -> str:
    """Join commands into one line that tmux executes without anything between them."""
    return " ; ".join(commands)


def literal(text: str) -> str:
    """Protect text from format expansion, where tmux expands an argument (``new-session -s``, ``-c``)."""
    # Before a bracket tmux keeps doubled hashes, to be a style's (#[bold]); the bracket comes as a literal of its own.
    return text.replace("#", "##").replace("#[", "##{l:[}")


def session_target(name: str) -> str:
    """Name exactly this session; a bare name would match prefixes (``abc`` also ``abc-two``)."""
    return f"={name}"


def pane_target(session: str) -> str:
    """Name the active pane of exactly this session."""
    return f"={session}:"


def pipe_pane(target: str, writer: str) -> str:
    """Pipe what a pane prints to a shell command."""
    # Without -I, which would make tmux notice the command's end at once, but look at one descriptor more for each pane
    # whenever anything happens (it uses poll(2)). The command is expanded as a format, and then by strftime(3).
    return command("pipe-pane", "-O", "-t", target, literal(writer).replace("%", "%%"))


def show_option(option: str) -> str:
    """Ask for a user option of the server."""
    return command("show-options", "-sqv", option)


def execute(script: str) -> tuple[str, str]:
    """Open a pane with a script."""
    # As separate words tmux executes them itself, without the user's login shell, which may be a restricted one.
    return "/bin/sh", script
