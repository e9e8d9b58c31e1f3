"""Write values and keys as TOML, in the style of what they replace."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

TomlValue: TypeAlias = "str | int | float | bool | Sequence[TomlValue] | Mapping[str, TomlValue]"
"""What an agent table may hold."""

_KEPT_IN_LINES: Final = frozenset("\n\t")
"""Control characters that a multi-line string contains unescaped."""


def write_value(value: TomlValue, *, like: str = "", one_line: bool = False, newline: str = "\n") -> str:
    r"""Write a value.

    Parameters
    ----------
    value
        The value; text without lone surrogates, which UTF-8 cannot encode.
    like
        The text it replaces: a literal string is replaced by a literal one if possible.
    one_line
        Whether it is inside an inline table or array: then line breaks in text are written as ``\n``.
    newline
        The file's line end.
    """
    match value:
        case str():
            return _text(value, like, one_line, newline)
        case Mapping():
            pairs = ", ".join(write_pair((key,), item) for key, item in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case Sequence():
            return f"[{', '.join(write_value(item, one_line=True) for item in value)}]"
        case _:
            import tomlkit  # noqa: PLC0415 (35 ms, only for edits)

            return tomlkit.item(value).as_string()


def write_pair(key: Sequence[str], value: TomlValue) -> str:
    """Write ``key = value`` on one line; a key of several parts is dotted."""
    return f"{write_key(key)} = {write_value(value, one_line=True)}"


def write_key(parts: Sequence[str]) -> str:
    """Write a key; one of several parts is dotted."""
    import tomlkit  # noqa: PLC0415 (as above)

    return ".".join(tomlkit.key(part).as_string() for part in parts)


def _text(value: str, like: str, one_line: bool, newline: str) -> str:
    import tomlkit  # noqa: PLC0415 (as above)

    if like.startswith("'") and _says(f"'{value}'", value):
        return f"'{value}'"
    if "\n" in value and not one_line and all(char.isprintable() or char in _KEPT_IN_LINES for char in value):
        lines = tomlkit.string(value, multiline=True).as_string()
        # TOML ignores the first line break of a multi-line string; tomlkit writes it only if it must.
        candidate = lines if value.startswith("\n") else f'"""\n{lines[3:]}'
        if _says(candidate, value):
            return candidate.replace("\n", newline)
    return tomlkit.item(value).as_string()


def _says(candidate: str, value: str) -> bool:
    try:
        return tomllib.loads(f"v = {candidate}") == {"v": value}
    except tomllib.TOMLDecodeError:
        return False
