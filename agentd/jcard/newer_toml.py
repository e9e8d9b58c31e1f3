"""Recognise TOML 1.1 syntax where tomllib, which reads TOML 1.0, reports an error."""

from __future__ import annotations

import re
from typing import Final

_KEY: Final = "Invalid initial character for a key part"
_BREAK: Final = "a line break inside { }", "write the table on one line, or as a [table] of its own"

_NEWER: Final = (
    (_KEY, r".*[{,][ \t]*", r"(#.*)?\r?\n", *_BREAK),
    ("Unclosed inline table", r".*", r"[ \t]*(#.*)?\r?\n", *_BREAK),
    (_KEY, r".*,[ \t]*", r"\}", "a comma before }", "remove it"),
    (r"Unescaped '\' in a string", r".*\\[ex]", "", r"\e or \x41", r"write \u001b or \u0041"),
    (
        "Expected newline or end of document after a statement",
        r".*=[ \t]*(\d{4}-\d\d-\d\d ?|\d\d)",
        r"([Tt]?\d\d)?:\d\d(?!:)",
        "a time without seconds",
        "write :00 behind it, or quotes around it",
    ),
)
"""tomllib's words, the line before the position, what follows, what that is, and what to do instead."""


def newer_syntax(report: str, before: str, after: str) -> str | None:
    """Name the TOML 1.1 syntax at a syntax error; ``None`` if there is none.

    Parameters
    ----------
    report
        tomllib's words, without the position.
    before, after
        The line up to the position, and the text from there on.
    """
    for words, line, following, what, advice in _NEWER:
        if words == report and re.fullmatch(line, before) and re.match(following, after):
            return f"{what} needs TOML 1.1, and a jcard is TOML 1.0: {advice}"
    return None
