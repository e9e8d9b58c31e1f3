r"""Variables in prompts, ``{{ trigger.NAME }}``, and the values that take their place, quoted.

A value is written as a JSON string on one line. What comes from outside cannot end it, and so cannot pose as more of
the prompt; ``<``, ``>`` and ``@``, by which some programs take a part of a prompt for a tag or for a file to read, are
escaped in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

PLACEHOLDER: Final = "{prompt}"
"""Stands for the prompt in a harness' command line, and in the jcard's ``command``."""

LONGEST: Final = 2000
"""Characters of a value."""

CUT: Final = "… (cut)"
"""At the end of one that was longer."""

_VARIABLE: Final = re.compile(r"\{\{ *trigger\.([a-z][a-z0-9_]*) *\}\}", re.ASCII)
_MEANT: Final = re.compile(r"\{\{\s*trigger\b.{0,40}", re.IGNORECASE)
_ESCAPED: Final = str.maketrans({each: f"\\u{ord(each):04x}" for each in "<>@"})
_TAGS: Final = range(0xE0000, 0xE1000)
"""Characters that show nothing, and can carry a text that only a program sees."""


def variables_in(prompt: str) -> tuple[str, ...]:
    """Name the variables of a prompt, each once, in order."""
    return tuple(dict.fromkeys(_VARIABLE.findall(prompt)))


def malformed_in(prompt: str) -> str | None:
    """Give the first part of a prompt that begins like a variable and is none; ``None`` if all are."""
    found = _MEANT.search(_VARIABLE.sub("", prompt))
    return None if found is None else found[0]


def cleaned(value: str, longest: int = LONGEST) -> str:
    """Take away control and invisible characters, but for line breaks and tabs, and what is too long."""
    # No more than that is looked at, whatever came.
    shown = "".join(_kept(each) for each in value[: longest * 2].replace("\r\n", "\n"))
    if len(shown) <= longest and len(value) <= longest * 2:
        return shown
    return shown[: longest - len(CUT)] + CUT


def _kept(character: str) -> str:
    if character in "\n\t" or (character.isprintable() and ord(character) not in _TAGS):
        return character
    import unicodedata  # noqa: PLC0415 (harnesses are known to agentctl, which fills in nothing)

    return " " if unicodedata.category(character) == "Zs" else ""


def quoted(value: str) -> str:
    r"""Quote a value for a prompt.

    Examples
    --------
    >>> quoted('a "b"\n@c')
    '"a \\"b\\"\\n\\u0040c"'
    """
    return json.dumps(value, ensure_ascii=False).translate(_ESCAPED)


def filled(prompt: str, values: Mapping[str, str]) -> str:
    """Put quoted values in place of a prompt's variables; what a value says is not looked at for more of them.

    Raises
    ------
    KeyError
        If there is no value of that name.
    """
    return _VARIABLE.sub(lambda found: quoted(values[found[1]]), prompt)
