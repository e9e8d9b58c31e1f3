"""What a sandboxed agent without a network reaches by name, and what it tries in vain: with real programs."""

from __future__ import annotations

import socket

from tests.sandbox.egress.conftest import Guests
from tests.sandbox.egress.servers import Server, serving
from tests.support.agents import jcard
from tests.support.ports import a_port

CURL = "curl -sS -m 10 --cacert ca.pem"


def test_only_what_is_declared_is_reached(guests: Guests, server: Server) -> None:
    port = server.port
    with serving(None) as plain, a_port() as closed:
        guests.start(jcard(guests.table(network_allow=[f"localhost:{port}", f"localhost:{closed}"])))
        assert '"headers"' in guests.do(f"{CURL} https://localhost:{port}/hello")
        refused = {
            "another port": f"{CURL} https://localhost:{plain.port}/",
            "another host": f"{CURL} https://example.com/",
            "an address": f"{CURL} -k https://127.0.0.1:{port}/ --noproxy none.invalid",
            "an address as a number": f"{CURL} -k https://2130706433:{port}/ --noproxy none.invalid",
            "a name below": f"{CURL} -k https://a.localhost:{port}/",
        }
        for what, command in refused.items():
            assert "403" in guests.do(command), what
        assert "405" in guests.do(f"{CURL} -i http://localhost:{port}/"), "a request without a tunnel"
        assert "502" in guests.do(f"{CURL} https://localhost:{closed}/"), "nobody listens there"
        direct = guests.do(
            f"{CURL} -k --noproxy '*' https://localhost:{port}/; {CURL} --noproxy '*' https://example.com/"
        )
        assert "Failed to connect to localhost" in direct
        assert "Could not resolve host" in direct
        lying = f"{CURL} -k --connect-to other.example:443:localhost:{port} https://other.example/"
        assert "403" not in (said := guests.do(lying))
        assert '"headers"' not in said
        assert not plain.seen
        assert len(server.seen) == 1
    guests.daemon.wait_for(
        lambda: "asked for the host other.example" in guests.daemon.log_text(), what="the log tells of the lie"
    )
    assert f"127.0.0.1:{port} is not in network_allow" in guests.daemon.log_text()


def test_another_agents_proxy_is_not_reached(guests: Guests, server: Server) -> None:
    guests.start(
        jcard(
            guests.table("a", network_allow=[f"localhost:{server.port}"]),
            guests.table("b", network_allow=["localhost:9"]),
            guests.table("c"),
        )
    )
    get = f"{CURL} https://localhost:{server.port}/"
    assert '"headers"' in guests.do(get, "a")
    assert "403" in guests.do(get, "b")
    assert "Failed to connect" in guests.do(get, "c")
    with socket.socket() as host:
        assert host.connect_ex(("127.0.0.1", 3128)) != 0, "it listens on the host as well"
