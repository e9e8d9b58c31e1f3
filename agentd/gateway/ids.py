"""Ids of what the gateway remembers: they sort by time, and cannot be guessed."""

from __future__ import annotations

import secrets
import time
from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32, whose order is that of ASCII."""

_TIME_CHARACTERS: Final = 10
"""Milliseconds since the epoch in 50 bits."""

_RANDOM_CHARACTERS: Final = 16
"""80 random bits."""


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
    return f"{kind}_{_base32(milliseconds, _TIME_CHARACTERS)}{_base32(secrets.randbits(80), _RANDOM_CHARACTERS)}"


def first_id(kind: str, now: float) -> str:
    """Give what sorts before all ids of a kind that are made from then on."""
    return f"{kind}_{_base32(max(0, int(now * 1000)), _TIME_CHARACTERS)}"


def _base32(number: int, length: int) -> str:
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(length)))
