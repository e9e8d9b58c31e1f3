"""Reading a request's query."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

_NUMBER = re.compile(r"[0-9]{1,15}")
_SHOWN = 40
"""Characters of a wrong value that are shown."""

FLAGS = {"0": False, "1": True, "false": False, "true": True}


class QueryError(ValueError):
    """A query that cannot be answered; the text says which parameter, what was expected, and what was found."""


def only(query: Mapping[str, str], names: Collection[str]) -> None:
    """Refuse parameters that there are not.

    Raises
    ------
    QueryError
        If there is one of another name.
    """
    unknown = sorted(query.keys() - set(names))
    if unknown:
        there = "are" if len(names) > 1 else "is"
        raise QueryError(f"there is no parameter {unknown[0]!r}; there {there} {', '.join(names)}")


def whole_number(query: Mapping[str, str], name: str) -> int | None:
    """Read a whole number from 0; ``None`` where it is left out.

    Raises
    ------
    QueryError
        If it is none.
    """
    text = query.get(name)
    if text is None:
        return None
    if not is_number(text):
        raise wrong(name, "a whole number from 0", text)
    return int(text)


def is_number(text: str) -> bool:
    """Whether a text is a whole number from 0 of a size that can be meant."""
    return _NUMBER.fullmatch(text) is not None


def flag(query: Mapping[str, str], name: str) -> bool:
    """Read what is on or off; off where it is left out.

    Raises
    ------
    QueryError
        If it is neither.
    """
    text = query.get(name, "0")
    if text not in FLAGS:
        raise wrong(name, "1 or 0", text)
    return FLAGS[text]


def wrong(name: str, expected: str, found: str) -> QueryError:
    """Make the error of a value that cannot be used."""
    return QueryError(f"{name}: expected {expected}, found {found[:_SHOWN]!r}")
