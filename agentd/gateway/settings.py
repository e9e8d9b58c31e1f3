"""The gateway's settings: the jcard's ``[gateway]`` table, and flags and the environment, which win over it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agentd.files.answering import NotAnsweringError, within
from agentd.files.regular import read_regular
from agentd.gateway.model.caller import Token
from agentd.harness.registry import load_harnesses
from agentd.jcard.load import load_jcard
from agentd.jcard.reading import config_bytes
from agentd.jcard.secrets import read_secret
from agentd.model.gateway import (
    CLIENT_TOKEN,
    DEFAULT_CONCURRENCY,
    DEFAULT_IDLE_TIMEOUT,
    DEFAULT_LISTEN,
    DEFAULT_QUEUE,
    DEFAULT_RETENTION,
    DeclaredToken,
    GatewayDeclaration,
    ListenAddress,
    parse_listen,
)
from agentd.settings.context import ConfigUnavailableError, load_context, resolve_agent_user, resolve_data_dir
from agentd.settings.folders import absolute
from agentd.settings.settings import Settings

TOKEN_VARIABLES: Final = ("AGENTD_AUTH_TOKEN", "AGENTD_AUTH_TOKENS", "AGENTD_API_KEY")
"""Each may hold several tokens, parted by commas."""

_LARGEST_TOKEN_FILE: Final = 64 << 10
_USABLE: Final = re.compile(r"[!-~]+")
"""What a header can carry as one word."""


class GatewayStartError(RuntimeError):
    """The gateway cannot start; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line says beside agentd's own flags."""

    listen: tuple[str, ...] = ()
    database: str | None = None
    max_concurrency: int | None = None
    token_files: tuple[str, ...] = ()
    tokens: tuple[str, ...] = field(default=(), repr=False)
    migrate: bool = True


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """All of them. Times are seconds, paths absolute."""

    daemon: Settings
    """agentd's: where it is, and what it goes by."""
    listen: tuple[ListenAddress, ...]
    database: str | None = field(repr=False)
    """A URL, which may hold a password; ``None`` for the file in the state directory."""
    max_concurrency: int
    max_queue: int
    turn_timeout: float | None
    idle_timeout: float
    retention: float
    workdirs: tuple[Path, ...]
    manager: str | None
    manager_has_token: bool
    """Whether the secret that clients show is among the tokens."""
    hosts: frozenset[str]
    origins: frozenset[str]
    tokens: tuple[Token, ...]
    migrate: bool


def gateway_settings(daemon: Settings, flags: Flags, environ: Mapping[str, str]) -> GatewaySettings:
    """Resolve the settings; reads the jcard, secrets and files of tokens.

    Raises
    ------
    GatewayStartError
        If something cannot be read or used.
    SettingsError
        If agents cannot run as the user that was asked for.
    """
    table = _declared(daemon, environ) or GatewayDeclaration()
    listen = tuple(map(_address, flags.listen)) or table.listen or (parse_listen(DEFAULT_LISTEN),)
    return GatewaySettings(
        daemon=daemon,
        listen=listen,
        database=flags.database or table.database,
        max_concurrency=flags.max_concurrency or table.max_concurrency or DEFAULT_CONCURRENCY,
        max_queue=table.max_queue or DEFAULT_QUEUE,
        turn_timeout=table.turn_timeout or None,
        idle_timeout=DEFAULT_IDLE_TIMEOUT if table.idle_timeout is None else table.idle_timeout,
        retention=DEFAULT_RETENTION if table.retention is None else table.retention,
        workdirs=table.workdirs,
        manager=table.manager,
        manager_has_token=any(token.secret == CLIENT_TOKEN for token in table.tokens),
        hosts=frozenset(table.hosts) | {address.host.lower() for address in listen if address.host is not None},
        origins=frozenset(table.origins),
        tokens=(
            *(_declared_token(token, daemon.secret_dir) for token in table.tokens),
            *_tokens_of(environ, flags),
        ),
        migrate=flags.migrate,
    )


def _declared(daemon: Settings, environ: Mapping[str, str]) -> GatewayDeclaration | None:
    user, _ = resolve_agent_user(daemon.agent_user, environ)
    data_dir = resolve_data_dir(daemon.data_dir, user)
    context = load_context(daemon.config, user.name, user.home, load_harnesses().harnesses, data_dir)
    try:
        data = config_bytes(daemon.config)
    except ConfigUnavailableError as error:
        raise GatewayStartError(f"{error}; who is let in may stand there") from None
    loaded = load_jcard(data, str(daemon.config), context)
    if loaded.errors:
        raise GatewayStartError(f"{loaded.errors[0]}; agentd-gateway needs a jcard without errors")
    return loaded.gateway


def _address(text: str) -> ListenAddress:
    try:
        address = parse_listen(text)
    except ValueError as error:
        raise GatewayStartError(f"--listen: {error}") from None
    return address if address.path is None else ListenAddress(path=str(absolute(address.path)))


def _declared_token(token: DeclaredToken, secret_dir: Path) -> Token:
    if token.digest is not None:
        return Token(token.digest, token.user, token.scopes)
    assert token.secret is not None, "the loader takes a secret or a hash"
    path = secret_dir / token.secret
    try:
        value = within(path, lambda: read_secret(path))
    except NotAnsweringError as error:
        value = error
    if not isinstance(value, str):
        reason = "it is a folder" if value is None else value.strerror
        raise GatewayStartError(f"secret file {path}: {reason}; [[gateway.tokens]] names it")
    return Token.of(_usable(value, f"secret file {path}"), token.user, token.scopes)


def _tokens_of(environ: Mapping[str, str], flags: Flags) -> Sequence[Token]:
    found = [
        (token.strip(), name) for name in TOKEN_VARIABLES for token in environ.get(name, "").split(",") if token.strip()
    ]
    for file in flags.token_files:
        found += ((token, file) for token in _tokens_in(absolute(file)))
    found += ((token, "--auth-token") for token in flags.tokens)
    return [Token.of(_usable(token, source)) for token, source in found]


def _tokens_in(path: Path) -> list[str]:
    try:
        data = within(path, lambda: read_regular(path, _LARGEST_TOKEN_FILE))
    except OSError as error:
        raise GatewayStartError(f"--auth-token-file {path}: {error.strerror}") from None
    lines = [line.strip() for line in data.decode("utf-8", "replace").splitlines()]
    if not any(lines):
        raise GatewayStartError(f"--auth-token-file {path}: expected a token on each line, found none")
    return [line for line in lines if line]


def _usable(token: str, source: str) -> str:
    if not _USABLE.fullmatch(token):
        raise GatewayStartError(f"{source}: expected a token of printable ASCII without spaces")
    return token
