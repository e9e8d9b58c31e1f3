"""The ``[gateway]`` table of a jcard: what agentd-gateway goes by. agentd itself passes over it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from agentd.jcard.channel_table import ChannelTable, Duration, channel_declaration, contradictions
from agentd.jcard.checks import (
    check_name,
    check_not_empty,
    check_path,
    check_user,
    check_variable,
)
from agentd.jcard.explain import Fault, field_name
from agentd.jcard.findings import Findings
from agentd.jcard.part_table import read_table
from agentd.jcard.paths import resolve
from agentd.model.gateway import (
    DATABASES,
    DEFAULT_CONCURRENCY,
    DEFAULT_IDLE_TIMEOUT,
    DEFAULT_LISTEN,
    DEFAULT_QUEUE,
    DEFAULT_RETENTION,
    SQLITE,
    TOKEN_HASH,
    USER,
    DeclaredToken,
    GatewayDeclaration,
    ListenAddress,
    Scope,
    parse_listen,
)
from agentd.model.spec import AGENT_NAME, ENVIRONMENT_NAME, AgentType, LoadContext
from agentd.text.durations import format_duration
from agentd.text.quoting import quote, show

TABLE: Final = "gateway"

OF_GATEWAY: Final = "agents are started all the same, and agentd-gateway is not"
"""What an error in the table has for a consequence."""

MOST_AT_ONCE: Final = 1000
MOST_QUEUED: Final = 1_000_000

_TYPES: Final = [each.value for each in AgentType]

_HASH: Final = re.compile(TOKEN_HASH)
_NAME: Final = re.compile(ENVIRONMENT_NAME)


def _check_listen(text: str) -> str:
    parse_listen(text)
    return text


def _check_database(url: str) -> str:
    # It may hold a password, so it is not shown whole.
    scheme, found, place = url.partition("://")
    kind = DATABASES.get(scheme)
    expected = 'expected a URL such as "postgresql+asyncpg://agentd@localhost/agentd" or "sqlite:////var/lib/agentd/gateway.db"'
    if found and kind is None and re.fullmatch(r"[a-z0-9+]{1,30}", scheme):
        raise ValueError(f"found a URL of {scheme}, {expected}")
    if not found or kind is None or (kind == SQLITE and not place.removeprefix("/")):
        raise ValueError(expected)
    return url


def _check_hash(text: str) -> str:
    if not _HASH.fullmatch(text):
        raise ValueError(
            'expected "sha256:" and 64 hexadecimal digits, which printf %s TOKEN | sha256sum prints in lower case'
        )
    return text


def _check_scope(name: object) -> object:
    if name not in [*Scope]:
        raise ValueError(f"found {show(name)}, expected one of {', '.join(map(quote, Scope))}")
    return name


def _check_type(name: object) -> object:
    if name not in _TYPES:
        raise ValueError(f"found {show(name)}, expected one of {', '.join(map(quote, _TYPES))}")
    return name


def _check_host(name: str) -> str:
    if not name or not re.fullmatch(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+", name):
        raise ValueError(f'found {quote(name)}, expected a name without a port, such as "agents.example.com"')
    return name


def _check_origin(text: str) -> str:
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and text == f"{parts.scheme}://{parts.netloc}"
    except ValueError:
        good = False
    if not good or text != text.lower():
        raise ValueError(f'found {quote(text)}, expected an origin such as "https://chat.example.com"')
    return text


def _duration(description: str, default: float) -> float | None:
    field: float | None = Field(None, description=description, json_schema_extra={"default": format_duration(default)})
    return field


_Path = Annotated[
    str, AfterValidator(check_not_empty), AfterValidator(check_path), Field(json_schema_extra={"minLength": 1})
]


class TokenTable(BaseModel):
    """One ``[[gateway.tokens]]`` table."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    secret: Annotated[str, AfterValidator(check_variable)] | None = Field(
        None,
        description="Name of the secret that is the token.",
        json_schema_extra={"pattern": f"^(?:{ENVIRONMENT_NAME})$"},
    )
    hash: Annotated[str, AfterValidator(_check_hash)] | None = Field(
        None,
        description="sha256: and the SHA-256 of the token, instead of a secret.",
        json_schema_extra={"pattern": f"^(?:{TOKEN_HASH})$"},
    )
    user: Annotated[str, AfterValidator(check_user)] | None = Field(
        None,
        description="Whose it is: who owns what is made with it. Only an administrator's may be nobody's.",
        json_schema_extra={"pattern": f"^(?:{USER})$"},
    )
    scopes: list[Annotated[str, BeforeValidator(_check_scope), WithJsonSchema({"enum": [*Scope]})]] = Field(
        [str(Scope.CHAT)],
        min_length=1,
        description="What it is for. read: looking at what is the user's; chat: also talking to agents; agents: also "
        "declaring agents; admin: everything, of everybody.",
    )


