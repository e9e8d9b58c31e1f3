"""What harnesses and programs say, as text that can be written down. Pure.

JSON may hold half of a surrogate pair, as where JavaScript cuts an emoji in two, which is no character in any encoding;
and databases take no NUL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Final

from agentd.turns.events import TurnEvent

_NO_TEXT: Final = re.compile("[\0\ud800-\udfff]")
_INSTEAD: Final = "\N{REPLACEMENT CHARACTER}"


def plain(value: object) -> object:
    """Replace what is no text in a JSON value, wherever it stands."""
    match value:
        case str():
            return _plain_text(value)
        case list():
            return [plain(each) for each in value]
        case tuple():
            return tuple(plain(each) for each in value)
        case Mapping():
            return plain_object(value)
        case _:
            return value


def plain_object(value: Mapping[str, object]) -> Mapping[str, object]:
    """Replace what is no text in a JSON object."""
    return {_plain_text(name): plain(each) for name, each in value.items()}


def _plain_text(text: str) -> str:
    # The search alone takes 50 ms of a megabyte.
    return text if _is_plain(text) else _NO_TEXT.sub(_INSTEAD, text)


def _is_plain(text: str) -> bool:
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def plain_event(event: TurnEvent) -> TurnEvent:
    """Replace what is no text in an event; it is the same one where all is text."""
    changed: dict[str, Any] = {}
    for each in fields(event):
        value = getattr(event, each.name)
        cleaned = plain(value)
        if cleaned is not value and cleaned != value:
            changed[each.name] = cleaned
    return replace(event, **changed) if changed else event
