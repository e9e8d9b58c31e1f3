"""Which connection a channel needs, and whether its library is there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from agentd.files.answering import NotAnsweringError, within
from agentd.files.worker import in_thread
from agentd.gateway.channels.link import Link, LinkError, UnusableError
from agentd.jcard.secrets import read_secret
from agentd.model.channels import Backend, ChannelDeclaration, KafkaLink, Mode
from agentd.settings.extras import how_to_install

_NEEDED: Final = {
    Backend.KAFKA: ("aiokafka",),
    Backend.MSK: ("aiokafka", "aws_msk_iam_sasl_signer"),
    Backend.REDIS: ("redis",),
}


@asynccontextmanager
async def opened(declared: ChannelDeclaration, secret_dir: Path, instance: str) -> AsyncIterator[Link]:
    """Connect to a channel's broker; its password is read each time.

    Parameters
    ----------
    instance
        Tells this gateway from others, also after a restart.

    Raises
    ------
    LinkError
        If that does not work now.
    UnusableError
        If its library is not installed.
    """
    # Only a channel that needs them imports what extras bring.
    missing = [name for name in _NEEDED[declared.backend] if find_spec(name) is None]
    if missing:
        how = how_to_install(declared.backend)
        raise UnusableError(f"{', '.join(missing)} not installed: {how}, and start the gateway again")
    link = declared.link
    password = link.password or await _password(link.password_secret, secret_dir)
    if isinstance(link, KafkaLink):
        from agentd.gateway.channels.kafka import open_kafka  # noqa: PLC0415

        async with open_kafka(declared, link, password) as kafka:
            yield kafka
    elif link.mode is Mode.STREAM:
        from agentd.gateway.channels.redis_stream import open_stream  # noqa: PLC0415

        async with open_stream(declared, link, password, instance) as stream:
            yield stream
    else:
        from agentd.gateway.channels.redis_pubsub import open_pubsub  # noqa: PLC0415

        async with open_pubsub(declared, link, password) as pubsub:
            yield pubsub


async def _password(secret: str | None, secret_dir: Path) -> str | None:
    if secret is None:
        return None
    path = secret_dir / secret
    try:
        value = await in_thread("secret", lambda: within(path, lambda: read_secret(path)))
    except NotAnsweringError as error:
        value = error
    if isinstance(value, str):
        return value
    raise LinkError(f"secret file {path}: {'it is a folder' if value is None else value.strerror}")
