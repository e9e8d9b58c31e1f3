"""Which Host and Origin headers are taken."""

from __future__ import annotations

import pytest

from agentd.gateway.http.hosts import is_loopback, is_own, is_same_origin
from agentd.gateway.model.names import own_names

LOCAL = "127.0.0.1"


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1:8765", LOCAL),
        ("localhost:8765", LOCAL),
        ("LOCALHOST", LOCAL),
        ("localhost.:8765", LOCAL),
        ("localhost:9000", LOCAL),  # a forwarded port
        ("[::1]:8765", "::1"),
        ("127.0.0.1:8765", "::ffff:127.0.0.1"),
        ("192.0.2.7:8765", "192.0.2.7"),
        ("gateway.example:443", "192.0.2.7"),
    ],
)
def test_a_host_that_the_server_has_is_taken(host: str, local: str) -> None:
    assert is_own(host, local, {"gateway.example"})


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("evil.example:8765", LOCAL),
        ("localhost.evil.example", LOCAL),
        ("127.0.0.1.evil.example", LOCAL),
        ("evil.example@127.0.0.1", LOCAL),
        ("127.0.0.1/evil.example", LOCAL),
        ("localhost:8765", "192.0.2.7"),  # not where that name leads
        ("192.0.2.8", "192.0.2.7"),
        ("", LOCAL),
        ("[::1", LOCAL),
        ("localhost:99999", LOCAL),
    ],
)
def test_any_other_host_is_refused(host: str, local: str) -> None:
    assert not is_own(host, local, {"gateway.example"})


@pytest.mark.parametrize("listened", ["0.0.0.0", "::"])  # noqa: S104
def test_who_listens_everywhere_is_called_by_loopback_at_any_address(listened: str) -> None:
    names = own_names(["192.0.2.9", listened], ["Gateway.example"])
    for host in ("127.0.0.1:8080", "localhost:8080", "[::1]:8080", "gateway.example", "172.18.0.2:8080"):
        assert is_own(host, "172.18.0.2", names)
    for host in ("172.18.0.3:8080", "evil.example", "127.0.0.1.evil.example"):
        assert not is_own(host, "172.18.0.2", names)
    assert not is_own("127.0.0.1:8080", "172.18.0.2", own_names(["172.18.0.2"], []))


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:8765", "127.0.0.1:8765"),
        ("http://LocalHost:8765", "localhost:8765"),
        ("https://gateway.example", "gateway.example:443"),
        ("http://gateway.example", "gateway.example"),
    ],
)
def test_a_page_of_the_server_is_of_the_same_origin(origin: str, host: str) -> None:
    assert is_same_origin(origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("null", "127.0.0.1:8765"),
        ("", "127.0.0.1:8765"),
        ("http://127.0.0.1:3000", "127.0.0.1:8765"),
        ("http://localhost:8765", "127.0.0.1:8765"),
        ("http://evil.example", "127.0.0.1:8765"),
        ("file:///tmp/page.html", "127.0.0.1:8765"),
        ("http://127.0.0.1:8765.evil.example", "127.0.0.1:8765"),
        ("http://[", "127.0.0.1:8765"),
    ],
)
def test_any_other_page_is_not(origin: str, host: str) -> None:
    assert not is_same_origin(origin, host)


@pytest.mark.parametrize(
    ("address", "loopback"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),  # noqa: S104 (it is not bound)
     ("192.0.2.7", False), ("gateway.example", False)],
)  # fmt: skip
def test_loopback_is_this_machine_alone(address: str, loopback: bool) -> None:
    assert is_loopback(address) is loopback
