"""What a jcard says of a channel: an agent's messages by a broker."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

LONGEST_CHANNEL: Final = 200

CHANNEL_NAME: Final = rf"[A-Za-z0-9._-]{{1,{LONGEST_CHANNEL}}}"
"""What Kafka takes as the name of a topic, with room for its prefix."""

DEFAULT_TOPIC_PREFIX: Final = "mcp_agent_"

DEFAULT_SESSION_TIMEOUT: Final = 10.0
"""Seconds."""


class Backend(StrEnum):
    """Who carries messages."""

    KAFKA = "kafka"
    MSK = "msk"
    """Amazon's Kafka, with tokens by IAM."""
    REDIS = "redis"


class Mode(StrEnum):
    """How Redis carries them."""

    PUBSUB = "pubsub"
    """Lost while nobody listens."""
    STREAM = "stream"
    """Kept until they are read."""


class Mechanism(StrEnum):
    """How a client shows Kafka who it is."""

    PLAIN = "PLAIN"
    SCRAM_256 = "SCRAM-SHA-256"
    SCRAM_512 = "SCRAM-SHA-512"
    OAUTHBEARER = "OAUTHBEARER"
    """A token by IAM, of `Backend.MSK` alone."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How a connection is encrypted."""

    ca_file: Path | None = None
    """Whose certificates are trusted; ``None`` for those of the system."""
    ca: str | None = None
    """The same, as PEM."""
    verify: bool = True


@dataclass(frozen=True, slots=True)
class KafkaLink:
    """How Kafka is reached."""

    bootstrap_servers: tuple[str, ...]
    topic_prefix: str = DEFAULT_TOPIC_PREFIX
    tls: Tls | None = None
    mechanism: Mechanism | None = None
    username: str | None = None
    password_secret: str | None = None
    """Name of the secret that is the password."""
    password: str | None = field(default=None, repr=False)
    """In the place of a secret, of a managed agent."""
    region: str | None = None
    """Of `Mechanism.OAUTHBEARER`."""
    session_timeout: float = DEFAULT_SESSION_TIMEOUT
    """Seconds after which a gateway that is gone loses its partitions to others."""


@dataclass(frozen=True, slots=True)
class RedisLink:
    """How Redis is reached."""

    url: str = field(repr=False)
    mode: Mode = Mode.PUBSUB
    tls: Tls | None = None
    password_secret: str | None = None
    """Name of the secret that is the password."""
    password: str | None = field(default=None, repr=False)
    """In the place of a secret, of a managed agent."""
    session_timeout: float = DEFAULT_SESSION_TIMEOUT
    """Seconds after which what a gateway was given, and did not take, is given to others; of `Mode.STREAM`."""


@dataclass(frozen=True, slots=True)
class ChannelDeclaration:
    """A channel: one agent's messages on one topic, channel or stream."""

    agent: str
    user: str | None
    """Who owns its conversations; ``None`` is nobody in particular."""
    backend: Backend
    name: str
    link: KafkaLink | RedisLink
    session_id: str | None = None
    """The managed agent's own, if it is one's: another agent of the name has another channel."""

    @property
    def where(self) -> str:
        """Name the topic, channel or stream at the broker."""
        if isinstance(self.link, KafkaLink):
            return self.link.topic_prefix + self.name
        return f"agent:{self.name}"

    @property
    def own_ids(self) -> frozenset[str]:
        """Name the channel as those at the other end may call it."""
        return frozenset({self.where, f"agent:{self.name}"})

    @property
    def group(self) -> str:
        """Name the group of those who share the messages: one for each user and agent."""
        return f"agentd.{self.user or '-'}.{self.agent}"

    @property
    def key(self) -> str:
        """Tell the channel from the others of a gateway."""
        kind = self.link.mode.value if isinstance(self.link, RedisLink) else "topic"
        return f"{self.backend} {kind} {self.where} {self.group}"