class GatewayTable(BaseModel):
    """The ``[gateway]`` table."""

    model_config = ConfigDict(
        strict=True, extra="ignore", frozen=True, json_schema_extra={"additionalProperties": False}
    )

    listen: list[Annotated[str, AfterValidator(_check_listen)]] | None = Field(
        None,
        min_length=1,
        description="Where it listens: HOST:PORT or unix:PATH. Anything but loopback and Unix sockets needs a token. "
        f'Default: ["{DEFAULT_LISTEN}"].',
    )
    database: Annotated[str, AfterValidator(_check_database)] | None = Field(
        None,
        description="URL of the database: sqlite:///PATH or postgresql+asyncpg://USER@HOST/NAME. Default: an "
        "SQLite database in the state directory.",
    )
    max_concurrency: int | None = Field(
        None, ge=1, le=MOST_AT_ONCE, description=f"Runs that are at work at once. Default: {DEFAULT_CONCURRENCY}."
    )
    max_queue: int | None = Field(
        None, ge=1, le=MOST_QUEUED, description=f"Runs that may wait; one more is refused. Default: {DEFAULT_QUEUE}."
    )
    turn_timeout: Duration | None = _duration(
        "How long a run may take that names no time itself; it is interrupted then. 0 is no limit.", 0
    )
    idle_timeout: Duration | None = _duration(
        "After how long without a run a conversation's agent is withdrawn; the next message resumes it.",
        DEFAULT_IDLE_TIMEOUT,
    )
    retention: Duration | None = _duration(
        "How long closed sessions are remembered, and the events of open ones.", DEFAULT_RETENTION
    )
    workdirs: list[_Path] = Field(
        [], description="Folders in which sessions may work that name a harness and a workdir instead of an agent."
    )
    manager: Annotated[str, AfterValidator(check_name)] | None = Field(
        None,
        description="Name of an agent that hires and messages others; none by default.",
        json_schema_extra={"pattern": f"^(?:{AGENT_NAME})$"},
    )
    managed_type: Annotated[str, BeforeValidator(_check_type), WithJsonSchema({"enum": _TYPES})] | None = Field(
        None,
        description="How agents run that users make by POST /agents: native or sandboxed. Default: sandboxed where the "
        "machine can and agentd follows the harness's turns there, else native.",
    )
    managed_secrets: list[Annotated[str, AfterValidator(check_variable)]] | None = Field(
        None,
        description="Names of the secrets that these agents get. Default: the harness's own keys, such as "
        "ANTHROPIC_API_KEY.",
    )
    managed_env: dict[Annotated[str, AfterValidator(check_variable)], str] = Field(
        {}, description="What these agents have in their environment."
    )
    hosts: list[Annotated[str, AfterValidator(_check_host)]] = Field(
        [], description="Names by which clients may ask for it, beside those that it listens on."
    )
    origins: list[Annotated[str, AfterValidator(_check_origin)]] = Field(
        [], description="Origins of pages elsewhere that may use it (CORS); none by default."
    )
    tokens: list[TokenTable] = Field([], description="Who is let in; without any, everybody who reaches it.")
    channels: list[ChannelTable] = Field([], description="Messages by Kafka and Redis; none by default.")


def read_gateway(document: Mapping[str, object], context: LoadContext, findings: Findings) -> GatewayDeclaration | None:
    """Read the table; ``None`` where there is none, or the findings have what is wrong with it."""
    if context.drop_in and TABLE in document:
        findings.warning((TABLE,), "ignored: what agentd-gateway goes by stands in the jcard itself", field=TABLE)
        return None

    def check(table: GatewayTable) -> list[Fault]:
        _warn_of_channels(table.channels, findings)
        return [*_wrong_tokens(table.tokens), *_wrong_channels(table.channels)]

    table = read_table(TABLE, GatewayTable, document, findings, check)
    return None if table is None else _declaration(table, context)


