"""A ``[[gateway.channels]]`` table of a jcard; the same settings stand in the ``pubsub_config`` of a managed agent."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from agentd.jcard.checks import check_name, check_not_empty, check_path, check_user, check_variable, duration_from_toml
from agentd.jcard.explain import Fault
from agentd.jcard.paths import resolve
from agentd.model.channels import (
    CHANNEL_NAME,
    DEFAULT_SESSION_TIMEOUT,
    DEFAULT_TOPIC_PREFIX,
    LONGEST_CHANNEL,
    Backend,
    ChannelDeclaration,
    KafkaLink,
    Mechanism,
    Mode,
    RedisLink,
    Tls,
)
from agentd.model.gateway import USER
from agentd.model.spec import AGENT_NAME, ENVIRONMENT_NAME, LoadContext
from agentd.text.durations import DURATION_PATTERN, EXAMPLES, format_duration
from agentd.text.quoting import quote, show, unfit

_PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")

_KAFKA_ALONE: Final = ("bootstrap_servers", "topic_prefix", "security_protocol", "sasl_mechanism", "username", "region")
_REDIS_ALONE: Final = ("url", "mode")

_CHANNEL: Final = re.compile(CHANNEL_NAME)
_LONGEST_PREFIX: Final = 40
_PREFIX: Final = re.compile(rf"[A-Za-z0-9._-]{{0,{_LONGEST_PREFIX}}}")
_SERVER: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")
_REGION: Final = re.compile(r"[a-z0-9-]{1,40}")
_DATABASE: Final = re.compile(r"(?:db=[0-9]{1,3})?")
_SCHEMES: Final = ("redis", "rediss", "unix")

WHERE_IT_BELONGS: Final = "name the secret that holds it in password_secret"
"""Where a password belongs."""


def _check_channel(name: str) -> str:
    if not _CHANNEL.fullmatch(name):
        expected = f"expected 1 to {LONGEST_CHANNEL} letters, digits, '.', '_' and '-'"
        raise ValueError(unfit(name, expected, LONGEST_CHANNEL))
    return name


def _check_prefix(prefix: str) -> str:
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(
            unfit(prefix, f"expected up to {_LONGEST_PREFIX} letters, digits, '.', '_' and '-'", _LONGEST_PREFIX)
        )
    return prefix


def _check_region(name: str) -> str:
    if not _REGION.fullmatch(name):
        raise ValueError(f'found {quote(name)}, expected a region such as "eu-central-1"')
    return name


def _check_url(url: str) -> str:
    # It may hold a password, so it is not shown.
    try:
        parts = urlsplit(url)
        good = parts.scheme in _SCHEMES and bool(parts.hostname or (parts.scheme == "unix" and parts.path))
        has_password = parts.password is not None or "password=" in parts.query
        has_options = _DATABASE.fullmatch(parts.query) is None
    except ValueError:
        good = has_password = has_options = False
    if has_password:
        raise ValueError(f"found a password; {WHERE_IT_BELONGS}")
    if has_options:
        # The client would take them instead of what the other fields say, verify among them.
        raise ValueError('found options after "?", expected none but db=N')
    if not good:
        raise ValueError('expected a URL such as "redis://127.0.0.1:6379/0", "rediss://…" or "unix:///PATH"')
    return url


def _servers(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _check_server(text: str) -> str:
    if not _SERVER.fullmatch(text):
        raise ValueError(f'found {quote(text)}, expected HOST:PORT such as "127.0.0.1:9092"')
    return text


Duration = Annotated[
    float,
    BeforeValidator(duration_from_toml),
    WithJsonSchema({"type": "string", "pattern": f"^(?:{DURATION_PATTERN})$", "examples": list(EXAMPLES)}),
]
"""A duration as a jcard writes it, in seconds."""


class _OneOf:
    """Checks that a text is one of several."""

    def __init__(self, *choices: str) -> None:
        self._choices = choices

    def __call__(self, value: object) -> object:
        if value not in self._choices:
            raise ValueError(f"found {show(value)}, expected one of {', '.join(map(quote, self._choices))}")
        return value


class ChannelSettings(BaseModel):
    """How a broker is reached, and by which name its messages go."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    backend: Annotated[str, BeforeValidator(_OneOf(*Backend)), WithJsonSchema({"enum": [*Backend]})] = Field(
        description="Who carries messages: kafka (extra agentd[kafka]), msk (Amazon's, with tokens by IAM; extra "
        "agentd[msk]) or redis (extra agentd[redis])."
    )
    channel_name: Annotated[
        str, AfterValidator(_check_channel), Field(json_schema_extra={"pattern": f"^(?:{CHANNEL_NAME})$"})
    ] = Field(description="Messages go by the topic topic_prefix + channel_name, or Redis' agent:channel_name.")
    bootstrap_servers: Annotated[
        list[Annotated[str, AfterValidator(_check_server)]] | None,
        BeforeValidator(_servers),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
    ] = Field(None, description="kafka, msk: HOST:PORT of brokers, in a list or separated by commas.")
    topic_prefix: Annotated[str, AfterValidator(_check_prefix)] | None = Field(
        None, description=f"kafka, msk: what topics begin with. Default: {DEFAULT_TOPIC_PREFIX}."
    )
    security_protocol: (
        Annotated[str, BeforeValidator(_OneOf(*_PROTOCOLS)), WithJsonSchema({"enum": [*_PROTOCOLS]})] | None
    ) = Field(None, description="kafka, msk: as Kafka names it. Default: what ssl and sasl_mechanism say.")
    sasl_mechanism: (
        Annotated[str, BeforeValidator(_OneOf(*Mechanism)), WithJsonSchema({"enum": [*Mechanism]})] | None
    ) = Field(None, description="kafka, msk: how the gateway shows who it is. Default: OAUTHBEARER with msk.")
    username: Annotated[str, AfterValidator(check_not_empty)] | None = Field(
        None, description="kafka, msk: with PLAIN and SCRAM. Redis' stands in its URL."
    )
    password_secret: Annotated[str, AfterValidator(check_variable)] | None = Field(
        None,
        description="Name of the secret that is the password.",
        json_schema_extra={"pattern": f"^(?:{ENVIRONMENT_NAME})$"},
    )
    region: Annotated[str, AfterValidator(_check_region)] | None = Field(
        None, description="msk: the region of its cluster, for tokens by IAM."
    )
    url: Annotated[str, AfterValidator(_check_url)] | None = Field(
        None, description="redis: redis://, rediss:// (TLS) or unix://, without a password."
    )
    mode: Annotated[str, BeforeValidator(_OneOf(*Mode)), WithJsonSchema({"enum": [*Mode]})] | None = Field(
        None,
        description="redis: pubsub, which loses what is sent while nobody listens, or stream, which does not. "
        "Default: pubsub.",
    )
    ssl: bool | None = Field(None, description="Whether the connection is encrypted (TLS). Default: true with msk.")
    ca_file: Annotated[str, AfterValidator(check_not_empty), AfterValidator(check_path)] | None = Field(
        None, description="File with the certificates that are trusted, instead of the system's."
    )
    session_timeout: Duration | None = Field(
        None,
        description="After how long others of the group take over what a gateway left that is gone; Kafka's brokers "
        "want at least 6s.",
        json_schema_extra={"default": format_duration(DEFAULT_SESSION_TIMEOUT)},
    )
    verify: bool = Field(True, description="Whether the broker's certificate is checked; false is for trying it out.")


