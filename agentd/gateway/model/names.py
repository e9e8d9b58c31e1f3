"""What the gateway may be called by its clients. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

LOOPBACK_NAME: Final = "localhost"

_LOOPBACK: Final = frozenset({LOOPBACK_NAME, "127.0.0.1", "::1"})
_EVERY: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 (compared with, not listened on)


def own_names(listened: Collection[str], names: Collection[str]) -> frozenset[str]:
    """Give what this server may be called, wherever a connection arrives.

    Who listens at every address does so on loopback, too; where a container's port is published there, connections come
    in at the container's own address, and ask for loopback.

    Parameters
    ----------
    listened
        The hosts of the addresses that it listens on.
    names
        What else it may be called.
    """
    known = frozenset(name.lower() for name in (*listened, *names))
    return known if known.isdisjoint(_EVERY) else known | _LOOPBACK
