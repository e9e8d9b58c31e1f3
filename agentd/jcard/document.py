"""Parse the bytes of a jcard as TOML, with helpful syntax errors."""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agentd.files.regular import without_mark
from agentd.jcard.newer_toml import newer_syntax
from agentd.jcard.problems import Problem, Severity

_PLACE: Final = re.compile(
    r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL
)

_PLAINER: Final = {
    "Cannot overwrite a value": "this key or table is already defined above",
    "Invalid value": "invalid value (text needs quotes)",
    "Illegal character '\\n'": "the string is not closed on its line",
}
"""Clearer words for tomllib's most frequent errors."""


@dataclass(frozen=True, slots=True)
class Document:
    """A valid TOML document."""

    text: str
    """Without a byte order mark."""
    values: Mapping[str, object]


def parse_document(data: bytes, file: str) -> Document | Problem:
    """Parse TOML; a UTF-8 byte order mark is accepted.

    Parameters
    ----------
    data
        Any bytes.
    file
        The file's name in messages.

    Returns
    -------
    Document | Problem
        The values, or the syntax error.
    """
    data = without_mark(data)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return _encoding_error(data, error.start, file)
    try:
        return Document(text, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        return _syntax_error(text, str(error), file)
    except RecursionError:
        return Problem(Severity.ERROR, file, "arrays or inline tables are nested too deeply to be read")
    except ValueError:
        # int() refuses over 4300 digits; tomllib passes that error on without a position.
        return _syntax_error(text, "a number has too many digits", file)


def _encoding_error(data: bytes, offset: int, file: str) -> Problem:
    line_start = data.rfind(b"\n", 0, offset) + 1
    message = f"byte 0x{data[offset]:02x} is not UTF-8; save the file as UTF-8"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        message = "the file is UTF-16; save it as UTF-8"
    return Problem(
        Severity.ERROR,
        file,
        message,
        line=data.count(b"\n", 0, offset) + 1,
        column=len(data[line_start:offset].decode("utf-8")) + 1,
    )


def _syntax_error(text: str, report: str, file: str) -> Problem:
    match = _PLACE.fullmatch(report)
    what = match["what"] if match is not None else report
    if match is not None and match["line"] is not None:
        line, column = int(match["line"]), int(match["column"])
    else:
        line, column = _place_by_tomlkit(text) or _end(text)
    place = sum(len(each) + 1 for each in text.split("\n")[: line - 1]) + column - 1
    newer = newer_syntax(what, text[place - column + 1 : place], text[place:])
    what = newer or _PLAINER.get(what, f"{what[:1].lower()}{what[1:]}")
    return Problem(Severity.ERROR, file, f"not valid TOML: {what}", line, column)


def _place_by_tomlkit(text: str) -> tuple[int, int] | None:
    """Ask tomlkit for the position: of what is never closed, tomllib only says that the text ended."""
    import tomlkit.exceptions  # noqa: PLC0415 (35 ms, for broken files only)

    try:
        tomlkit.parse(text)
    except tomlkit.exceptions.ParseError as error:
        return error.line, error.col + 1
    except (tomlkit.exceptions.TOMLKitError, ValueError, RecursionError):
        return None
    return None


def _end(text: str) -> tuple[int, int]:
    last_line_start = text.rfind("\n") + 1
    return text.count("\n") + 1, len(text) - last_line_start + 1
