"""Tokens for Amazon's Kafka, signed with AWS' own credentials: of the environment, a file or the machine's role."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from aiokafka.abc import AbstractTokenProvider
from aws_msk_iam_sasl_signer import MSKAuthTokenProvider

from agentd.gateway.channels.link import DEADLINE

_MARGIN: Final = 60.0
"""Seconds before its end at which a token is not used any more."""


class MskTokens(AbstractTokenProvider):  # type: ignore[misc]  # the library has no types
    """Gives a token, and a new one before that ends."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._token = ""
        self._until = 0.0
        self._turn = asyncio.Lock()

    async def token(self) -> str:
        """Give a token that is good for a minute at least."""
        async with self._turn, asyncio.timeout(DEADLINE):
            if time.time() > self._until - _MARGIN:
                # It may ask the machine's metadata service.
                token, until = await asyncio.to_thread(MSKAuthTokenProvider.generate_auth_token, self._region)
                self._token, self._until = token, until / 1000
        return self._token
