"""Quoting: of values in messages (one line, of bounded length), and of words for a shell."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import PurePath

_LONGEST_SHOWN: Final = 80
"""Characters of a value that a message shows; agent names are shorter."""

_TOML_INTEGER: Final = 64
"""Bits of the integers that TOML guarantees; tomllib reads longer ones."""

_MOST_NAMED: Final = 3
"""Names that a message lists."""


def quote(text: str) -> str:
    """Quote text for a one-line message: long text is cut, control characters are escaped."""
    shown = text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
    return '"' + printable(shown.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def printable(text: str) -> str:
    """Escape control characters, line breaks, undecodable bytes and invisible characters."""
    if text.isascii() and text.isprintable():
        return text
    shown = visible(text)
    return "".join(c if c.isprintable() or c in _JOINERS else c.encode("unicode_escape").decode("ascii") for c in shown)


_JOINERS: Final = "\u200c\u200d"
_HIDDEN: Final = re.compile(
    # Soft hyphen, grapheme joiner, bidi marks, vowel inherents and selectors that show nothing, Hangul fillers.
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u3164\uffa0"
    # Zero widths, line and paragraph separators, bidi embeddings and isolates, invisible operators, byte order marks.
    r"\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"
    # Shorthand and musical format characters, tags.
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]"
    # A variation selector after another one.
    r"|(?<=[\ufe00-\ufe0f\U000e0100-\U000e01ef])[\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
"""What reorders text or is invisible, and so can deceive a reader. Visible format characters stay (the Arabic number
signs, the joiners of hieroglyphs)."""


def visible(text: str) -> str:
    """Escape invisible characters that change how text is read: bidi controls, zero widths, fillers, tags.

    A joiner stays after a letter, mark or symbol beyond ASCII: in Persian and Indic words, and in emoji.
    """
    return text if text.isascii() else _HIDDEN.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    if found[0] in _JOINERS and found.start() > 0:
        from unicodedata import category  # noqa: PLC0415 (every help would load it)

        before = found.string[found.start() - 1]
        if not before.isascii() and (category(before)[0] in "LM" or category(before) in ("So", "Sk")):
            return found[0]
    return found[0].encode("unicode_escape").decode("ascii")


def unfit(name: str, expected: str, most: int) -> str:
    """Say what is wrong with a name: one that is too long is told how long it is, and by how much to shorten it.

    Parameters
    ----------
    expected
        What it should be, with its limit.
    most
        Characters that it may have.
    """
    over = len(name) - most
    if over <= 0:
        return f"found {quote(name)}, {expected}"
    return f"found {quote(name)} ({len(name)} characters), {expected}; shorten it by {over}"


def shell_quote(word: str | bytes | PurePath) -> bytes:
    r"""Quote one word for a POSIX shell, byte for byte.

    Raises
    ------
    ValueError
        If it contains NUL, which no argument can.

    Examples
    --------
    >>> shell_quote("it's $HOME\n")
    b"'it'\\''s $HOME\n'"
    """
    raw = word.encode("utf-8", "surrogateescape") if isinstance(word, str) else bytes(word)
    if b"\0" in raw:
        raise ValueError("expected text without NUL characters")
    return b"'" + raw.replace(b"'", rb"'\''") + b"'"


def some(names: Sequence[str], show: Callable[[str], str] = str) -> str:
    """List the first names in a message, as `show` writes them, and the number of others."""
    more = len(names) - _MOST_NAMED
    return ", ".join(map(show, names[:_MOST_NAMED])) + (f" and {more} more" if more > 0 else "")


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
    """Show a TOML value in a message; of arrays and tables only the type."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            # Python refuses to print integers of over 4300 digits, which TOML can write in hexadecimal.
            return (
                str(value) if value.bit_length() <= _TOML_INTEGER else f"an integer of more than {_TOML_INTEGER} bits"
            )
        case float():
            return repr(value)
        case str():
            return quote(value)
        case _:
            return kind(value)
