"""Ids of what the gateway remembers: they sort by time, and cannot be guessed.

Lists are in their order, so an id sorts after all of its kind that were made before, also in the same millisecond, and
after the clock was set back.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterable
from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32, whose order is that of ASCII."""

_TIME_CHARACTERS: Final = 10
"""Milliseconds since the epoch in 50 bits."""

_RANDOM_CHARACTERS: Final = 16
"""80 random bits."""


_lock = threading.Lock()
_last: dict[str, int] = {}
"""The time in the newest id of each kind, in milliseconds."""


def new_id(kind: str, now: float | None = None) -> str:
    """Make an id: the kind, an underscore, and 26 characters as a ULID has them.

    Parameters
    ----------
    kind
        ``ses``, ``msg``, ``run``, ``evt`` and the like.
    now
        Seconds since the epoch; the clock's by default.
    """
    milliseconds = int((time.time() if now is None else now) * 1000)
    with _lock:
        # More than one in a millisecond are ahead of the clock, until there are fewer.
        milliseconds = _last[kind] = max(milliseconds, _last.get(kind, -1) + 1)
    return f"{kind}_{_base32(milliseconds, _TIME_CHARACTERS)}{_base32(secrets.randbits(80), _RANDOM_CHARACTERS)}"


def go_on_after(ids: Iterable[str]) -> None:
    """Have ids sort after these, which a former process made; those of another form are passed over."""
    for each in ids:
        kind, _, rest = each.partition("_")
        number = 0
        if len(rest) < _TIME_CHARACTERS or not set(rest) <= set(_ALPHABET):
            continue
        for character in rest[:_TIME_CHARACTERS]:
            number = number << 5 | _ALPHABET.index(character)
        with _lock:
            _last[kind] = max(number, _last.get(kind, -1))


def first_id(kind: str, now: float) -> str:
    """Give what sorts before all ids of a kind that are made from then on."""
    return f"{kind}_{_base32(max(0, int(now * 1000)), _TIME_CHARACTERS)}"


def _base32(number: int, length: int) -> str:
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(length)))
