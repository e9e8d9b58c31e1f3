"""The flags that both commands share, built from `agentd.settings.flags`."""

from __future__ import annotations

import argparse
import os

from agentd.settings.flags import OPTIONS, SHARED_FIELDS, Option

TYPE_CHECKING = False  # typing costs 5 ms
if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from agentd.settings.settings import Settings

USAGE_ERROR = 2
"""Exit status for a usage error; argparse uses the same."""


def add_options(
    parser: argparse._ActionsContainer, fields: Container[str] | None = None, *, brief: bool = False
) -> None:
    """Add the flags of all settings, or only of some.

    Parameters
    ----------
    fields
        Names of `Settings` attributes; ``None`` for all.
    brief
        Whether to leave the defaults out of the help.
    """
    for option in OPTIONS:
        if fields is not None and option.field not in fields:
            continue
        parser.add_argument(
            option.flag,
            metavar=option.metavar,
            dest=option.field,
            # As plain strings: argparse shows an enum's members by their repr.
            choices=[*map(str, option.choices)] or None,
            default=argparse.SUPPRESS,
            help=option.help if brief else f"{option.help} [{_sources(option)}]".replace("%", "%%"),
        )


def _sources(option: Option) -> str:
    if option.default_text is not None:
        default = option.default_text
    elif option.as_root == option.as_user:
        default = str(option.as_user)
    else:
        default = f"as root {option.as_root}, else {option.as_user}"
    return default if option.environment is None else f"{default}; {option.environment}"


def settings_from(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Settings:
    """Resolve the settings of a parsed command line.

    Raises
    ------
    SettingsError
        If a flag or an environment variable cannot be used.
    """
    from agentd.settings.settings import resolve_settings

    given = vars(arguments)
    flags = {option.field: str(given[option.field]) for option in OPTIONS if option.field in given}
    return resolve_settings(flags, environ, root=os.geteuid() == 0, debug=bool(given.get("debug", False)))


def flags_of(settings: Settings) -> list[str]:
    """Write the flags with which agentctl works with the same daemon."""
    fields = ((option, getattr(settings, option.field)) for option in OPTIONS if option.field in SHARED_FIELDS)
    return [f"{option.flag}={value}" for option, value in fields if value is not None]


def accept_one_dash(arguments: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """Rewrite ``-flag`` and ``-flag=value`` with two dashes for each long flag of the parser.

    With both spellings declared, argparse would also accept any prefix of the one-dash spelling.
    """
    known = {string for action in parser._actions for string in action.option_strings if string.startswith("--")}  # noqa: SLF001 (argparse has no public list)
    return [f"-{argument}" if f"-{argument}".partition("=")[0] in known else argument for argument in arguments]
