"""What workers write, kept apart from what agentd says. Pure but for the random number of a fence.

A worker may print anything, also instructions for who reads it. Every text of a worker's is marked by its type, and
shown between two lines that hold a random number which it cannot know; in lockdown it is not shown at all.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import JsonValue

from agentd.mcp.tool import Result


@dataclass(frozen=True, slots=True)
class _Mark:
    """Says of a field that a worker writes it."""


_MARK: Final = _Mark()
_ID: Final = "id"

Untrusted = Annotated[str, _MARK]
"""A text that a worker, or what it works on, has written: an answer, a question, a file's name."""

UntrustedId = Annotated[str, _MARK, _ID]
"""The same, of what callers give back as it is: shown without a fence where it is short and one word."""

_WORD: Final = re.compile(r"[A-Za-z0-9_.:@/-]{1,64}")


@dataclass(frozen=True, slots=True)
class Fence:
    """Marks where a worker's text begins and ends."""

    number: str

    @classmethod
    def fresh(cls) -> Fence:
        """Make one that nobody has seen."""
        return cls(secrets.token_hex(8))

    def around(self, text: str) -> str:
        """Put a text between its ends."""
        return f"<untrusted {self.number}>\n{text}\n</untrusted {self.number}>"


def shown(value: Result, fence: Fence | None) -> dict[str, JsonValue]:
    """Give a result as JSON; what is ``None`` is left out, but for the fields that are there always.

    Parameters
    ----------
    fence
        Stands around each text of a worker's; ``None`` leaves these out.
    """
    given: dict[str, JsonValue] = {}
    for name, field in type(value).model_fields.items():
        inner = getattr(value, name)
        marked = _has(_MARK, field.metadata, field.annotation)
        bare = fence is not None and _has(_ID, field.metadata, field.annotation) and _is_word(inner)
        told = _json(inner, fence, marked=marked and not bare)
        if told is not None or name in value.always:
            given[name] = told
    return given


def _has(mark: object, metadata: Sequence[object], annotation: object) -> bool:
    """Whether a field, or a type in its own, is marked: ``Untrusted | None``, ``tuple[Untrusted, ...]``."""
    if mark in metadata or mark in getattr(annotation, "__metadata__", ()):
        return True
    return any(_has(mark, (), each) for each in getattr(annotation, "__args__", ()))


def _is_word(text: object) -> bool:
    return isinstance(text, str) and _WORD.fullmatch(text) is not None


def _json(value: object, fence: Fence | None, *, marked: bool) -> JsonValue:
    match value:
        case Result():
            return shown(value, fence)
        case str() if marked:
            return None if fence is None else fence.around(value)
        case str():
            return str(value)
        case Mapping():
            # The keys are agentd's own: enumerations and ids.
            told = {str(key): _json(each, fence, marked=marked) for key, each in value.items()}
            return {key: each for key, each in told.items() if each is not None}
        case Sequence():
            items = [_json(each, fence, marked=marked) for each in value]
            return [each for each in items if each is not None]
        case None | bool() | int() | float():
            return value
        case _:
            raise TypeError(f"expected a value of JSON in a result, found {type(value).__name__}")
