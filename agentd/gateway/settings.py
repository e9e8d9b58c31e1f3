"""The gateway's settings: the jcard's ``[gateway]`` table, and flags and the environment, which win over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from agentd.files.answering import NotAnsweringError, along
from agentd.gateway.model.caller import Token
from agentd.gateway.model.names import own_names
from agentd.gateway.tokens import TokenError, TokenSources, fixed_tokens, read_tokens
from agentd.harness.registry import load_harnesses
from agentd.jcard.gateway_table import TABLE
from agentd.jcard.load import load_jcard
from agentd.jcard.reading import config_bytes
from agentd.model.channels import ChannelDeclaration
from agentd.model.gateway import (
    CLIENT_TOKEN,
    DEFAULT_CONCURRENCY,
    DEFAULT_IDLE_TIMEOUT,
    DEFAULT_LISTEN,
    DEFAULT_QUEUE,
    DEFAULT_RETENTION,
    GatewayDeclaration,
    ListenAddress,
    parse_listen,
)
from agentd.model.spec import LoadContext
from agentd.model.triggers import Webhook
from agentd.settings.context import ConfigUnavailableError, load_context, resolve_agent_user, resolve_data_dir
from agentd.settings.folders import absolute
from agentd.settings.settings import Settings


class GatewayStartError(RuntimeError):
    """The gateway cannot start; the text says why and what to do."""


class TableError(ValueError):
    """The jcard has an error; the text says which."""


@dataclass(frozen=True, slots=True)
class ReadTable:
    """What the jcard says."""

    declared: GatewayDeclaration
    warnings: tuple[str, ...]
    """What of it is passed over, or ill-advised."""


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
    database_named_by: str
    """The flag or field that gives it."""
    max_concurrency: int
    max_queue: int
    turn_timeout: float | None
    idle_timeout: float
    retention: float
    workdirs: tuple[Path, ...]
    manager: str | None
    managed_type: str | None
    managed_secrets: tuple[str, ...] | None
    managed_env: Mapping[str, str] = field(repr=False)
    manager_has_token: bool
    """Whether the secret that clients show is among the tokens."""
    hosts: frozenset[str]
    origins: frozenset[str]
    tokens: tuple[Token, ...]
    channels: tuple[ChannelDeclaration, ...]
    migrate: bool
    table: GatewayDeclaration
    """What the jcard said."""
    warnings: tuple[str, ...]
    """What of that is passed over, or ill-advised."""
    context: LoadContext
    """What it is understood with."""
    sources: TokenSources

    def hosts_with(self, table: GatewayDeclaration) -> frozenset[str]:
        """Give the names of this server, by what the jcard says now."""
        return own_names([address.host for address in self.listen if address.host is not None], table.hosts)


def gateway_settings(daemon: Settings, flags: Flags, environ: Mapping[str, str]) -> GatewaySettings:
    """Resolve the settings; reads the jcard, secrets and files of tokens.

    Raises
    ------
    GatewayStartError
        If something cannot be read or used.
    SettingsError
        If agents cannot run as the user that was asked for.
    """
    context = _context(daemon, environ)
    read = _declared(daemon, context)
    table = read.declared
    sources, tokens = _tokens(daemon, table, flags, environ)
    listen = tuple(map(_address, flags.listen)) or table.listen or (parse_listen(DEFAULT_LISTEN),)
    settings = GatewaySettings(
        daemon=daemon,
        listen=listen,
        database=flags.database or table.database,
        database_named_by="--database" if flags.database else f"database in [gateway] of {daemon.config}",
        max_concurrency=flags.max_concurrency or table.max_concurrency or DEFAULT_CONCURRENCY,
        max_queue=table.max_queue or DEFAULT_QUEUE,
        turn_timeout=table.turn_timeout or None,
        idle_timeout=DEFAULT_IDLE_TIMEOUT if table.idle_timeout is None else table.idle_timeout,
        retention=DEFAULT_RETENTION if table.retention is None else table.retention,
        workdirs=table.workdirs,
        manager=table.manager,
        managed_type=table.managed_type,
        managed_secrets=table.managed_secrets,
        managed_env=table.managed_env,
        manager_has_token=any(token.secret == CLIENT_TOKEN for token in table.tokens),
        hosts=frozenset(),
        origins=frozenset(table.origins),
        tokens=tokens,
        channels=table.channels,
        migrate=flags.migrate,
        table=table,
        warnings=read.warnings,
        context=context,
        sources=sources,
    )
    return replace(settings, hosts=settings.hosts_with(table))


def _context(daemon: Settings, environ: Mapping[str, str]) -> LoadContext:
    user, _ = resolve_agent_user(daemon.agent_user, environ)
    data_dir = resolve_data_dir(daemon.data_dir, user)
    return load_context(daemon.config, user.name, user.home, load_harnesses().harnesses, data_dir)


def _declared(daemon: Settings, context: LoadContext) -> ReadTable:
    try:
        return table_of(config_bytes(daemon.config), daemon.config, context)
    except ConfigUnavailableError as error:
        raise GatewayStartError(f"{error}; who is let in may stand there") from None
    except TableError as error:
        raise GatewayStartError(f"{error}; agentd-gateway needs a jcard without errors") from None


def table_of(data: bytes, config: Path, context: LoadContext) -> ReadTable:
    """Read the jcard's table.

    Raises
    ------
    TableError
        If the jcard has errors, wherever.
    """
    loaded = load_jcard(data, str(config), context)
    if errors := [*loaded.errors, *loaded.gateway_errors]:
        raise TableError(str(errors[0]))
    triggers = (trigger for agent in loaded.agents if agent.enabled for trigger in agent.triggers)
    webhooks = tuple(each for each in triggers if isinstance(each.source, Webhook))
    warnings = (str(each) for each in loaded.problems if (each.field or "").partition(".")[0] == TABLE)
    return ReadTable(replace(loaded.gateway or GatewayDeclaration(), webhooks=webhooks), tuple(warnings))


def _tokens(
    daemon: Settings, table: GatewayDeclaration, flags: Flags, environ: Mapping[str, str]
) -> tuple[TokenSources, tuple[Token, ...]]:
    try:
        fixed = fixed_tokens(environ, flags.tokens)
        sources = TokenSources(daemon.secret_dir, tuple(map(absolute, flags.token_files)), fixed)
        tokens, errors = along(lambda way: read_tokens(table.tokens, sources, way.to))
    except NotAnsweringError as error:
        raise GatewayStartError(str(error.strerror)) from None
    except TokenError as error:
        raise GatewayStartError(str(error)) from None
    if errors:
        raise GatewayStartError(str(errors[0]))
    return sources, tokens


def _address(text: str) -> ListenAddress:
    try:
        address = parse_listen(text)
    except ValueError as error:
        raise GatewayStartError(f"--listen: {error}") from None
    return address if address.path is None else ListenAddress(path=str(absolute(address.path)))
