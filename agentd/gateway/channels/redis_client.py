"""A connection to Redis."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from agentd.gateway.channels.link import DEADLINE, LinkError
from agentd.gateway.channels.tls import context_of
from agentd.model.channels import RedisLink, Tls


@asynccontextmanager
async def connected(link: RedisLink, password: str | None) -> AsyncIterator[Redis]:
    """Connect to Redis.

    Raises
    ------
    LinkError
        If it cannot be reached.
    """
    options: dict[str, Any] = {} if password is None else {"password": password}
    if link.tls is not None:
        # Its file is read now, so that an error says what is wrong with it.
        await asyncio.to_thread(context_of, link.tls)
        options |= _tls(link.tls)
    try:
        client = Redis.from_url(
            link.url if link.tls is None else link.url.replace("redis://", "rediss://", 1),
            socket_connect_timeout=DEADLINE,
            socket_timeout=DEADLINE,
            # Something that is repeated here might be done twice.
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            **options,
        )
    except (RedisError, ValueError) as error:
        raise LinkError(f"url: {error}") from error
    try:
        with failing():
            await client.ping()
        yield client
    finally:
        with contextlib.suppress(RedisError, OSError):
            await client.aclose()


def _tls(tls: Tls) -> dict[str, str | bool]:
    return {
        "ssl_cert_reqs": "required" if tls.verify else "none",
        "ssl_check_hostname": tls.verify,
        **({} if tls.ca_file is None else {"ssl_ca_certs": str(tls.ca_file)}),
        **({} if tls.ca is None else {"ssl_ca_data": tls.ca}),
    }


@contextmanager
def failing() -> Iterator[None]:
    """Turn what the client raises into `LinkError`."""
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise LinkError(str(error) or type(error).__name__) from error
