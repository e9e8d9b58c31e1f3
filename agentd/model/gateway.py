"""What a jcard says of agentd-gateway: its ``[gateway]`` table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from agentd.model.channels import ChannelDeclaration
from agentd.model.triggers import Trigger

USER: Final = r"[A-Za-z0-9](?:-?[A-Za-z0-9_]){0,31}"
"""Names of users: without two dashes in a row, which part a user from what is theirs in names of agents."""

LONGEST_USER: Final = 32
"""Letters, digits and _ of it."""

TOKEN_HASH: Final = r"sha256:[0-9a-f]{64}"  # noqa: S105 (the form of one)


CLIENT_URL: Final = "AGENTD_GATEWAY_URL"
"""Variable that names the gateway to clients."""
CLIENT_TOKEN: Final = "AGENTCTL_AUTH_TOKEN"  # noqa: S105 (the name of a variable)
"""Variable that holds the token of clients."""

DEFAULT_LISTEN: Final = "127.0.0.1:8765"
DEFAULT_CONCURRENCY: Final = 4
SQLITE: Final = "sqlite"
POSTGRESQL: Final = "postgresql"
DATABASES: Final = {
    "sqlite": SQLITE,
    # As SQLAlchemy's own programs name it.
    "sqlite+aiosqlite": SQLITE,
    "sqlite+pysqlite": SQLITE,
    "postgresql": POSTGRESQL,
    "postgres": POSTGRESQL,
    "postgresql+asyncpg": POSTGRESQL,
}
"""Kinds of databases, by what may stand before ``://`` in a URL."""
DEFAULT_QUEUE: Final = 1000
DEFAULT_IDLE_TIMEOUT: Final = 30 * 60.0
"""Seconds."""
DEFAULT_RETENTION: Final = 30 * 24 * 60 * 60.0
"""Seconds."""


class Scope(StrEnum):
    """What a token is for; each includes those after it."""

    ADMIN = "admin"
    """Everything, of everybody."""
    AGENTS = "agents"
    """Declaring agents."""
    CHAT = "chat"
    """Talking to agents."""
    READ = "read"
    """Looking."""


@dataclass(frozen=True, slots=True)
class DeclaredToken:
    """A token that lets somebody in."""

    secret: str | None
    """Name of the secret that is the token; ``None`` if `digest` is given."""
    digest: bytes | None = field(repr=False)
    """SHA-256 of the token."""
    user: str | None
    scopes: frozenset[Scope]


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where the gateway listens."""

    host: str | None = None
    """A name or address; ``None`` for a Unix socket."""
    port: int = 0
    """0 takes a free one."""
    path: str | None = None
    """Of the Unix socket."""

    def __str__(self) -> str:
        """Write it as in a jcard or on a command line."""
        if self.path is not None:
            return f"{_UNIX}{self.path}"
        return (
            f"[{self.host}]:{self.port}" if self.host is not None and ":" in self.host else f"{self.host}:{self.port}"
        )


_UNIX: Final = "unix:"
_TCP: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})")
_MOST: Final = 65535


def parse_listen(text: str) -> ListenAddress:
    """Parse an address to listen on.

    Raises
    ------
    ValueError
        If it is none.
    """
    if text.startswith(_UNIX) and len(text) > len(_UNIX) and "\0" not in text:
        return ListenAddress(path=text.removeprefix(_UNIX))
    match = _TCP.fullmatch(text)
    if match is None or int(match["port"]) > _MOST:
        raise ValueError(f'found {text!r}, expected HOST:PORT such as "127.0.0.1:8765", or unix:PATH')
    return ListenAddress(match["v6"] or match["host"], int(match["port"]))


@dataclass(frozen=True, slots=True)
class GatewayDeclaration:
    """The table; what is ``None`` is at its default."""

    listen: tuple[ListenAddress, ...] | None = None
    database: str | None = field(default=None, repr=False)
    """A URL, which may hold a password."""
    max_concurrency: int | None = None
    max_queue: int | None = None
    turn_timeout: float | None = None
    """Seconds; 0 is no limit."""
    idle_timeout: float | None = None
    retention: float | None = None
    workdirs: tuple[Path, ...] = ()
    """Absolute."""
    manager: str | None = None
    managed_type: str | None = None
    """``native`` or ``sandboxed``."""
    managed_secrets: tuple[str, ...] | None = None
    managed_env: Mapping[str, str] = field(default_factory=dict, repr=False)
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    tokens: tuple[DeclaredToken, ...] = ()
    channels: tuple[ChannelDeclaration, ...] = ()
    webhooks: tuple[Trigger, ...] = ()
    """Of the same file, that requests to the gateway start agents by."""