def gateway_secrets(
    table: GatewayDeclaration | None, document: Mapping[str, object], context: LoadContext
) -> frozenset[str]:
    """Name the secrets of the gateway, which agents do not get; of a table with errors, what may be the name of one.

    Parameters
    ----------
    table
        As it was read; ``None`` if there is none, or it has errors.
    document
        The file.
    """
    if table is not None:
        named = [token.secret for token in table.tokens] + [each.link.password_secret for each in table.channels]
        return frozenset(name for name in named if name is not None)
    raw = document.get(TABLE)
    if context.drop_in or not isinstance(raw, Mapping):
        return frozenset()
    return frozenset(_names([raw.get("tokens"), raw.get("channels")]))


def _names(value: object) -> Iterator[str]:
    """Give every string in a value that may be the name of a secret."""
    if isinstance(value, str):
        if _NAME.fullmatch(value):
            yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _names(each)
    elif isinstance(value, list):
        for each in value:
            yield from _names(each)


def _warn_of_channels(channels: Sequence[ChannelTable], findings: Findings) -> None:
    for index, channel in enumerate(channels):
        if not channel.verify:
            path = (TABLE, "channels", index, "verify")
            text = "the broker's certificate is not checked: anybody on the way can pose as it"
            findings.warning(path, text, field=field_name(path))


def _wrong_tokens(tokens: Sequence[TokenTable]) -> list[Fault]:
    return [fault for index, token in enumerate(tokens) for fault in _contradictions(index, token)]


def _contradictions(index: int, token: TokenTable) -> list[Fault]:
    place = ("tokens", index)
    found = []
    if (token.secret is None) == (token.hash is None):
        found.append(Fault(place, "expected secret or hash, and not both: which token it is"))
    if token.user is None and Scope.ADMIN not in token.scopes:
        found.append(
            Fault((*place, "user"), 'missing, expected a name; only a token with the scope "admin" needs none')
        )
    return found


def _wrong_channels(channels: Sequence[ChannelTable]) -> list[Fault]:
    found = []
    first: dict[object, int] = {}
    for index, channel in enumerate(channels):
        place = ("channels", index)
        found += [Fault((*place, *fault.path), fault.message) for fault in contradictions(channel)]
        servers = tuple(channel.bootstrap_servers or ())
        same = (channel.channel_name, servers, channel.topic_prefix, channel.url, channel.mode)
        if first.setdefault(same, index) != index:
            text = f"as that of channels[{first[same]}]: each message would be answered twice"
            found.append(Fault((*place, "channel_name"), text))
    return found


def _declaration(table: GatewayTable, context: LoadContext) -> GatewayDeclaration:
    def place(path: str) -> str:
        return str(resolve(path, context))

    def address(text: str) -> ListenAddress:
        parsed = parse_listen(text)
        return parsed if parsed.path is None else ListenAddress(path=place(parsed.path))

    return GatewayDeclaration(
        listen=None if table.listen is None else tuple(map(address, table.listen)),
        database=table.database,
        max_concurrency=table.max_concurrency,
        max_queue=table.max_queue,
        turn_timeout=table.turn_timeout,
        idle_timeout=table.idle_timeout,
        retention=table.retention,
        workdirs=tuple(resolve(path, context) for path in table.workdirs),
        manager=table.manager,
        managed_type=table.managed_type,
        managed_secrets=None if table.managed_secrets is None else tuple(table.managed_secrets),
        managed_env=table.managed_env,
        hosts=tuple(host.lower() for host in table.hosts),
        origins=tuple(table.origins),
        tokens=tuple(map(_token, table.tokens)),
        channels=tuple(channel_declaration(each, each.agent, each.user, context) for each in table.channels),
    )


def _token(table: TokenTable) -> DeclaredToken:
    digest = None if table.hash is None else bytes.fromhex(table.hash.removeprefix("sha256:"))
    return DeclaredToken(table.secret, digest, table.user, frozenset(map(Scope, table.scopes)))