class ChannelTable(ChannelSettings):
    """One ``[[gateway.channels]]`` table."""

    agent: Annotated[str, AfterValidator(check_name)] = Field(
        description="Whom the messages are for.", json_schema_extra={"pattern": f"^(?:{AGENT_NAME})$"}
    )
    user: Annotated[str, AfterValidator(check_user)] | None = Field(
        None,
        description="Who owns the conversations; else an administrator alone sees them.",
        json_schema_extra={"pattern": f"^(?:{USER})$"},
    )


def contradictions(settings: ChannelSettings) -> list[Fault]:
    """Say which fields do not go together."""
    redis = settings.backend == Backend.REDIS
    strange = _KAFKA_ALONE if redis else _REDIS_ALONE
    found = [
        Fault((name,), f"is no field of the backend {quote(settings.backend)}")
        for name in strange
        if getattr(settings, name) is not None
    ]
    return found or (_of_redis(settings) if redis else _of_kafka(settings))


def _of_redis(settings: ChannelSettings) -> list[Fault]:
    if settings.url is None:
        return [Fault(("url",), 'missing, expected a URL such as "redis://127.0.0.1:6379/0"')]
    tls = _is_encrypted(settings)
    if settings.ssl is False and settings.url.startswith("rediss:"):
        return [Fault(("ssl",), "found false, and a URL that begins with rediss://")]
    if settings.ssl and settings.url.startswith("unix:"):
        return [Fault(("ssl",), "found true; a Unix socket is not encrypted")]
    return [] if tls else _unencrypted(settings)


