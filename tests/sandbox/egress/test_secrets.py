"""Secrets that an agent uses and cannot read: real programs, real TLS, and what is tried to get at them."""

from __future__ import annotations

import base64
import hashlib
import shutil

import pytest

from tests.sandbox.conftest import PYTHON
from tests.sandbox.egress.conftest import Guests, proxies
from tests.sandbox.egress.servers import Server, serving
from tests.support.agents import jcard

VALUE, SECOND = "ghp_real0value0that0nobody0may0see00001", "ghp_another0real0value000000000000002"


def grant(port: int, name: str = "GITHUB_TOKEN") -> dict[str, object]:
    """The use of a secret at the test's server."""
    return {"name": name, "to": [f"localhost:{port}"], "mode": "egress"}


def sent(server: Server) -> dict[str, str]:
    """The fields of the last request that the server got."""
    return server.seen[-1][2]


def test_the_value_is_put_in_for_its_host_alone(guests: Guests, server: Server, authority: object) -> None:
    daemon = guests.daemon
    daemon.write_secret("GITHUB_TOKEN", VALUE)
    port = server.port
    with serving(authority) as other:  # type: ignore[arg-type]
        guests.start(jcard(guests.table(secrets=[grant(port)], network_allow=[f"localhost:{other.port}"])))
        # The bundle that the variables name is trusted, with the run's authority in it.
        placeholder = guests.do('printf %s "$GITHUB_TOKEN"')
        assert placeholder.startswith("ghp_")
        assert len(placeholder) == len(VALUE) + 1
        assert placeholder != VALUE
        url = f"https://localhost:{port}/"
        echoed = guests.do(f'curl -sS -H "Authorization: Bearer $GITHUB_TOKEN" {url}')
        assert sent(server)["Authorization"] == f"Bearer {VALUE}"
        assert VALUE not in echoed
        assert "*" * len(VALUE) in echoed
        guests.do(f'curl -sS -H "x-api-key: $GITHUB_TOKEN" -H "User-Agent: $GITHUB_TOKEN" --compressed {url}')
        assert sent(server)["x-api-key"] == VALUE
        assert sent(server)["User-Agent"] == placeholder
        assert sent(server)["Accept-Encoding"] == "identity"
        echoed = guests.do(f'curl -sS -u "me:$GITHUB_TOKEN" {url}')
        assert sent(server)["Authorization"] == "Basic " + base64.b64encode(f"me:{VALUE}".encode()).decode()
        assert base64.b64encode(f"me:{VALUE}".encode()).decode() not in echoed
        # To another host goes the placeholder; and a request for one may not be sent to the other.
        guests.do(f'curl -sS -k -H "Authorization: Bearer $GITHUB_TOKEN" https://localhost:{other.port}/')
        assert sent(other)["Authorization"] == f"Bearer {placeholder}"
        assert "421" in guests.do(f'curl -sS -i -H "Host: evil.example" -H "x-api-key: $GITHUB_TOKEN" {url}')
        assert "405" in guests.do(f'curl -sS -i -X TRACE -H "x-api-key: $GITHUB_TOKEN" {url}')
        assert len(server.seen) == 3
        # A new value reaches the proxy, and the agent is the same.
        pid = daemon.wait_state("a", "running")["pid"]
        daemon.write_secret("GITHUB_TOKEN", SECOND)
        daemon.wait_for(
            lambda: guests.do(f'curl -sS -H "x-api-key: $GITHUB_TOKEN" {url}') and sent(server)["x-api-key"] == SECOND,
            what="the new value is sent",
        )
        assert daemon.wait_state("a", "running")["pid"] == pid
        assert guests.do('printf %s "$GITHUB_TOKEN"') == placeholder
    assert VALUE not in daemon.log_text()
    assert placeholder not in daemon.log_text()


