"""What a client may send to the proxy, byte by byte: hosts that lead elsewhere, lies, and requests read in two ways."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from pathlib import Path

import pytest

from agentd.sandbox.egress import intercept, run_proxy
from tests.sandbox.egress.loopback import PLACEHOLDER, VALUE, proxied
from tests.sandbox.egress.servers import Authority, Server, serving

HOST = "api.example"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Certificates of names that only the tests know."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl")
    return Authority(tmp_path_factory.mktemp("tls"), (HOST, "other.example"))


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET http://api.example/ HTTP/1.1\r\nHost: api.example\r\n\r\n", b"405"),
        (b"POST http://api.example/ HTTP/1.1\r\nHost: api.example\r\nContent-Length: 1\r\n\r\nx", b"405"),
        (b"CONNECT api.example HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT api.example:443@evil.example:443 HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT https://api.example:443 HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT api.example:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", b"400"),
        (b"CONNECT api.example:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"CONNECT api.example:443 HTTP/1.1\nHost: x\n\n\r\n\r\n", b"400"),
        (b"CONNECT api.example:443 HTTP/1.1\r\nBad Name: x\r\n\r\n", b"400"),
        (b"CONNECT api.example:443 HTTP/1.1\r\nX: a\r\n folded\r\n\r\n", b"400"),
        (b"CONNECT\tapi.example:443 HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT api.example:99999 HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT api.example:80 HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT 127.0.0.1:443 HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT 127.1:443 HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT 0x7f000001:443 HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT [::1]:443 HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT [::ffff:127.0.0.1]:443 HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT evil.example:443 HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT api.example.evil:443 HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT wild.example:443 HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT a.b.wild.example:443 HTTP/1.1\r\n\r\n", b"502"),
        (b"CONNECT API.EXAMPLE.:443 HTTP/1.1\r\n\r\n", b"502"),
        (b"SSH-2.0-x\r\n\r\n", b"400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400"),
        (b"CONNECT api.example:443 HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", b"431"),
    ],
)
async def test_a_request_is_what_it_must_be_or_refused(sent: bytes, status: bytes, authority: Authority) -> None:
    async with proxied(["api.example:443", "*.wild.example:443"], {}, authority.trusted) as client:
        answer = await client.say(sent)
    assert answer.startswith(b"HTTP/1.1 " + status), answer


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.1", "::1", "::",
     "fe80::1", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "224.0.0.1", "255.255.255.255"],
)  # fmt: skip
async def test_a_name_does_not_lead_to_what_is_not_on_the_internet(address: str, authority: Authority) -> None:
    names = {HOST: [address]}
    async with proxied([f"{HOST}:443"], names, authority.trusted) as client:
        answer = await client.say(f"CONNECT {HOST}:443 HTTP/1.1\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 403"), answer
        assert client.refused == [
            f"{HOST}:443 leads to {address}, which is not on the internet and not in network_allow"
        ]


async def test_it_leads_there_if_the_address_is_declared_and_only_then(authority: Authority, server: Server) -> None:
    rules, names = [f"{HOST}:{server.port}"], {HOST: ["10.255.255.1", "127.0.0.1"]}
    async with proxied(rules, names, authority.trusted) as client:
        assert b" 403 " in (await client.connect(HOST, server.port))[0]
    for more in ("127.0.0.0/8", "127.0.0.1"):
        async with proxied([*rules, f"{more}:{server.port}"], names, authority.trusted) as client:
            assert b" 200 " in (await client.connect(HOST, server.port))[0]


async def test_tls_asks_for_the_name_that_connect_did(authority: Authority, server: Server) -> None:
    rules, names = [f"{HOST}:{server.port}", f"127.0.0.1:{server.port}"], {HOST: ["127.0.0.1"]}
    context = ssl.create_default_context(cafile=str(authority.trusted))

    async def handshake(name: str) -> bool:
        status, _, writer = await client.connect(HOST, server.port)
        assert b" 200 " in status
        try:
            await writer.start_tls(context, server_hostname=name)
        except (ConnectionError, ssl.SSLError):
            return False
        finally:
            writer.close()
        return True

    async with proxied(rules, names, authority.trusted) as client:
        assert await handshake(HOST)
        assert not await handshake("other.example")
        for rubbish in (b"\x16\x03\x01\x00\x05hello", b"\x16\x03\x01\xff\xff", b"\x16\x02\x00\x00\x00"):
            _, reader, writer = await client.connect(HOST, server.port)
            writer.write(rubbish)
            assert await asyncio.wait_for(reader.read(), 30) == b""
            writer.close()
        assert client.refused[0] == f"a connection to {HOST} asked for the host other.example in its TLS"
        # Without a name there is nothing to compare: an address is none.
        context.check_hostname = False
        assert await handshake("127.0.0.1")


async def test_who_is_slow_or_many_is_let_go(
    authority: Authority, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_proxy, "HEAD_LIMIT", 0.05)
    monkeypatch.setattr(intercept, "HEAD_LIMIT", 0.05)
    monkeypatch.setattr(run_proxy, "MOST_CONNECTIONS", 3)
    rules = [f"127.0.0.1:{server.port}"]
    async with proxied(rules, {HOST: ["127.0.0.1"]}, authority.trusted, f"{HOST}:{server.port}") as client:
        assert (await client.say(b"CONNECT api.exa")).startswith(b"HTTP/1.1 408")
        # Those that follow are whole, and come later on a busy machine.
        monkeypatch.setattr(run_proxy, "HEAD_LIMIT", 30.0)
        answer = await client.request(HOST, server.port, b"GET / HTTP/1.1\r\nHost:")
        assert answer.startswith(b"HTTP/1.1 408")
        held = [await client.connect("127.0.0.1", server.port) for _ in range(3)]
        assert (await client.say(b"CONNECT")).startswith(b"HTTP/1.1 503")
        for _, _, writer in held:
            writer.close()
    assert not server.seen


def _get(*fields: bytes, line: bytes = b"GET / HTTP/1.1") -> bytes:
    port = b"Host: api.example"
    return b"\r\n".join(
        (line, *(fields if any(f.lower().startswith(b"host") for f in fields) else (port, *fields)))
    ) + (b"\r\nAuthorization: Bearer " + PLACEHOLDER.encode() + b"\r\n\r\n")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (_get(b"Content-Length: 3", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", b"400"),
        (_get(b"Content-Length: 3", b"Content-Length: 4") + b"abcd", b"400"),
        (_get(b"Content-Length: +3") + b"abc", b"400"),
        (_get(b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n", b"400"),
        (_get(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", b"400"),
        (_get(b"Transfer-Encoding : chunked") + b"0\r\n\r\n", b"400"),
        (_get(b"X: a\r\n b"), b"400"),
        (_get(b"X: a\nAuthorization: b"), b"400"),
        (_get(b"X: a\x00b"), b"400"),
        (_get(b"X: a\rb"), b"400"),
        (_get(line=b"GET  / HTTP/1.1"), b"400"),
        (_get(line=b"GET / HTTP/1.2"), b"400"),
        (_get(line=b"GET http://evil.example/ HTTP/1.1"), b"400"),
        (_get(line=b"GET evil.example:443 HTTP/1.1"), b"400"),
        (_get(b"Host: evil.example"), b"421"),
        (_get(b"Host: api.example", b"Host: evil.example"), b"421"),
        (_get(b"Host: api.example:1"), b"421"),
        (_get(b"Host:"), b"421"),
        (_get(line=b"CONNECT / HTTP/1.1"), b"405"),
        (_get(line=b"TRACE / HTTP/1.1"), b"405"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400"),
    ],
)
async def test_a_request_with_a_secret_is_read_in_one_way(
    sent: bytes, status: bytes, authority: Authority, server: Server
) -> None:
    rules = [f"127.0.0.1:{server.port}"]
    async with proxied(rules, {HOST: ["127.0.0.1"]}, authority.trusted, f"{HOST}:{server.port}") as client:
        answer = await client.request(HOST, server.port, sent)
    assert answer.startswith(b"HTTP/1.1 " + status), answer
    assert not server.seen


async def test_requests_of_one_connection_each_get_the_secret(authority: Authority, server: Server) -> None:
    rules = [f"127.0.0.1:{server.port}"]
    async with proxied(rules, {HOST: ["127.0.0.1"]}, authority.trusted, f"{HOST}:{server.port}") as client:
        body = _get(b"Content-Length: 3", line=b"POST /1 HTTP/1.1") + b"abc"
        chunks = _get(b"Transfer-Encoding: chunked", line=b"POST /2 HTTP/1.1") + b"5;x=y\r\nhello\r\n0\r\nX: y\r\n\r\n"
        # What the second reader would take for a request is a body.
        evil = b"GET /evil HTTP/1.1\r\nHost: evil\r\n\r\n"
        hidden = _get(b"Content-Length: %d" % len(evil), line=b"POST /3 HTTP/1.1") + evil
        answer = await client.request(HOST, server.port, body + chunks + hidden + _get(b"Connection: close"))
    assert [path for _, path, _ in server.seen] == ["/1", "/2", "/3", "/"]
    assert {headers["Authorization"] for _, _, headers in server.seen} == {f"Bearer {VALUE}"}
    assert VALUE.encode() not in answer


@pytest.mark.parametrize("chunk", [b"zz\r\nx", b"-1\r\nx", b"5\r\nhelloX\r\n", b"5\nhello\n", b"0x5\r\nhello\r\n"])
async def test_a_malformed_chunk_ends_the_connection(chunk: bytes, authority: Authority, server: Server) -> None:
    rules = [f"127.0.0.1:{server.port}"]
    async with proxied(rules, {HOST: ["127.0.0.1"]}, authority.trusted, f"{HOST}:{server.port}") as client:
        sent = _get(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.1") + chunk + b"\r\n" * 3
        assert (await client.request(HOST, server.port, sent)).startswith(b"HTTP/1.1 400")


async def test_the_secret_goes_to_nobody_with_another_certificate(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "evil").mkdir()
    with serving(Authority(tmp_path / "evil", (HOST,))) as evil:
        rules = [f"127.0.0.1:{evil.port}"]
        async with proxied(rules, {HOST: ["127.0.0.1"]}, authority.trusted, f"{HOST}:{evil.port}") as client:
            answer = await client.say(f"CONNECT {HOST}:{evil.port} HTTP/1.1\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 502")
        assert b"is not trusted" in answer
        assert not evil.seen


async def test_the_runs_certificate_is_for_the_hosts_of_its_secrets_alone(authority: Authority, server: Server) -> None:
    rules = [f"127.0.0.1:{server.port}"]
    async with proxied(rules, {HOST: ["127.0.0.1"]}, authority.trusted, f"{HOST}:{server.port}") as client:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await client.secure(HOST, server.port, "other.example")
        reader, writer = await client.secure(HOST, server.port)
        peer = writer.get_extra_info("ssl_object").getpeercert()
        assert peer["subjectAltName"] == (("DNS", HOST),)
        writer.close()
        del reader