def _of_kafka(settings: ChannelSettings) -> list[Fault]:
    if not settings.bootstrap_servers:
        return [Fault(("bootstrap_servers",), 'missing, expected HOST:PORT such as "127.0.0.1:9092"')]
    mechanism, protocol = _mechanism(settings), settings.security_protocol
    found = []
    if protocol is not None:
        if settings.ssl is not None and settings.ssl != protocol.endswith("SSL"):
            found.append(Fault(("ssl",), f"found {show(settings.ssl)}, and security_protocol {quote(protocol)}"))
        if (mechanism is not None) != protocol.startswith("SASL"):
            wanted = "one with SASL_" if mechanism is not None else "one without SASL_, or a sasl_mechanism"
            found.append(Fault(("security_protocol",), f"found {quote(protocol)}, expected {wanted}"))
    found += _credentials(settings, mechanism)
    return found + ([] if _is_encrypted(settings) else _unencrypted(settings))


def _credentials(settings: ChannelSettings, mechanism: str | None) -> list[Fault]:
    if mechanism == Mechanism.OAUTHBEARER:
        if settings.backend != Backend.MSK:
            return [Fault(("sasl_mechanism",), 'found "OAUTHBEARER", which is for the backend "msk" alone')]
        if settings.region is None:
            return [Fault(("region",), 'missing, expected the region of the cluster, such as "eu-central-1"')]
        return [
            Fault((name,), "is no field of OAUTHBEARER, whose tokens come from AWS' own credentials")
            for name in ("username", "password_secret")
            if getattr(settings, name) is not None
        ]
    return [
        Fault((name,), f"missing; {mechanism} needs it" if mechanism else "found, and no sasl_mechanism that needs it")
        for name in ("username", "password_secret")
        if (getattr(settings, name) is None) == (mechanism is not None)
    ]


def _unencrypted(settings: ChannelSettings) -> list[Fault]:
    return [
        Fault((name,), "found, and the connection is not encrypted: ssl = true")
        for name, value in (("ca_file", settings.ca_file), ("verify", None if settings.verify else False))
        if value is not None
    ]


def _mechanism(settings: ChannelSettings) -> str | None:
    default = Mechanism.OAUTHBEARER if settings.backend == Backend.MSK else None
    return settings.sasl_mechanism or default


def _is_encrypted(settings: ChannelSettings) -> bool:
    if settings.backend == Backend.REDIS:
        return settings.ssl or (settings.url or "").startswith("rediss:")
    if settings.security_protocol is not None:
        return settings.security_protocol.endswith("SSL")
    return settings.backend == Backend.MSK if settings.ssl is None else settings.ssl


def channel_declaration(
    settings: ChannelSettings, agent: str, user: str | None, context: LoadContext
) -> ChannelDeclaration:
    """Give what settings without contradictions declare."""
    ca_file = None if settings.ca_file is None else resolve(settings.ca_file, context)
    return declaration(settings, agent, user, ca_file)


def declaration(settings: ChannelSettings, agent: str, user: str | None, ca_file: Path | None) -> ChannelDeclaration:
    """Give it, with the place of the file of certificates."""
    tls = Tls(ca_file, verify=settings.verify) if _is_encrypted(settings) else None
    timeout = DEFAULT_SESSION_TIMEOUT if settings.session_timeout is None else settings.session_timeout
    link: KafkaLink | RedisLink
    if settings.backend == Backend.REDIS:
        mode = Mode(settings.mode or Mode.PUBSUB)
        link = RedisLink(settings.url or "", mode, tls, settings.password_secret, session_timeout=timeout)
    else:
        mechanism = _mechanism(settings)
        link = KafkaLink(
            bootstrap_servers=tuple(settings.bootstrap_servers or ()),
            topic_prefix=DEFAULT_TOPIC_PREFIX if settings.topic_prefix is None else settings.topic_prefix,
            tls=tls,
            mechanism=None if mechanism is None else Mechanism(mechanism),
            username=settings.username,
            password_secret=settings.password_secret,
            region=settings.region,
            session_timeout=timeout,
        )
    return ChannelDeclaration(agent, user, Backend(settings.backend), settings.channel_name, link)
