"""Found values in messages: quoted, on one line, of bounded length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_LONGEST_SHOWN: Final = 80
"""Characters of a value that a message repeats: more than any agent name has."""

_TOML_INTEGER: Final = 64
"""Bits that TOML asks of an integer; tomllib reads any number of them."""

_MOST_NAMED: Final = 3
"""Names that one message lists."""


def quote(text: str) -> str:
    """Quote text for a one-line message, cutting what is long and escaping what a terminal would act on."""
    shown = text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
    return '"' + printable(shown.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def printable(text: str) -> str:
    """Escape control characters, line breaks and undecodable bytes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def some(names: Sequence[str]) -> str:
    """List names in a message, the first few of many."""
    more = len(names) - _MOST_NAMED
    return ", ".join(quote(name) for name in names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def kind(value: object) -> str:
    """Name the TOML type of a value, with its article."""
    match value:
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a float"
        case str():
            return "a string"
        case list():
            return "an array"
        case dict():
            return "a table"
        case _:
            return "a date or time"


def show(value: object) -> str:
    """Show a TOML value in a message; of arrays and tables only that it is one."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            # Python refuses to print integers over 4300 digits, which TOML can hold in hexadecimal.
            return (
                str(value) if value.bit_length() <= _TOML_INTEGER else f"an integer of more than {_TOML_INTEGER} bits"
            )
        case float():
            return repr(value)
        case str():
            return quote(value)
        case _:
            return kind(value)
