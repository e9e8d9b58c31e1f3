"""Amazon's Kafka: tokens by IAM, from a signer that is none, and a broker that is only begun to be talked to."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aws_msk_iam_sasl_signer import MSKAuthTokenProvider

from agentd.gateway.channels.link import LinkError
from agentd.gateway.channels.msk import MskTokens
from agentd.gateway.channels.opening import opened
from agentd.model.channels import Backend, ChannelDeclaration, KafkaLink, Mechanism


class Signer:
    """Gives numbered tokens."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.lasting = 900.0

    def __call__(self, region: str) -> tuple[str, float]:
        self.asked.append(region)
        return f"token-{len(self.asked)}", (time.time() + self.lasting) * 1000


@pytest.fixture
def signer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Signer]:
    fake = Signer()
    monkeypatch.setattr(MSKAuthTokenProvider, "generate_auth_token", fake)
    return fake  # type: ignore[return-value]


async def test_a_token_is_used_until_it_ends(signer: Signer) -> None:
    tokens = MskTokens("eu-central-1")
    assert [await tokens.token() for _ in range(3)] == ["token-1"] * 3
    assert signer.asked == ["eu-central-1"]


async def test_a_token_that_ends_soon_is_replaced(signer: Signer) -> None:
    signer.lasting = 30
    tokens = MskTokens("eu-central-1")
    assert [await tokens.token() for _ in range(2)] == ["token-1", "token-2"]


@pytest.mark.usefixtures("signer")
async def test_many_that_ask_at_once_are_given_one() -> None:
    tokens = MskTokens("eu-central-1")
    assert {*await asyncio.gather(*(tokens.token() for _ in range(20)))} == {"token-1"}


async def test_the_broker_is_shown_the_token(signer: Signer, tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Say that OAUTHBEARER is there, hear the token, and hang up."""
        try:
            while True:
                (length,) = struct.unpack(">i", await reader.readexactly(4))
                request = await reader.readexactly(length)
                kind, version, number = struct.unpack_from(">hhi", request)
                heard.append(request)
                if kind == _SASL_HANDSHAKE:
                    body = struct.pack(">hih", 0, 1, 11) + b"OAUTHBEARER"
                elif kind == _API_VERSIONS:
                    known = [(_SASL_HANDSHAKE, 1), (_API_VERSIONS, 0), (_SASL_AUTHENTICATE, 0), (3, 1)]
                    body = struct.pack(">hi", 0, len(known)) + b"".join(struct.pack(">hhh", a, 0, b) for a, b in known)
                else:
                    break
                writer.write(struct.pack(">ii", 4 + len(body), number) + body)
                assert version >= 0
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(broker, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        link = KafkaLink((f"127.0.0.1:{port}",), mechanism=Mechanism.OAUTHBEARER, region="eu-central-1")
        declared = ChannelDeclaration("helper", None, Backend.MSK, "c", link)
        with pytest.raises(LinkError):
            async with opened(declared, tmp_path, "test"):
                pytest.fail("there is no broker")
    assert any(b"auth=Bearer token-1" in request for request in heard)
    assert signer.asked == ["eu-central-1"]


_SASL_HANDSHAKE, _API_VERSIONS, _SASL_AUTHENTICATE = 17, 18, 36


async def test_a_library_that_is_missing_is_told_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("agentd.gateway.channels.opening.find_spec", lambda _: None)
    from agentd.gateway.channels.link import UnusableError  # noqa: PLC0415

    declared = ChannelDeclaration("helper", None, Backend.MSK, "c", KafkaLink(("h:1",)))
    with pytest.raises(UnusableError, match=r"pip install 'agentd\[msk\]'"):
        async with opened(declared, tmp_path, "test"):
            pytest.fail("there is no library")