def test_neither_value_nor_key_is_found_by_the_agent_or_beside_it(guests: Guests, server: Server) -> None:
    daemon = guests.daemon
    daemon.write_secret("GITHUB_TOKEN", VALUE)
    guests.start(jcard(guests.table(secrets=[grant(server.port)]), guests.native("native")))
    guests.do(f'curl -sS -H "x-api-key: $GITHUB_TOKEN" https://localhost:{server.port}/')
    assert sent(server)["x-api-key"] == VALUE
    trusted = guests.do('cat "$SSL_CERT_FILE" "$NODE_EXTRA_CA_CERTS"; ls /run/agentd')
    assert trusted.count("BEGIN CERTIFICATE") >= 2
    assert "PRIVATE" not in trusted
    assert trusted.splitlines()[-1] == "trusted.pem"
    places = f"/proc/[0-9]*/environ /run /tmp /var/tmp /home /dev/shm ~ {daemon.folder}"
    split = f"'{VALUE[4:12]}''{VALUE[12:]}'"
    assert guests.do("ls /proc/self/fd").split() == ["0", "1", "2", "3"]
    search = f"grep -rasl -D skip -e {split} -e 'PRIVATE'' KEY' {places}"
    assert guests.do(search, timeout=40) == ""
    # Nor by a process of the same user outside, which may not even look at what the proxy was started with.
    pids = proxies(daemon)
    assert len(pids) == 2
    for pid in pids:
        assert f"{pid} " in guests.do(f"ps -o pid,args -p {pid} | tail -1", "native")
        for name in ("environ", "mem", "maps", "fd/0"):
            told = guests.do(f"cat /proc/{pid}/{name}; ls -l /proc/{pid}/fd", "native")
            assert told.count("Permission denied") == 2, told
        attach = f"import ctypes; print(ctypes.CDLL(None, use_errno=True).ptrace(16, {pid}, 0, 0))"
        assert guests.do(f"{PYTHON} -I -S -c '{attach}'", "native") == "-1\n"
    if guests.sandboxed.user is not None:
        control = daemon.state / "egress/control.sock"
        said = f'import socket; s = socket.socket(socket.AF_UNIX); s.connect("{control}")'
        assert "PermissionError" in guests.do(f"{PYTHON} -I -S -c '{said}'", "native")


NODE = """
const tls = require("tls"), net = require("net");
const proxy = net.connect(3128, "127.0.0.1", () => proxy.write("CONNECT localhost:PORT HTTP/1.1\\r\\n\\r\\n"));
proxy.once("data", () => {
  const link = tls.connect({ socket: proxy, servername: "localhost", ALPNProtocols: ["h2", "http/1.1"] }, () => {
    console.log(link.authorized, link.alpnProtocol);
    link.write("GET /socket HTTP/1.1\\r\\nHost: localhost:PORT\\r\\nConnection: Upgrade\\r\\n" +
      "Upgrade: websocket\\r\\nSec-WebSocket-Key: x\\r\\n" +
      "Authorization: Bearer " + process.env.GITHUB_TOKEN + "\\r\\n\\r\\n");
  });
  let text = "", asked = false;
  link.on("data", (data) => {
    text += data;
    if (text.includes("101") && !asked) { asked = true; link.write("olleh"); }
    if (text.includes("hello")) { console.log("hello"); process.exit(0); }
  });
});
"""


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")
def test_answers_stream_and_a_websocket_passes(guests: Guests, server: Server) -> None:
    daemon = guests.daemon
    daemon.write_secret("GITHUB_TOKEN", VALUE)
    guests.start(jcard(guests.table(secrets=[grant(server.port)])))
    (daemon.workdir / "socket.js").write_text(NODE.replace("PORT", str(server.port)))
    assert guests.do("node socket.js") == "true http/1.1\nhello\n"
    assert sent(server)["Authorization"] == f"Bearer {VALUE}"
    guests.do(f"curl -sSN https://localhost:{server.port}/events >stream 2>&1 &")
    stream = daemon.workdir / "stream"
    daemon.wait_for(lambda: stream.exists() and stream.read_text() == "data: first\n\n", what="the first is there")
    server.more.set()
    daemon.wait_for(lambda: "second" in stream.read_text(), what="the second event is there")


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_bodies_and_git_credentials(guests: Guests, server: Server) -> None:
    daemon = guests.daemon
    daemon.write_secret("GITHUB_TOKEN", VALUE)
    guests.start(jcard(guests.table(secrets=[grant(server.port)])))
    body = b"x" * 300_000
    (daemon.workdir / "body").write_bytes(body)
    url = f"https://localhost:{server.port}/"
    for how in ("", "-H 'Transfer-Encoding: chunked'"):
        told = guests.do(f'curl -sS {how} -H "x-api-key: $GITHUB_TOKEN" --data-binary @body {url}')
        assert hashlib.sha256(body).hexdigest() in told
        assert sent(server)["x-api-key"] == VALUE
    helper = "!f() { echo username=me; echo password=$GITHUB_TOKEN; }; f"
    guests.do(f"git -c credential.helper='{helper}' ls-remote {url}repo.git")
    assert sent(server)["Authorization"] == "Basic " + base64.b64encode(f"me:{VALUE}".encode()).decode()
